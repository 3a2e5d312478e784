"""The journal: what is read back is what was written, whatever happened in between."""

import json
import math
import pathlib
import tempfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glimr_keras.errors import ProjectError, StorageError
from glimr_keras.project.directory import open_project
from glimr_keras.project.journal import VERSION, Journal, Project, now
from glimr_keras.space.hp_types import Choice, Float, Int, deserialize, serialize
from glimr_keras.trials.execution import Execution, TrialStatus
from glimr_keras.trials.objective import Objective
from glimr_keras.trials.score_epochs import RULES, choose_epochs
from glimr_keras.trials.trial import Trial

NUMBERS = st.floats() | st.integers(-5, 5).map(float)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
)
VALUES = st.dictionaries(st.text(min_size=1, max_size=5), SCALARS, max_size=3)
HISTORIES = st.lists(
    st.dictionaries(st.sampled_from(["val_loss", "loss", "übung"]), NUMBERS), max_size=3
)
ENDED = st.sampled_from([TrialStatus.COMPLETED, TrialStatus.STOPPED, TrialStatus.FAILED])
TRIALS = st.lists(
    st.tuples(
        VALUES, VALUES, st.lists(HISTORIES, max_size=2), ENDED, st.none() | st.text(max_size=20)
    ),
    max_size=3,
)


def new_project():
    space = json.loads(
        json.dumps([serialize(Int("units", 1, 4)), serialize(Choice("act", ("relu", "gelu")))])
    )
    return Project(Objective("val_loss", "min"), 2**63, 2, space)


def write(journal, project, trials):
    """Plays a search: keeps its record in `project` and writes it down."""
    journal.create(project)
    for index, (suggested, values, histories, status, message) in enumerate(trials):
        trial = project.trials[f"{index:04d}"] = Trial.of(f"{index:04d}", suggested, (7, index))
        journal.add_trial(trial)
        trial.hyperparameters.define(map(deserialize, project.space))
        for number, history in enumerate(histories):
            execution = trial.executions[number] = Execution(started=now(), worker="here:7")
            journal.start_execution(trial.trial_id, number, execution.started)
            for epoch, metrics in enumerate(history, start=1):
                execution.observe(epoch, metrics, project.objective)
                journal.add_epoch(trial.trial_id, number, epoch, metrics, execution.worker)
            execution.status, execution.duration, execution.message = status, 1.5, message
            execution.ended = now()
            journal.end_execution(trial.trial_id, number, execution)
        trial.status, trial.values, trial.message = status, values, message
        if status == TrialStatus.COMPLETED:
            choose_epochs(trial, project.objective, project.score_at)
        journal.end_trial(trial)
        project.end_order.append(trial.trial_id)
    journal.close()


SEARCH = [
    (
        {"units": 1},
        {"units": 1, "late": "ü"},
        [[{"val_loss": 0.5}, {"val_loss": 0.25}]],
        TrialStatus.COMPLETED,
        None,
    ),
    (
        {"units": 2},
        {"units": 2},
        [[{"val_loss": 0.75}], []],
        TrialStatus.FAILED,
        "Traceback …\nValueError: no",
    ),
]


@pytest.fixture
def empty(tmp_path):
    """A journal that does not exist yet."""
    journal = Journal(tmp_path)
    yield journal
    journal.close()


@pytest.fixture
def journal(empty):
    """A journal with a header and two trials."""
    write(empty, new_project(), SEARCH)
    return empty


# Reading what was written


@settings(deadline=None, max_examples=60)
@given(TRIALS, st.sampled_from(RULES))
def test_the_journal_read_back_is_what_was_written(trials, score_at):
    with tempfile.TemporaryDirectory() as directory:
        journal, project = Journal(pathlib.Path(directory)), new_project()
        project.score_at = score_at
        write(journal, project, trials)
        assert repr(journal.read()) == repr(project)  # as text, for nan is not equal to itself


@pytest.mark.parametrize("rule", ["common", "last"])
def test_epochs_of_scores_are_read_as_they_were_written(tmp_path, rule):
    project = new_project()
    project.score_at = rule
    histories = [[{"val_loss": value} for value in curve] for curve in ([1.0, 3.0], [9.0, 2.0])]
    journal = Journal(tmp_path)
    write(journal, project, [({"units": 2}, {"units": 2}, histories, "COMPLETED", None)])
    written = project.trials["0000"].executions[0]
    assert (written.saved_epoch, written.best_epoch) == (1, 2)
    assert repr(journal.read()) == repr(project)
    said = [json.loads(line) for line in journal.path.read_text().splitlines()]
    assert said[0]["score_at"] == rule
    assert said[-1]["scored_at"] == {"0": 2}


