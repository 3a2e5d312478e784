"""Project directories: what is taken, what is continued, what is refused and left untouched."""

import dataclasses
import errno
import os
import pathlib

import pytest

from glimr_keras.errors import ProjectError, StorageError
from glimr_keras.project.directory import check_place, open_project
from glimr_keras.project.journal import HIDDEN, Journal, Project, serialized
from glimr_keras.space.hp_types import Boolean, Choice, Condition, Float, Int
from glimr_keras.trials.objective import Objective
from glimr_keras.trials.trial import Trial

SPACE = [Int("units", 1, 4), Choice("act", ("relu", "gelu"))]


def wanted(space=SPACE, **changes):
    return dataclasses.replace(
        Project(Objective("val_loss", "min"), 0, 1, serialized(space)), **changes
    )


def opened(directory, project, overwrite=False):
    """Opens a project, closes its file, and returns what it holds."""
    journal, there = open_project(directory, project, overwrite)
    journal.close()
    return there


def started(directory):
    """A project with one trial."""
    journal, _ = open_project(directory, wanted(), overwrite=False)
    journal.add_trial(Trial.of("0000", {"units": 2}))
    journal.close()


def files(directory):
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file()
    }


@pytest.fixture
def directory(tmp_path):
    return tmp_path / "runs" / "project"


# What cannot be made


@pytest.mark.parametrize("looks", [True, False])
def test_a_directory_that_cannot_be_made_is_named_without_talk_of_room(tmp_path, looks):
    (tmp_path / "file").write_text("mine")
    directory = tmp_path / "file" / "runs" / "project"
    with pytest.raises(
        StorageError, match=r"The project directory .*project cannot be made: .*Not a dir"
    ) as refused:
        check_place(directory, False) if looks else Journal(directory).create(wanted())
    assert "make room" not in str(refused.value).lower()
    assert "Choose a `directory` in which this user may write" in str(refused.value)


def test_a_directory_in_which_nobody_may_write_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # also of who is root
    with pytest.raises(StorageError, match=r"cannot be made: .*Permission denied"):
        check_place(tmp_path / "runs" / "project", False)
    assert list(tmp_path.iterdir()) == []


def test_a_drive_that_is_not_there_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(pathlib.Path, "exists", lambda path: False)
    with pytest.raises(StorageError, match=r"runs cannot be made: .*No such file"):
        check_place(tmp_path / "runs", False)


def test_a_full_disk_is_told_apart(tmp_path, monkeypatch):
    def full(path, **how):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr(pathlib.Path, "mkdir", full)
    with pytest.raises(StorageError, match=r"cannot be made: .*No space left.*Make room there"):
        Journal(tmp_path / "project").create(wanted())


# Starting and continuing


def test_a_new_project_is_started_with_its_directory(directory):
    assert opened(directory, wanted()) == wanted()
    assert Journal(directory).read() == wanted()


def test_an_empty_directory_is_taken(tmp_path):
    assert opened(tmp_path, wanted()) == wanted()


def test_the_same_search_is_continued_with_its_trials_and_its_seed(directory):
    started(directory)
    project = opened(directory, wanted(seed=5))
    assert list(project.trials) == ["0000"]
    assert project.seed == 0


def test_the_order_of_hyperparameters_does_not_make_a_search_different(directory):
    started(directory)
    assert list(opened(directory, wanted(SPACE[::-1])).trials) == ["0000"]


def test_a_default_that_is_what_it_would_be_anyway_does_not_make_a_search_different(directory):
    started(directory)
    assert list(opened(directory, wanted([Int("units", 1, 4, default=1), *SPACE[1:]])).trials) == [
        "0000"
    ]


def test_serialized_is_what_a_journal_gives_back(directory):
    space = [*SPACE, Float("rate", 0, 1, conditions=(Condition("act", ("relu",)),))]
    opened(directory, wanted(space))
    assert Journal(directory).read().space == serialized(space)


