"""A project with so many trials that the later ones are in folders of their own."""

import pathlib
import re

import pytest

import glimr_keras as gk
from glimr_keras.cli.main import main
from glimr_keras.oracles import RandomSearchOracle
from glimr_keras.project.journal import Journal
from glimr_keras.project.remote_mirror import Mirror
from glimr_keras.trials import layout
from glimr_keras.tuners.worker_copy import worker_copy
from tests import tiny_models
from tests.project.plain_searches import Plain, searched


@pytest.fixture
def small(monkeypatch):
    """Two trials in the project itself, and two in each folder."""
    monkeypatch.setattr(layout, "FLAT", 2)
    monkeypatch.setattr(layout, "SHARD", 2)


FOLDERS = ["trial_0", "trial_1", "trials_2/trial_2", "trials_2/trial_3", "trials_4/trial_4"]


def folders_in(project, file="trial.json"):
    project = pathlib.Path(project)
    return sorted(path.parent.relative_to(project).as_posix() for path in project.rglob(file))


def test_later_trials_are_written_and_gone_on_with(small, tmp_path):
    tuner = searched(tmp_path, 3, executions_per_trial=2)
    assert folders_in(tuner.project_dir) == FOLDERS[:3]
    again = searched(tmp_path, 5, executions_per_trial=2)
    assert folders_in(again.project_dir) == FOLDERS
    assert folders_in(again.project_dir, "checkpoint.weights.h5") == sorted(
        place for folder in FOLDERS for place in (folder, f"{folder}/execution_1")
    )
    assert len(again.results_dataframe()) == 5
    assert again.get_trial_dir("4") == str(tmp_path / "p" / "trials_4" / "trial_4")
    for model, trial in zip(again.get_best_models(5), again.oracle.get_best_trials(5), strict=True):
        loss, _ = model.evaluate(*tiny_models.VALIDATION, verbose=0)
        scores = [execution.score for execution in trial.executions.values()]
        assert loss == pytest.approx(min(scores), rel=1e-5)
    table = gk.default_checkpoints(gk.experiment_table(again))
    assert {pathlib.Path(path).parent.name for path in table["checkpoint_path"]} >= {
        "trials_2",
        "trials_4",
    }
    study = again.to_study()
    assert {pathlib.Path(each.user_attrs["checkpoint"]).exists() for each in study.trials} == {True}


def test_what_reads_the_small_files_finds_all_of_them(small, tmp_path, capsys):
    tuner = searched(tmp_path, 5)
    scores = {trial_id: trial.score for trial_id, trial in tuner.oracle.trials.items()}
    oracle = RandomSearchOracle("val_loss", 5)
    oracle._set_project_dir(tmp_path, "p")
    oracle.reload()
    assert {trial.trial_id: trial.score for trial in oracle.trials.values()} == scores
    make, arguments = vars(worker_copy(tuner))["oracle"].__reduce__()
    assert list(make(*arguments).trials) == list("01234")
    (tmp_path / "p" / ".glimr_keras" / "journal.jsonl").unlink()  # now it is like KerasTuner's
    assert main(["show", str(tmp_path / "p")]) == 0
    assert re.search("5 trials|5 completed", capsys.readouterr().out)


def test_later_trials_are_removed_where_a_search_starts_over(small, tmp_path):
    searched(tmp_path, 5)
    tuner = searched(tmp_path, 3, overwrite=True)
    assert folders_in(tuner.project_dir) == FOLDERS[:3]
    assert not (tmp_path / "p" / "trials_4").exists()


def test_later_trials_are_at_the_uri_of_a_project(small, tmp_path, monkeypatch):
    monkeypatch.setenv("GLIMR_KERAS_CACHE", str(tmp_path / "first"))
    uri = (tmp_path / "there").as_uri()
    searched(uri, 3)
    monkeypatch.setenv("GLIMR_KERAS_CACHE", str(tmp_path / "second"))
    searched(uri, 5)
    there = tmp_path / "there" / "p"
    assert folders_in(there, "checkpoint.weights.h5") == FOLDERS
    monkeypatch.setenv("GLIMR_KERAS_CACHE", str(tmp_path / "third"))
    opened = gk.RayTuner.open(f"{uri}/p", Plain())
    losses = [
        model.evaluate(*tiny_models.VALIDATION, verbose=0)[0] for model in opened.get_best_models(5)
    ]
    assert losses == pytest.approx(sorted(opened.results_dataframe()["score"]), rel=1e-5)
    saved = gk.default_checkpoints(gk.experiment_table(f"{uri}/p"))
    assert len(saved) == 5
    (there / "trials_4" / "mine.txt").write_text("mine")
    searched(uri, 1, overwrite=True)
    assert folders_in(there, "checkpoint.weights.h5") == ["trial_0"]
    assert (there / "trials_4" / "mine.txt").exists()
    assert {name for name in Mirror(f"{uri}/p")._remote.names() if "trials_" in name} == {
        "trials_4/mine.txt"
    }


def test_a_search_goes_on_beyond_10000_trials(tmp_path):
    tuner = searched(tmp_path, 1)
    journal = Journal(pathlib.Path(tuner.project_dir)).path
    lines = journal.read_text().splitlines(keepends=True)
    first = [line for line in lines if '"trial_id": "0"' in line]
    copies = [
        line.replace('"trial_id": "0"', f'"trial_id": "{number:05d}"')
        for number in range(9_999)
        for line in first
    ]
    journal.write_text("".join([line for line in lines if line not in first] + copies))
    again = searched(tmp_path, 10_002)
    assert len(again.results_dataframe()) == 10_002
    later = ["trial_09999", "trials_10000/trial_10000", "trials_10000/trial_10001"]
    assert folders_in(again.project_dir, "checkpoint.weights.h5") == ["trial_0", *later]
    for trial_id in ("10000", "10001"):
        trial = again.oracle.get_trial(trial_id)
        loss, _ = again.load_model(trial).evaluate(*tiny_models.VALIDATION, verbose=0)
        assert loss == pytest.approx(trial.score, rel=1e-5)