@pytest.mark.parametrize(
    "scored_at", [{"0": 7}, {"5": 1}, {"-1": 1}, {"0": "1"}, {"0": None}, [1], {"x": 1}]
)
def test_epochs_of_scores_that_cannot_be_are_damage(tmp_path, scored_at):
    journal = Journal(tmp_path)
    histories = [[{"val_loss": 1.0}, {"val_loss": 3.0}]]
    write(journal, new_project(), [({"units": 2}, {"units": 2}, histories, "COMPLETED", None)])
    journal.close()
    *others, end = journal.path.read_text().splitlines()
    end = json.dumps(json.loads(end) | {"scored_at": scored_at})
    journal.path.write_text("\n".join([*others, end, ""]))
    with pytest.raises(ProjectError, match="is damaged in line"):
        journal.read()


def test_a_project_that_says_nothing_of_epochs_has_the_best_of_each_training(journal):
    header, *others = journal.path.read_text().splitlines()
    said = json.loads(header)
    assert said.pop("score_at") == "best"
    journal.path.write_text("\n".join([json.dumps(said), *others, ""]))
    assert journal.read().score_at == "best"


def test_nan_and_infinities_survive(journal):
    metrics = {"val_loss": math.nan, "up": math.inf, "down": -math.inf}
    journal.add_epoch("0000", 0, 3, metrics)
    journal.end_execution("0000", 0, Execution(TrialStatus.COMPLETED, score=math.inf))
    execution = journal.read().trials["0000"].executions[0]
    assert repr(execution.history[3]) == repr(metrics)
    assert execution.score == math.inf


def test_an_infinite_value_survives(empty):
    clip = Choice("clip", (1.0, math.inf))
    empty.create(Project(Objective("val_loss", "min"), 0, 1, [serialize(clip)]))
    empty.add_trial(Trial.of("0000", {"clip": math.inf}))
    assert empty.read().trials["0000"].suggested == {"clip": math.inf}
    assert [deserialize(stored) for stored in empty.read().space] == [clip]


def test_parameters_that_were_met_late_are_kept_apart(journal):
    journal.add_parameters([Int("a", 1, 2), Float("b", 0, 1)])
    journal.add_parameters([Int("c", 1, 2)])
    project = journal.read()
    assert [stored["config"]["name"] for stored in project.late_space] == ["a", "b", "c"]
    assert [stored["config"]["name"] for stored in project.space] == ["units", "act"]


def test_a_running_trial_is_unfinished_and_keeps_its_epochs(journal):
    journal.add_trial(Trial.of("0002", {"units": 3}))
    journal.add_epoch("0002", 0, 1, {"val_loss": 0.5})
    project = journal.read()
    assert [trial.trial_id for trial in project.trials.values() if trial.status == "RUNNING"] == [
        "0002"
    ]
    assert project.trials["0002"].score == 0.5


def test_an_execution_that_starts_over_forgets_its_first_attempt(journal):
    journal.add_trial(Trial.of("0002", {"units": 3}))
    for epoch, loss in [(1, 0.1), (2, 0.2), (1, 0.6)]:
        journal.add_epoch("0002", 0, epoch, {"val_loss": loss})
    execution = journal.read().trials["0002"].executions[0]
    assert execution.history == {1: {"val_loss": 0.6}}
    assert execution.score == 0.6


def test_another_process_can_read_while_one_writes(journal):
    journal.add_trial(Trial.of("0002", {"units": 3}))
    assert len(Journal(journal.path.parent.parent).read().trials) == 3


def test_every_line_is_json_that_any_reader_understands(journal):
    def refuse(constant):
        raise AssertionError(constant)

    journal.add_epoch("0000", 0, 3, {"val_loss": math.nan})
    for line in journal.path.read_text().splitlines():
        assert "record" in json.loads(line, parse_constant=refuse)


def test_every_record_says_when_it_was_written(journal):
    before = now()
    journal.add_loss("0001", 0, "gone")
    times = [json.loads(line)["time"] for line in journal.path.read_text().splitlines()]
    assert times == sorted(times)
    assert before <= times[-1] <= now()


