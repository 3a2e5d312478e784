"""Bayesian optimisation, by its own model and by Optuna's samplers."""

import pytest
from optuna import samplers

from glimr_keras.oracles import Nothing
from glimr_keras.space.hp_types import Boolean, Float, Int
from glimr_keras.space.search_space import SearchSpace
from glimr_keras.trials.objective import MultiObjective, Objective
from glimr_keras.trials.trial import Execution, TrialStatus
from tests.oracles.helpers import LAYERS, MAX, MIN, SPACE, ask, bayesian, end, run

every_sampler = pytest.mark.parametrize("sampler", ["gp", "tpe"])


@pytest.mark.parametrize("sampler", ["gp", "tpe", "nsga2"])
def test_bayesian_optimisation_never_repeats_while_others_remain(sampler):
    tried = [
        str(values) for values in run(bayesian([Int("a", 1, 5), Boolean("b")], sampler=sampler), 10)
    ]
    assert len(set(tried)) == 10
    oracle = bayesian([Int("a", 1, 2)], sampler=sampler)
    run(oracle, 2)
    assert oracle.next_trial() is Nothing.LEFT


@every_sampler
@pytest.mark.parametrize(("objective", "good"), [(MIN, 0.2), (MAX, 0.8)])
def test_bayesian_optimisation_comes_closer_to_the_optimum(objective, good, sampler):
    oracle = bayesian([Float("a", 0, 1), Float("b", 0, 1)], objective=objective, sampler=sampler)
    values = [
        end(oracle, trial, trial.suggested["a"] + trial.suggested["b"]).suggested["a"]
        for trial in (oracle.next_trial() for _ in range(50))
    ]
    assert abs(sum(values[-10:]) / 10 - good) < 0.25


def test_bayesian_optimisation_learns_of_a_hyperparameter_from_the_trials_that_had_it():
    """Units of a layer that is not there make no difference; the model must not be told that they
    do.
    """
    space = SearchSpace(
        LAYERS, [{"layers": 1, "units_0": 16}, {"layers": 2, "units_0": 16, "units_1": 16}]
    )
    oracle = bayesian(space, sampler="tpe")
    for _ in range(12):
        end(oracle, ask(oracle.next_trial()))
    trials = [
        trial for trial in oracle._study._study.get_trials() if trial.state.name == "COMPLETE"
    ]
    assert len(trials) == 12
    for trial in trials:
        assert len(trial.params) == 1 + trial.params["layers"]


@every_sampler
def test_bayesian_optimisation_continues_from_the_trials_of_an_earlier_session(sampler):
    first, continued = bayesian(sampler=sampler), bayesian(sampler=sampler)
    run(first, 15)
    for trial in first.trials.values():
        continued.restore_trial(trial)
        continued.end_trial(trial)
    assert run(continued, 3) == run(first, 3)


@every_sampler
def test_bayesian_optimisation_learns_from_another_project(sampler):
    oracle, other = (
        bayesian([Float("a", 0, 1)], num_initial_points=1, sampler=sampler),
        bayesian([Float("a", 0, 1)]),
    )
    for _ in range(30):
        trial = other.next_trial()
        oracle.learn(end(other, trial, trial.suggested["a"]))
    assert not oracle.trials
    assert sum(values["a"] for values in run(oracle, 5)) / 5 < 0.3


@every_sampler
def test_running_trials_are_spread_out(sampler):
    oracle = bayesian([Float("a", 0, 1)], num_initial_points=5, sampler=sampler)
    for _ in range(20):
        trial = oracle.next_trial()
        end(oracle, trial, abs(trial.suggested["a"] - 0.5))
    side_by_side = [oracle.next_trial().suggested["a"] for _ in range(5)]
    assert len({round(value, 3) for value in side_by_side}) == 5


def test_samplers_are_checked_when_the_oracle_is_made():
    with pytest.raises(
        ValueError,
        match=(
            r"`sampler` must be 'gp', 'tpe', 'cmaes', 'nsga2' or one of `optuna.samplers`. "
            r"Received"
        ),
    ):
        bayesian(sampler="annealing")


def test_cmaes_can_be_chosen():
    oracle = bayesian([Float("a", 0, 1), Float("b", 0, 1)], sampler="cmaes", num_initial_points=5)
    values = [
        end(oracle, t, (t.suggested["a"] - 0.7) ** 2).suggested["a"]
        for t in (oracle.next_trial() for _ in range(60))
    ]
    assert abs(sum(values[-10:]) / 10 - 0.7) < 0.15


def test_a_gaussian_process_finds_no_front():
    both = MultiObjective([Objective("accuracy", "max"), Objective("size", "min")], pareto=True)
    with pytest.raises(
        ValueError, match=r"sampler='gp' cannot look for a Pareto front. Use 'tpe' or 'nsga2'"
    ):
        bayesian(objective=both, sampler="gp")


def test_what_failed_is_avoided():
    oracle = bayesian([Float("a", 0, 1)], sampler="gp")
    values = []
    for _ in range(30):
        trial = oracle.next_trial()
        values.append(trial.suggested["a"])
        end(
            oracle, trial, None if values[-1] < 0.5 else values[-1]
        )  # the best are next to those that fail
    assert sum(value < 0.5 for value in values[10:]) <= 10


def test_a_sampler_of_optunas_can_be_given():
    assert len(run(bayesian(SPACE[:2], sampler=samplers.RandomSampler(seed=1)), 5)) == 5


def test_several_objectives_give_a_front():
    both = MultiObjective([Objective("accuracy", "max"), Objective("size", "min")], pareto=True)
    oracle = bayesian([Float("a", 0, 1)], objective=both)
    for _ in range(30):
        trial = oracle.next_trial()
        a = trial.suggested["a"]
        trial.status, trial.executions[0] = TrialStatus.COMPLETED, Execution(TrialStatus.COMPLETED)
        trial.executions[0].observe(1, {"accuracy": a, "size": a**2}, both)
        oracle.end_trial(trial)
    assert len(oracle._study._study.best_trials) > 5  # every a is a compromise of its own
