"""Trials and their executions: scores, best epochs, ranking."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glimr_keras.trials.execution import Execution, TrialStatus
from glimr_keras.trials.objective import Objective
from glimr_keras.trials.ranking import ranked
from glimr_keras.trials.trial import Trial

MIN, MAX = Objective("val_loss", "min"), Objective("val_accuracy", "max")


def trial(number, score=None, status=TrialStatus.COMPLETED):
    return Trial.of(
        f"{number:04d}", {}, status=status, executions={0: Execution(status, score=score)}
    )


# Executions


@pytest.mark.parametrize(("objective", "best_epoch", "score"), [(MIN, 2, 0.3), (MAX, 3, 0.8)])
def test_the_score_is_the_objective_at_the_best_epoch(objective, best_epoch, score):
    execution = Execution()
    for epoch, (loss, accuracy) in enumerate([(0.5, 0.6), (0.3, 0.7), (0.4, 0.8)], start=1):
        execution.observe(epoch, {"val_loss": loss, "val_accuracy": accuracy}, objective)
    assert (execution.best_epoch, execution.score) == (best_epoch, score)
    assert list(execution.history) == [1, 2, 3]
    assert execution.history[2] == {"val_loss": 0.3, "val_accuracy": 0.7}


def test_of_equal_epochs_the_first_is_the_best():
    execution = Execution()
    for epoch in (1, 2):
        execution.observe(epoch, {"val_loss": 0.5}, MIN)
    assert execution.best_epoch == 1


@pytest.mark.parametrize("metrics", [{"loss": 0.1}, {"val_loss": math.nan}])
def test_an_epoch_without_the_objective_is_history_but_no_score(metrics):
    execution = Execution()
    execution.observe(1, metrics, MIN)
    assert execution.score is None
    assert execution.best_epoch is None
    assert execution.history == {1: metrics}


# Trials


def test_a_trials_score_is_the_mean_over_its_executions():
    executions = {0: Execution(score=0.25, duration=1.0), 1: Execution(score=0.75, duration=2.0)}
    both = Trial.of("0000", {}, executions=executions)
    assert both.score == 0.5
    assert both.duration == 3.0


@pytest.mark.parametrize("missing", [None, math.nan])
def test_a_trial_has_no_score_until_every_execution_has_one(missing):
    assert (
        Trial.of(
            "0000", {}, executions={0: Execution(score=0.5), 1: Execution(score=missing)}
        ).score
        is None
    )


def test_a_trial_that_has_not_started_has_neither_score_nor_duration():
    assert Trial.of("0000", {"a": 1}).score is None
    assert Trial.of("0000", {"a": 1}).duration is None
    assert Trial.of("0000", {"a": 1}).best_execution(MIN) is None


def test_a_trials_values_are_the_suggested_ones_until_it_says_better():
    trial = Trial.of("0000", {"a": 1})
    assert trial.values == {"a": 1}
    trial.values["b"] = 2
    assert trial.suggested == {"a": 1}


def test_what_says_which_part_of_a_training_a_trial_is_comes_last_and_in_one_order():
    found = Trial.of("0001", {})
    found.values = {
        "tuner/round": 1,
        "tuner/trial_id": "0000",
        "units": 4,
        "tuner/epochs": 9,
        "tuner/initial_epoch": 3,
        "act": 1,
    }
    assert list(found.values) == [
        "units",
        "act",
        "tuner/epochs",
        "tuner/initial_epoch",
        "tuner/round",
        "tuner/trial_id",
    ]


def test_the_dict_of_a_trials_values_stays_the_same_object():
    found = Trial.of("0001", {"units": 4, "rate": 0.5})
    kept = found.hyperparameters.values
    found.values = {"late": 1, "units": 5}
    assert kept is found.values
    assert list(kept.items()) == [("late", 1), ("units", 5)]
    assert found.suggested == {"units": 4, "rate": 0.5}
    found.values = found.values
    assert kept == {"late": 1, "units": 5}


def test_trials_may_be_in_sets():
    first, second = Trial.of("0001", {}), Trial.of("0002", {})
    assert {first, second, Trial.of("0001", {})} == {first, second}


def test_the_best_execution_follows_the_direction_and_is_never_nan():
    executions = {
        0: Execution(score=math.nan),
        1: Execution(score=0.2),
        2: Execution(score=0.3),
        3: Execution(),
    }
    assert Trial.of("0000", {}, executions=executions).best_execution(MIN) == 1
    assert Trial.of("0000", {}, executions=executions).best_execution(MAX) == 2


def test_trials_are_ranked_completed_then_stopped_then_without_a_score():
    running = trial(0, 0.0, TrialStatus.RUNNING)
    failed = trial(1, 0.0, TrialStatus.FAILED)
    stopped = trial(2, 0.1, TrialStatus.STOPPED)
    good, bad, unscored = trial(3, 0.2), trial(4, 0.9), trial(5, math.nan)
    order = ranked([running, failed, stopped, bad, unscored, good], MIN)
    assert order[:3] == [good, bad, stopped]
    assert {t.trial_id for t in order[3:]} == {"0000", "0001", "0005"}
    assert ranked([good, bad], MAX) == [bad, good]


def test_of_equal_trials_the_earlier_ranks_first():
    assert [t.trial_id for t in ranked([trial(2, 0.5), trial(1, 0.5)], MAX)] == ["0001", "0002"]


def test_of_equal_trials_the_earlier_ranks_first_past_ten_thousand():
    assert [t.trial_id for t in ranked([trial(10_000, 0.5), trial(9_999, 0.5)], MAX)] == [
        "9999",
        "10000",
    ]


# Runs and folders


@given(
    st.lists(
        st.tuples(
            st.integers(1, 6),
            st.sampled_from([0.1, 0.2, 0.3, math.nan, math.inf, -math.inf, None, "end"]),
        ),
        max_size=20,
    )
)
def test_epochs_that_are_trained_again_leave_nothing_of_those_before(seen):
    """The definition: what is void was never observed."""
    execution, kept = Execution(), []
    best_epoch = score = None
    for epoch, value in seen:
        if value == "end":  # as a score that `fit` returned
            execution.best_epoch, execution.score = best_epoch, score = epoch, 0.25
            continue
        if epoch in dict(kept):
            kept = [(number, other) for number, other in kept if number < epoch]
            best_epoch, score = _best_of(kept, None, None)
        best_epoch, score = _best_of([(epoch, value)], best_epoch, score)
        kept.append((epoch, value))
        execution.observe(epoch, {} if value is None else {"val_loss": value}, MIN)
        assert list(execution.history) == [number for number, _ in kept]
        assert (execution.best_epoch, execution.score) == (best_epoch, score)


def _best_of(seen, best_epoch, score):
    for epoch, value in seen:
        if value in (0.1, 0.2, 0.3, math.inf) and (score is None or value < score):
            best_epoch, score = epoch, value
    return best_epoch, score