# Refusals


@pytest.mark.parametrize(
    ("project", "message"),
    [
        (wanted(SPACE[:1]), r"hyperparameter 'act' is gone"),
        (wanted([*SPACE, Boolean("bias")]), r"hyperparameter 'bias' is new"),
        (
            wanted([Int("units", 1, 8), SPACE[1]]),
            r"'units' was Int\(.*\"max_value\": 4.*\), is Int\(.*\"max_value\": 8",
        ),
        (wanted([Float("units", 1, 4), SPACE[1]]), r"'units' was Int\(.*, is Float\("),
        (
            wanted([SPACE[1], Int("units", 1, 4, conditions=(Condition("act", ("relu",)),))]),
            r"'units' was Int\(.*, is Int\(.* where .*\"relu\"",
        ),
        (
            wanted(objective=Objective("val_loss", "max")),
            r'objective was Objective\(.*"min"\), is Objective\(.*"max"\)',
        ),
        (wanted(executions_per_trial=3), r"executions_per_trial was 1, is 3"),
        (wanted([Boolean("bias")]), r"'units' is gone; .*'act' is gone; .*'bias' is new"),
    ],
)
def test_a_different_search_is_refused_with_what_differs(directory, project, message):
    started(directory)
    before = files(directory)
    with pytest.raises(
        ProjectError,
        match=f"results of a different search, with 1 trials: .*{message}.*overwrite=True",
    ):
        open_project(directory, project, overwrite=False)
    assert files(directory) == before


def test_data_of_other_shapes_is_refused(directory):
    image, label = {"shape": [8, 8], "dtype": "float32"}, {"shape": [], "dtype": "int64"}
    before = dataclasses.replace(wanted(), shapes={"inputs": image, "labels": label})
    opened(directory, before)
    opened(
        directory, dataclasses.replace(before, shapes={"inputs": image})
    )  # what is not known does not differ
    now = dataclasses.replace(
        before, shapes={"inputs": {"dict": {"a": image, "b": {"list": [label]}}}, "labels": label}
    )
    message = r"inputs were \(8, 8\) float32, are {'a': \(8, 8\) float32, 'b': \[\(\) int64\]}"
    with pytest.raises(ProjectError, match=message):
        opened(directory, now)


def test_a_directory_of_something_else_is_refused_and_untouched(tmp_path):
    for number in range(7):
        (tmp_path / f"trial_{number}").mkdir()
        (tmp_path / f"trial_{number}" / "note.txt").write_text("of another program")
    before = files(tmp_path)
    with pytest.raises(
        ProjectError, match=r"holds no glimr_keras project\. Received: trial_0, .*trial_4, …\. "
    ):
        open_project(tmp_path, wanted(), overwrite=False)
    assert files(tmp_path) == before


