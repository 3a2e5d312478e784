"""A project as a study of Optuna."""

import datetime
import math

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState

import glimr_keras as gk
from glimr_keras.errors import ProjectError
from glimr_keras.project.journal import Journal, serialized
from glimr_keras.results.study import to_study
from glimr_keras.space.hp_types import Choice, Condition, Float, Int
from glimr_keras.trials.execution import TrialStatus
from glimr_keras.trials.objective import MultiObjective
from tests.results import made

FAILURE = "Traceback (most recent call last):\n  File 'a.py', line 1\nValueError: too large\n"


def test_a_trial_has_its_distributions_values_curve_and_times():
    study = to_study(made.project([made.trial(0, [[0.5, 0.4, 0.6]])]), name="digits")
    (trial,) = study.trials
    assert study.study_name == "digits"
    assert study.direction == optuna.study.StudyDirection.MINIMIZE
    assert study.metric_names == ["val_loss"]
    assert trial.state == TrialState.COMPLETE
    assert trial.value == 0.4
    assert trial.params == {"units": 8, "rate": 1e-3, "kind": "wide", "norm": False}
    assert trial.distributions == {
        "units": IntDistribution(8, 512, log=True),
        "rate": FloatDistribution(1e-5, 1e-1, log=True),
        "kind": CategoricalDistribution(["plain", "wide"]),
        "norm": CategoricalDistribution([True, False]),
    }
    assert trial.intermediate_values == {1: 0.5, 2: 0.4, 3: 0.6}
    assert trial.datetime_start == datetime.datetime.fromtimestamp(made.BEGAN)
    assert trial.duration == datetime.timedelta(seconds=3)
    assert trial.user_attrs["trial_id"] == "00"
    assert trial.user_attrs["best_epoch"] == 2
    assert trial.user_attrs["worker"] == "host:0"


def test_a_hyperparameter_is_there_where_its_condition_holds():
    values = {"units": 8, "rate": 1e-3, "kind": "wide", "norm": True, "drop": 0.3}
    (trial,) = to_study(made.project([made.trial(0, [[1.0]], values=values)])).trials
    assert trial.params["drop"] == 0.3
    assert trial.distributions["drop"] == FloatDistribution(0.0, 0.5, step=0.1)


def test_one_name_in_two_branches_is_two_parameters():
    space = [
        Choice("net", ["a", "b"]),
        Int("size", 1, 4, conditions=(Condition("net", ("a",)),)),
        Float("size", 0.0, 1.0, conditions=(Condition("net", ("b",)),)),
    ]
    trials = [
        made.trial(0, [[1.0]], values={"net": "a", "size": 3}),
        made.trial(1, [[1.0]], values={"net": "b", "size": 0.5}),
    ]
    first, second = to_study(made.project(trials, space)).trials
    assert first.params == {"net": "a", "size (net=a)": 3}
    assert second.params == {"net": "b", "size (net=b)": 0.5}
    assert first.distributions["size (net=a)"] == IntDistribution(1, 4)
    assert second.distributions["size (net=b)"] == FloatDistribution(0.0, 1.0)


def test_a_name_that_a_second_branch_has_later_leaves_the_first_as_it_is(storage):
    space = [
        Choice("net", ["a", "b", "c"]),
        Float("rate", 0.0, 1.0, conditions=(Condition("net", ("a",)),)),
    ]
    late = [
        Float("rate", 1.0, 2.0, conditions=(Condition("net", ("b",)),)),
        Int("later", 0, 3, conditions=(Condition("net", ("b",)),)),
        Int("later", 5, 9, conditions=(Condition("net", ("c",)),)),
        Int("rate", 5, 9),
    ]
    trials = [
        made.trial(0, [[1.0]], values={"net": "a", "rate": 0.5}),
        made.trial(1, [[1.0]], values={"net": "b", "rate": 1.5, "later": 2}),
        made.trial(2, [[1.0]], values={"net": "c", "rate": 7, "later": 8}),
    ]
    described = {"project_id": "1"}
    to_study(made.project(trials[:1], space, **described), storage, "digits")
    project = made.project(trials, space, late_space=serialized(late), **described)
    to_study(project, storage, "digits")
    params = [trial.params for trial in loaded(storage).trials]
    assert params == [trial.params for trial in to_study(project).trials]
    assert params == [
        {"net": "a", "rate": 0.5},
        {"net": "b", "rate (net=b)": 1.5, "later": 2},
        {"net": "c", "rate (2)": 7, "later (net=c)": 8},
    ]


