"""A project as trackers have it."""

import pytest

from glimr_keras.exports.runs import Step, all_runs, digest
from glimr_keras.space.reserved_names import Stage
from glimr_keras.trials.trial import Trial
from tests.exports import contents
from tests.results import made


def test_a_trial_is_a_run_with_times_of_its_epochs():
    completed, failed, running = all_runs(contents.early())
    assert (completed.key, completed.name) == ("trial_00", "trial 00")
    assert completed.steps[1] == Step(2, made.BEGAN + 2, {"loss": 0.125, "val_loss": 0.25})
    assert completed.score == {"score": 0.25, "best_epoch": 2}
    assert (completed.started, completed.ended) == (made.BEGAN, made.BEGAN + 3)
    assert completed.parameters == {"units": 8, "rate": 1e-3, "kind": "wide", "norm": False}
    assert failed.score == {}
    assert failed.tags["failure"] == "ValueError: <too large> & more"
    assert running.ended is None
    assert running.tags == {"trial_id": "02", "status": "RUNNING", "worker": "host:2"}


def test_folds_and_executions_are_runs_of_their_own():
    runs = list(all_runs(contents.folded()))
    assert [run.key for run in runs] == ["trial_00_0", "trial_00_1", "trial_01_0"]
    assert [run.name for run in runs][1:] == ["trial 00, fold 1", "trial 01, fold 0"]
    assert [run.tags["fold"] for run in runs] == ["0", "1", "0"]
    again = contents.content([made.trial(0, [[0.5]] * 4)], cv_folds=2)
    again.project.executions_per_trial = 2
    assert list(all_runs(again))[3].name == "trial 00, fold 1, execution 1"


def test_what_was_never_trained_is_a_run_too():
    trial = Trial.of("7", {"units": 3}, status="FAILED", message="no room")
    (run,) = all_runs(contents.content([trial]))
    assert (run.status, run.steps, run.score, run.tags["failure"]) == ("FAILED", [], {}, "no room")
    assert run.started == run.ended == made.BEGAN  # the project's


def test_what_was_put_into_the_history_is_beside_the_score():
    trial = made.trial(0, [[0.5, 0.25]])
    trial.executions[0].returned = {"f1": 0.9, "val_loss": 0.2}
    (run,) = all_runs(contents.content([trial]))
    assert run.score == {"f1": 0.9, "score": 0.25, "best_epoch": 2}
    trial.executions[0].status = "FAILED"
    assert run.score == {}


def test_what_a_trial_that_ended_left_behind_ended_with_its_last_epoch():
    trial = made.trial(0, [[0.5, 0.25]], "RUNNING")
    trial.status = "FAILED"
    (run,) = all_runs(contents.content([contents.timed(trial)]))
    assert (run.status, run.ended) == ("FAILED", made.BEGAN + 2)


def test_stages_of_hyperband_are_no_hyperparameters():
    trial = made.trial(0, [[0.5]], values={"units": 8, Stage.BRACKET: 2, Stage.PARENT: "01"})
    (run,) = all_runs(contents.content([trial]))
    assert run.parameters == {"units": 8}
    assert run.tags["tuner/bracket"] == "2"


def test_ids_are_those_of_one_project_only():
    ids = [run.unique_id for run in all_runs(contents.late())]
    assert len({*ids}) == 4
    assert ids[:3] == [run.unique_id for run in all_runs(contents.early())]
    other = contents.early()
    other.project.project_id = "another"
    assert not {run.unique_id for run in all_runs(other)} & {*ids}


@pytest.mark.parametrize("trial_id", ["../../etc", "a b/c", "ü"])
def test_a_strange_id_is_a_plain_key(trial_id):
    (run,) = all_runs(contents.content([Trial.of(trial_id, {})]))
    assert "/" not in run.key
    assert ".." not in run.key


def test_a_digest_is_that_of_its_epochs():
    (first, *_), (other, *_) = all_runs(contents.early()), all_runs(contents.begun_again())
    assert digest(first.steps) == digest(list(first.steps))
    assert digest(first.steps) != digest(first.steps[:2]) != digest(other.steps)