def test_files_of_the_users_may_be_there_before(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    opened(tmp_path, wanted())
    assert (tmp_path / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_file_is_refused(tmp_path, overwrite):
    (tmp_path / "file").write_text("content")
    with pytest.raises(ProjectError, match=r"project directory .*file is a file"):
        open_project(tmp_path / "file", wanted(), overwrite)
    assert (tmp_path / "file").read_text() == "content"


def test_the_directory_of_a_trial_that_was_asked_for_before_a_search_is_no_project(directory):
    (directory / "trial_0").mkdir(parents=True)
    check_place(directory, overwrite=False)
    (directory / "trial_0" / "trial.json").write_text("{}")
    with pytest.raises(ProjectError, match="has files of a project"):
        check_place(directory, overwrite=False)


def test_so_is_that_of_a_later_trial(directory):
    trial = directory / "trials_12000" / "trial_12345"
    trial.mkdir(parents=True)
    check_place(directory, overwrite=False)
    (trial / "trial.json").write_text("{}")
    with pytest.raises(ProjectError, match=r"has files of a project.* Received: trials_12000"):
        check_place(directory, overwrite=False)


def test_checking_a_place_creates_nothing(directory):
    check_place(directory, overwrite=False)
    check_place(directory, overwrite=True)
    assert not directory.parent.exists()


# Starting over


def test_overwrite_starts_over(directory):
    started(directory)
    (directory / "trial_0000" / "execution_1").mkdir(parents=True)
    (directory / "trial_0000" / "checkpoint.weights.h5").write_text("weights")
    project = opened(directory, wanted([Boolean("bias")]), overwrite=True)
    assert project.trials == {}
    assert Journal(directory).read() == wanted([Boolean("bias")])
    assert [path.name for path in directory.iterdir()] == [HIDDEN]


def test_overwrite_removes_later_trials_and_nothing_else_beside_them(directory, tmp_path):
    started(directory)
    (tmp_path / "disk").mkdir()
    for name in ("trial_12000", "trial_12345"):
        (directory / "trials_12000" / name).mkdir(parents=True)
    (directory / "trials_12000" / "trial_12345" / "trial.json").write_text("{}")
    mine = directory / "trials_13000" / "trial_notes.txt"
    mine.parent.mkdir()
    mine.write_text("mine")
    (mine.parent / "trial_13000").symlink_to(tmp_path / "disk")
    opened(directory, wanted(), overwrite=True)
    assert not (directory / "trials_12000").exists()
    assert list(mine.parent.iterdir()) == [mine]
    assert (tmp_path / "disk").exists()


def test_overwrite_removes_what_keras_tuner_wrote(directory):
    (directory / "trial_00").mkdir(parents=True)
    for name in ("oracle.json", "tuner0.json", "trial_00/trial.json"):
        (directory / name).write_text("{}")
    opened(directory, wanted(), overwrite=True)
    assert [path.name for path in directory.iterdir()] == [HIDDEN]


def test_overwrite_repairs_a_damaged_project(directory):
    started(directory)
    Journal(directory).path.write_text("damage\n")
    assert opened(directory, wanted(), overwrite=True).trials == {}


def test_overwrite_leaves_the_files_of_others_alone(directory):
    started(directory)
    others = {
        "notes.txt": b"mine",
        "figures/best.png": b"png",
        "trial_notes.txt": b"mine",
        ".hidden": b"h",
    }
    for name, content in others.items():
        (directory / name).parent.mkdir(exist_ok=True)
        (directory / name).write_bytes(content)
    opened(directory, wanted(), overwrite=True)
    assert others.items() <= files(directory).items()


@pytest.mark.parametrize(
    "name",
    [
        "trial_data/patients.csv",
        "trial_A/scan.nii",
        "tuner_settings.json",
        "trials_1/trial_7/thesis.txt",
        "trials_012000/trial_12345/notes.txt",
        "trials_12000/trial_7/notes.txt",
        "trials_12000/notes/trial_12345",
    ],
)
def test_overwrite_leaves_the_files_of_others_alone_whatever_their_names(directory, name):
    (directory / name).parent.mkdir(parents=True)
    (directory / name).write_text("not ours")
    opened(directory, wanted(), overwrite=True)
    assert (directory / name).exists()


@pytest.mark.parametrize("name", ["trials_2", "trials_12000"])
def test_a_file_that_is_named_like_a_folder_of_trials_is_somebody_elses(directory, name):
    started(directory)
    (directory / name).write_text("not ours")
    opened(directory, wanted(), overwrite=True)
    assert (directory / name).exists()
    check_place(directory, False)


def test_overwrite_removes_a_trial_that_was_moved_away_and_linked(directory, tmp_path):
    started(directory)
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk" / "checkpoint.json").write_text("{}")
    (directory / "trial_0000").symlink_to(tmp_path / "disk")
    opened(directory, wanted(), overwrite=True)
    assert not (directory / "trial_0000").is_symlink()
    assert (tmp_path / "disk" / "checkpoint.json").exists()