def test_a_running_execution_says_since_when_and_where(journal):
    journal.add_trial(Trial.of("0009", {}))
    journal.start_execution("0009", 0, 12.5)
    journal.add_epoch("0009", 0, 1, {"val_loss": 0.1}, "here:1")
    journal.add_epoch("0009", 0, 2, {"val_loss": 0.1})
    running = journal.read().trials["0009"]
    assert (running.started, running.ended, running.worker) == (12.5, None, "here:1")
    journal.add_epoch("0009", 0, 3, {"val_loss": 0.1}, "there:2")
    assert journal.read().trials["0009"].worker == "there:2"


def test_an_unknown_kind_of_record_is_passed_over(journal):
    with journal.path.open("a") as file:
        file.write('{"record": "remark", "text": "from a later minor version"}\n')
    assert len(journal.read().trials) == 2


# After a kill


def test_wherever_writing_was_cut_the_project_can_be_read_and_continued(tmp_path, journal):
    content, whole = journal.path.read_bytes(), journal.read()
    for length in range(content.index(b"\n") + 1, len(content)):
        journal.path.write_bytes(content[:length])
        trials = journal.read().trials
        assert list(trials) == list(whole.trials)[: len(trials)]
        continued = Journal(tmp_path)
        continued.add_trial(Trial.of("0009", {"units": 4}))
        continued.close()
        assert list(continued.read().trials) == [*trials, "0009"]


def test_a_torn_last_line_is_ignored_and_cut_by_the_next_record(journal):
    with journal.path.open("ab") as file:
        file.write(b'{"record": "trial", "trial_')
    assert list(journal.read().trials) == ["0000", "0001"]
    journal.add_trial(Trial.of("0002", {}))
    assert b'"trial_{' not in journal.path.read_bytes()
    assert list(journal.read().trials) == ["0000", "0001", "0002"]


@pytest.mark.parametrize("content", [b"", b'{"record": "proj'])
def test_a_project_that_died_in_its_first_line_can_be_started_again(empty, content):
    empty.path.parent.mkdir()
    empty.path.write_bytes(content)
    open_project(empty.path.parent.parent, new_project(), overwrite=False)[0].close()
    assert empty.read() == new_project()


# Damage


def damaged(journal, number, line):
    """Replaces a line, counted from 1."""
    lines = journal.path.read_bytes().split(b"\n")
    lines[number - 1] = line
    journal.path.write_bytes(b"\n".join(lines))
    return journal


@pytest.mark.parametrize("line", [b'{"record": "tri', b"", b"\x00\x00", b"no json"])
def test_damage_in_the_middle_is_refused_with_its_line(journal, line):
    with pytest.raises(ProjectError, match=r"journal\.jsonl is damaged in line 3: "):
        damaged(journal, 3, line).read()


@pytest.mark.parametrize(
    "line",
    [
        b"\xff\xfe",
        b"[1, 2]",
        b"{}",
        b'{"record": "end", "trial_id": "0044", "status": "FAILED", "values": {}, "message": ""}',
    ],
)
def test_damage_that_is_no_text_or_no_record_is_refused_with_its_line_too(journal, line):
    with pytest.raises(ProjectError, match=r"journal\.jsonl is damaged in line 3: "):
        damaged(journal, 3, line).read()


def test_a_journal_without_its_first_line_is_refused(journal):
    content = journal.path.read_bytes()
    journal.path.write_bytes(content[content.index(b"\n") + 1 :])
    with pytest.raises(
        ProjectError, match="does not start with the description of a project; it is damaged"
    ):
        journal.read()


def test_a_newer_version_is_refused(journal):
    header = json.loads(journal.path.read_text().splitlines()[0]) | {"version": VERSION + 1}
    with pytest.raises(
        ProjectError,
        match=rf"has version {VERSION + 1}, and this glimr_keras reads up to {VERSION}\. Update",
    ):
        damaged(journal, 1, json.dumps(header).encode()).read()


def test_a_journal_without_times_is_read(journal):
    journal.close()
    lines = [json.loads(line) for line in journal.path.read_text().splitlines()]
    without = [
        {name: value for name, value in line.items() if name not in ("time", "started", "worker")}
        for line in lines
        if line["record"] != "start"
    ]
    journal.path.write_text("".join(json.dumps(line) + "\n" for line in without))
    project = Journal(journal.path.parents[1]).read()
    assert project.created is None
    for trial in project.trials.values():
        assert (trial.started, trial.ended, trial.worker) == (None, None, None)