def test_values_beyond_the_space_are_kept():
    values = {"units": 1024, "rate": 1e-3, "kind": "new", "later": 7}
    (trial,) = to_study(made.project([made.trial(0, [[1.0]], values=values)])).trials
    assert trial.params == {"units": 1024, "rate": 1e-3}
    assert trial.distributions["units"] == IntDistribution(8, 1024, log=True)
    assert trial.user_attrs["other_values"] == {"kind": "new", "later": 7}


def test_states():
    trials = [
        made.trial(0, [[0.5]]),
        made.trial(1, [[0.6, 0.55]], TrialStatus.STOPPED),
        made.trial(2, [[]], TrialStatus.FAILED, message=FAILURE),
        made.trial(3, [[0.7]], TrialStatus.RUNNING),
        made.trial(4, [[math.nan]]),
    ]
    study = to_study(made.project(trials))
    assert [trial.state.name for trial in study.trials] == [
        "COMPLETE",
        "PRUNED",
        "FAIL",
        "RUNNING",
        "FAIL",
    ]
    assert study.trials[1].value == 0.55
    assert study.trials[2].user_attrs["failure"] == "ValueError: too large"
    assert study.trials[3].datetime_complete is None
    assert study.best_trial.number == 0


def test_folds_and_executions_have_their_scores_and_a_mean_curve():
    project = made.project([made.trial(0, [[0.6, 0.4], [0.2, 0.3]])], cv_folds=2)
    (trial,) = to_study(project).trials
    assert trial.user_attrs["folds"] == {"0": 0.4, "1": 0.2}
    assert trial.value == pytest.approx(0.3)
    assert trial.intermediate_values == pytest.approx({1: 0.4, 2: 0.35})


def test_several_objectives_are_several_values():
    objective = MultiObjective(["val_loss", gk.Objective("loss", "max")], pareto=True)
    trials = [made.trial(0, [[0.4]]), made.trial(1, [[0.6]])]
    study = to_study(made.project(trials, objective=objective))
    assert [trial.values for trial in study.trials] == [[0.4, 0.2], [0.6, 0.3]]
    assert study.metric_names == ["val_loss", "loss"]
    assert [way.name for way in study.directions] == ["MINIMIZE", "MAXIMIZE"]
    assert len(study.best_trials) == 2


def test_the_stage_of_a_trial_is_no_hyperparameter():
    values = {"units": 8, "rate": 1e-3, "tuner/epochs": 4, "tuner/bracket": 1}
    (trial,) = to_study(made.project([made.trial(0, [[1.0]], values=values)])).trials
    assert set(trial.params) == {"units", "rate"}
    assert trial.user_attrs["tuner/epochs"] == 4


@pytest.fixture
def storage(tmp_path):
    return f"sqlite:///{tmp_path}/study.db"


def loaded(storage):
    return optuna.load_study(study_name="digits", storage=storage)


def test_a_study_in_a_storage_follows_its_project(tmp_path, storage):
    place = tmp_path / "digits"
    running = made.trial(1, [[0.9]], TrialStatus.RUNNING)
    made.written(made.project([made.trial(0, [[0.5, 0.4]]), running]), place)
    results = gk.RayTuner.open(place)
    results.to_study(storage)
    assert [trial.state.name for trial in loaded(storage).trials] == ["COMPLETE", "RUNNING"]
    journal = Journal(place)
    journal.add_epoch("01", 0, 2, {"loss": 0.1, "val_loss": 0.2})
    results.to_study(storage)
    assert loaded(storage).trials[1].intermediate_values == {1: 0.9, 2: 0.2}
    ended = made.trial(1, [[0.9, 0.2]])
    journal.end_execution("01", 0, ended.executions[0])
    journal.end_trial(ended)
    later = made.trial(2, [[0.7]])
    journal.add_trial(later)
    journal.start_execution("02", 0, later.executions[0].started)
    journal.close()
    for _ in range(2):
        results.to_study(storage)
    trials = loaded(storage).trials
    assert [trial.user_attrs["trial_id"] for trial in trials] == ["00", "01", "02"]
    assert [trial.state.name for trial in trials] == ["COMPLETE", "COMPLETE", "RUNNING"]
    assert trials[1].value == 0.2
    assert trials[1].user_attrs["ended"] == ended.executions[0].ended


def test_a_failed_trial_that_is_run_again_is_another_one(tmp_path, storage):
    failed = made.trial(0, [[]], TrialStatus.FAILED, message="no")
    place = made.written(made.project([failed]), tmp_path / "digits")
    gk.RayTuner.open(place).to_study(storage)
    journal = Journal(place)
    journal.add_again(failed)
    again = made.trial(0, [[0.4]])
    again.executions[0].started += 50
    journal.end_execution("00", 0, again.executions[0])
    journal.end_trial(again)
    journal.close()
    gk.RayTuner.open(place).to_study(storage)
    assert [trial.state.name for trial in loaded(storage).trials] == ["FAIL", "COMPLETE"]


