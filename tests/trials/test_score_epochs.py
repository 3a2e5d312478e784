"""At which epochs trials are scored, by what their trainings have reported."""

import numpy as np
import pytest

from glimr_keras.trials.execution import Execution
from glimr_keras.trials.objective import MultiObjective, Objective
from glimr_keras.trials.score_epochs import RULES, choose_epochs
from glimr_keras.trials.trial import Trial

LOSS = Objective("val_loss", "min")
NAN = float("nan")


def trial_of(*curves, objective=LOSS):
    trial = Trial.of("0", {}, (0,))
    for number, curve in enumerate(curves):
        execution = trial.executions[number] = Execution()
        for epoch, value in enumerate(curve, 1):
            execution.observe(epoch, {objective.name: value}, objective)
    return trial


def scored(trial, rule, objective=LOSS):
    choose_epochs(trial, objective, rule)
    return [(each.best_epoch, each.score) for each in trial.executions.values()], trial.score


def test_each_execution_has_its_own_best_epoch():
    trial = trial_of([3.0, 1.0, 2.0], [1.0, 3.0, 2.0])
    assert scored(trial, "best") == ([(2, 1.0), (1, 1.0)], 1.0)
    assert [each.saved_epoch for each in trial.executions.values()] == [2, 1]


def test_the_common_epoch_is_that_of_the_best_mean_and_weights_stay():
    trial = trial_of([3.0, 1.0, 2.0], [1.0, 4.0, 1.5])
    assert scored(trial, "common") == ([(3, 2.0), (3, 1.5)], 1.75)
    assert [each.saved_epoch for each in trial.executions.values()] == [2, 1]
    assert trial.best_step == 2
    assert trial.metrics.get_history("val_loss")[0].value == [2.0, 1.5]


def test_more_may_be_better_and_of_equal_epochs_the_first_counts():
    objective = Objective("val_auc", "max")
    trial = trial_of([0.5, 0.75, 1.0], [1.0, 0.75, 0.5], objective=objective)
    assert scored(trial, "common", objective) == ([(1, 0.5), (1, 1.0)], 0.75)


def test_epochs_that_not_all_have_do_not_count():
    """A training that was stopped early, or diverged at an epoch."""
    trial = trial_of([3.0, 2.0], [3.0, 2.5, 0.1])
    assert scored(trial, "common")[0] == [(2, 2.0), (2, 2.5)]
    trial = trial_of([3.0, NAN, 4.0], [3.0, 0.1, 2.5])
    assert scored(trial, "common")[0] == [(1, 3.0), (1, 3.0)]


def test_the_last_epoch_is_that_of_each():
    trial = trial_of([3.0, 1.0, 2.0], [1.0, 4.0])
    assert scored(trial, "last") == ([(3, 2.0), (2, 4.0)], 3.0)
    assert [each.saved_epoch for each in trial.executions.values()] == [2, 1]


def test_an_epoch_without_the_objective_does_not_count():
    """As with `validation_freq`."""
    trial = trial_of([3.0, 1.0], [3.0, 1.5])
    for execution in trial.executions.values():
        execution.observe(3, {"loss": 0.5}, LOSS)
    assert scored(trial, "common") == ([(2, 1.0), (2, 1.5)], 1.25)
    assert scored(trial, "last") == ([(2, 1.0), (2, 1.5)], 1.25)


def test_the_last_epoch_is_the_last_with_a_number():
    trial = trial_of([1.0, 3.0, NAN], [1.0, 2.0, 4.0])
    assert scored(trial, "last") == ([(2, 3.0), (3, 4.0)], 3.5)


def test_a_single_training_has_its_own_best_epoch_or_its_last():
    assert scored(trial_of([3.0, 1.0, 2.0]), "common") == ([(2, 1.0)], 1.0)
    assert scored(trial_of([3.0, 1.0, 2.0]), "last") == ([(3, 2.0)], 2.0)


def test_an_epoch_that_was_trained_again_counts_once():
    trial = trial_of([3.0, 1.0, 2.0], [3.0, 1.0, 2.0])
    trial.executions[0].observe(2, {"val_loss": 5.0}, LOSS)
    trial.executions[0].observe(3, {"val_loss": 2.5}, LOSS)
    assert scored(trial, "common") == ([(3, 2.5), (3, 2.0)], 2.25)


def test_of_several_objectives_the_sum_counts_and_each_has_its_value_then():
    objective = MultiObjective([LOSS, Objective("val_auc", "max")])
    trial = Trial.of("0", {}, (0,))
    for number, curve in enumerate([[(1.0, 0.9), (2.0, 0.5)], [(5.0, 0.1), (2.0, 0.9)]]):
        execution = trial.executions[number] = Execution()
        for epoch, (loss, auc) in enumerate(curve, 1):
            execution.observe(epoch, {"val_loss": loss, "val_auc": auc}, objective)
    assert scored(trial, "common", objective)[0] == [(2, 1.5), (2, pytest.approx(1.1))]
    assert trial.objective_values(objective) == (2.0, 0.7)


def test_where_no_epoch_is_common_each_has_its_own_and_that_is_said():
    trial = trial_of([3.0, NAN], [NAN, 1.0])
    trial.message = "It was late."
    assert scored(trial, "common") == ([(1, 3.0), (2, 1.0)], 2.0)
    assert trial.message.startswith("It was late.\nIts trainings have no epoch in common")


def test_a_loop_of_ones_own_that_tells_of_steps_has_epochs():
    trial = trial_of([3.0, 1.0, 2.0], [1.0, 4.0, 1.5])
    for execution in trial.executions.values():
        execution.is_told = True
    assert scored(trial, "common") == ([(3, 2.0), (3, 1.5)], 1.75)


def changed(trial, **fields):
    for name, value in fields.items():
        setattr(trial.executions[0], name, value)
    return trial


@pytest.mark.parametrize("rule", ["common", "last"])
@pytest.mark.parametrize(
    "said",
    [
        {"returned": {"val_loss": 1.0}, "score": 1.0},
        {"score": 2.0, "best_epoch": 3},  # of the last of several calls of `fit`
    ],
    ids=["number", "history"],
)
def test_a_score_that_was_returned_stays(rule, said):
    trial = changed(trial_of([3.0, 1.5, 2.0], [2.0, 4.0, 5.0]), **said)
    assert scored(trial, rule)[0] == [(said.get("best_epoch", 2), said["score"]), (1, 2.0)]
    assert trial.message is None


def test_what_was_returned_beside_the_objective_is_of_the_best_epoch_alone():
    trial = changed(trial_of([3.0, 1.0, 2.0], [1.0, 4.0, 1.5]), returned={"f1": 0.75})
    assert trial.executions[0].at_best == {"val_loss": 1.0, "f1": 0.75}
    scored(trial, "common")
    assert trial.executions[0].at_best == {"val_loss": 2.0}


def test_a_trial_without_trainings_has_no_epoch():
    assert scored(Trial.of("0", {}, (0,)), "common") == ([], None)
    assert scored(Trial.of("0", {}, (0,)), "last") == ([], None)


def test_on_outcomes_that_chance_decides_only_the_best_of_each_fold_looks_good():
    """The reason for all of it."""
    objective = Objective("val_concordance_index", "max")
    curves = np.random.default_rng(0).normal(0.5, 0.05, (200, 5, 20))
    means = {
        rule: np.mean(
            [scored(trial_of(*each, objective=objective), rule, objective)[1] for each in curves]
        )
        for rule in RULES
    }
    assert means["best"] > 0.58
    assert means["common"] < 0.545
    assert means["last"] == pytest.approx(0.5, abs=0.005)