def test_the_first_version_is_read(empty):
    """Written by the first version, in the words of its own file."""
    empty.path.parent.mkdir(parents=True)
    empty.path.write_text(
        '{"record": "project", "version": 1, "objective": '
        '{"name": "val_loss", "direction": "min"}, "seed": 3, '
        '"executions_per_trial": 1, "space": [], "is_whole": true, "cv_folds": null}\n'
        '{"record": "trial", "trial_id": "0000", "values": {"x": 1}, "sampling_key": [3, 0]}\n'
        '{"record": "epoch", "trial_id": "0000", "execution": 0, "epoch": 1, '
        '"metrics": {"val_loss": 0.5}}\n'
        '{"record": "execution", "trial_id": "0000", "execution": 0, "status": "COMPLETED", '
        '"score": 0.5, "best_epoch": 1, '
        '"duration": 1.5, "message": null}\n'
        '{"record": "end", "trial_id": "0000", "status": "COMPLETED", '
        '"values": {"x": 1}, "message": null}\n'
    )
    project = empty.read()
    assert (project.trials["0000"].score, project.trials["0000"].status, project.shapes) == (
        0.5,
        "COMPLETED",
        {},
    )


@pytest.mark.parametrize(
    "record",
    [
        {"trial_id": "../../elsewhere", "values": {}},
        {"trial_id": "/etc", "values": {}},
        {"trial_id": "0001", "values": {"tuner/trial_id": "../0000"}},
        {"trial_id": 7, "values": {}},
    ],
)
def test_paths_in_records_cannot_leave_the_project(journal, record):
    line = json.dumps({"record": "trial", "sampling_key": [], **record}).encode()
    with pytest.raises(ProjectError, match="is damaged in line 3: "):
        damaged(journal, 3, line).read()


def test_losses_and_retries_are_counted(empty):
    empty.create(new_project())
    empty.add_trial(Trial.of("0000", {}))
    empty.add_epoch("0000", 0, 1, {"val_loss": 0.5})
    empty.add_loss("0000", 0, "gone")
    execution = empty.read().trials["0000"].executions[0]
    assert (execution.lost, execution.attempt, list(execution.history)) == (1, 0, [1])
    empty.add_retry("0000", 0, "mine")
    execution = empty.read().trials["0000"].executions[0]
    assert (execution.lost, execution.attempt, list(execution.history)) == (0, 1, [])


def test_a_record_that_does_not_fit_on_the_disk_leaves_nothing_of_itself(empty, monkeypatch):
    empty.create(new_project())
    before = empty.path.read_bytes()
    file = empty.claim()

    class Full:
        """Takes ten bytes, and no more."""

        fileno, truncate, close = file.fileno, file.truncate, file.close

        def write(self, content):
            if len(empty.path.read_bytes()) > len(before):
                raise OSError(28, "No space left on device")
            return file.write(content[:10])

    empty._file = Full()
    with pytest.raises(
        StorageError, match=r"journal.jsonl cannot be written: .*No space left on device.*make room"
    ):
        empty.add_trial(Trial.of("0000", {}))
    assert empty.path.read_bytes() == before
    empty._file = file
    empty.add_trial(Trial.of("0000", {}))
    assert list(empty.read().trials) == ["0000"]


def test_reading_where_there_is_no_project_says_so(tmp_path):
    assert not Journal(tmp_path / "nowhere").exists()
    with pytest.raises(
        ProjectError,
        match=r"There is no glimr_keras project in .*nowhere\. Call `search\(\)` first",
    ):
        Journal(tmp_path / "nowhere").read()
    assert not (tmp_path / "nowhere").exists()


def test_an_epoch_that_a_loop_of_ones_own_counts_in_floats_is_one(tmp_path):
    journal = Journal(tmp_path)
    journal.create(Project(Objective("loss", "min"), 0, 1, []))
    journal.add_trial(Trial.of("0", {}, (0, 0)))
    journal.add_epoch("0", 0, 1.0, {"loss": 0.5})
    journal.close()
    assert list(Journal(tmp_path).read().trials["0"].executions[0].history) == [1]


def test_a_very_long_message_loses_its_middle(tmp_path):
    journal = Journal(tmp_path)
    journal.create(Project(Objective("loss", "min"), 2**512, 1, []))  # a seed of the user's own
    journal.add_trial(Trial.of("0", {}, (0, 0)))
    journal.add_retry("0", 0, "first" + "x" * 70_000_000 + "last")
    journal.close()
    assert Journal(tmp_path).read().seed == 2**512
    line = json.loads(journal.path.read_bytes().splitlines()[-1])["message"]
    assert len(line) < 1_001_000
    assert line.startswith("firstx")
    assert line.endswith("xlast")