@pytest.mark.parametrize("scores", [[0.9, 0.8], [0.9, 0.8, 0.7, 0.6, 0.5]])
def test_an_attempt_that_failed_is_another_trial_than_the_next(storage, scores):
    described = {"project_id": "1"}
    first = made.trial(0, [[0.5, 0.4, 0.3, 0.2]], TrialStatus.RUNNING)
    to_study(made.project([first], **described), storage, "digits")
    again = made.trial(0, [scores])
    again.executions[0].started += 50
    again.executions[0].attempt = 1
    project = made.project([again], **described)
    for _ in range(2):
        to_study(project, storage, "digits")
    before, after = loaded(storage).trials
    assert before.state == TrialState.FAIL
    assert before.user_attrs["failure"] == "It was begun again."
    (fresh,) = to_study(project).trials
    assert after.state == TrialState.COMPLETE
    assert after.intermediate_values == fresh.intermediate_values
    assert after.datetime_start == fresh.datetime_start
    assert after.value == fresh.value


def test_a_training_that_goes_on_from_an_earlier_epoch_is_another_trial(storage):
    described = {"project_id": "1"}
    for scores in ([0.5, 0.4, 0.3], [0.5, 0.45]):
        trial = made.trial(0, [scores], TrialStatus.RUNNING)
        to_study(made.project([trial], **described), storage, "digits")
    before, after = loaded(storage).trials
    assert (before.state, after.state) == (TrialState.FAIL, TrialState.RUNNING)
    assert after.intermediate_values == {1: 0.5, 2: 0.45}


def test_a_trial_is_there_when_it_is_known_when_it_began(tmp_path, storage):
    pending = made.trial(0, [[]], TrialStatus.RUNNING)
    journal = Journal(tmp_path / "digits")
    journal.create(made.project([]))
    journal.add_trial(pending)
    results = gk.RayTuner.open(tmp_path / "digits")
    results.to_study(storage)
    assert loaded(storage).trials == []
    journal.start_execution("00", 0, made.BEGAN + 7)
    journal.close()
    results.to_study(storage)
    (trial,) = loaded(storage).trials
    assert trial.datetime_start == datetime.datetime.fromtimestamp(made.BEGAN + 7)


def test_values_that_a_scheduler_changed_are_noted(tmp_path, storage):
    place = tmp_path / "digits"
    made.written(made.project([made.trial(0, [[0.9]], TrialStatus.RUNNING)]), place)
    gk.RayTuner.open(place).to_study(storage)
    changed = made.trial(0, [[0.9, 0.4]], values={"units": 8, "rate": 1e-2, "kind": "wide"})
    journal = Journal(place)
    journal.end_execution("00", 0, changed.executions[0])
    journal.end_trial(changed)
    journal.close()
    gk.RayTuner.open(place).to_study(storage)
    (trial,) = loaded(storage).trials
    assert trial.params["rate"] == 1e-3
    assert trial.user_attrs["changed_values"] == {"rate": 1e-2, "norm": None}


def test_an_empty_study_is_that_of_the_project_that_fills_it(tmp_path, storage):
    first = made.written(made.project([]), tmp_path / "a" / "digits")
    second = made.written(made.project([made.trial(0, [[0.5]])]), tmp_path / "b" / "digits")
    gk.RayTuner.open(first).to_study(storage)
    for _ in range(2):
        gk.RayTuner.open(second).to_study(storage)
    assert len(loaded(storage).trials) == 1


def test_a_study_of_something_else_is_left_alone(tmp_path, storage):
    place = made.written(made.project([made.trial(0, [[0.5]])]), tmp_path / "digits")
    study = optuna.create_study(storage=storage, study_name="digits")
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=1)
    with pytest.raises(ProjectError, match="'digits' that is not of this project"):
        gk.RayTuner.open(place).to_study(storage)
    assert len(loaded(storage).trials) == 1
    gk.RayTuner.open(place).to_study(storage, study_name="mine")


def test_a_checkpoint_is_a_place_on_this_machine(tmp_path):
    place = made.written(made.project([made.trial(0, [[0.5]])]), tmp_path / "digits")
    results = gk.RayTuner.open(place)
    assert "checkpoint" not in results.to_study().trials[0].user_attrs
    weights = place / "trial_00" / "checkpoint.weights.h5"
    weights.parent.mkdir()
    weights.touch()
    assert results.to_study().trials[0].user_attrs["checkpoint"] == str(weights.parent)
