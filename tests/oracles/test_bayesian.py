"""Bayesian optimisation, by its own model and by Optuna's samplers."""

import threading

import pytest
from optuna import samplers

from glimr_keras.oracles import BayesianOptimizationOracle, Nothing
from glimr_keras.oracles.sobol import sobol_point
from glimr_keras.oracles.surrogate import Prepared
from glimr_keras.space.hp_types import Boolean, Float, Int
from glimr_keras.space.search_space import SearchSpace
from glimr_keras.trials.execution import Execution, TrialStatus
from glimr_keras.trials.objective import MultiObjective, Objective
from tests.oracles.helpers import (
    LAYERS,
    MAX,
    MIN,
    SPACE,
    ask,
    bayesian,
    end,
    oracle_of,
    run,
    run_by_hand,
)

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


def continued(oracle, **options):
    """As it is made of the journal when a search goes on."""
    again = bayesian([Float("a", 0, 1), Boolean("b")], num_initial_points=4, **options)
    for trial in oracle.trials.values():
        again.restore_trial(trial)
    for trial_id in oracle.end_order:
        again.trial_ended(oracle.trials[trial_id])
    return again


def cost(trial):
    return abs(trial.suggested["a"] - 0.5) + trial.suggested["b"]


@pytest.mark.parametrize("parallel", [1, 4, 8, 20])
@pytest.mark.parametrize("at_once", [1, 2, 5])
def test_a_session_that_goes_on_proposes_what_it_would_have_proposed(parallel, at_once):
    living = bayesian([Float("a", 0, 1), Boolean("b")], num_initial_points=4)
    running = [living.ask() for _ in range(parallel)]
    for _ in range(6):
        for trial in [running.pop(0) for _ in range(min(at_once, len(running)))]:
            end(living, trial, cost(trial))
        while len(running) < parallel:
            again = continued(living)
            running.append(living.ask())
            assert again.ask().suggested == running[-1].suggested


def searched_ahead(monkeypatch, parallel):
    """How many proposals of a search were made ahead, and in this thread."""
    threads = []
    ranked = Prepared.ranked

    def recorded(prepared, generator):
        threads.append(threading.current_thread() is threading.main_thread())
        return ranked(prepared, generator)

    monkeypatch.setattr(Prepared, "ranked", recorded)
    oracle = bayesian([Float("a", 0, 1), Boolean("b")], num_initial_points=4)
    running = [oracle.ask() for _ in range(parallel)]
    for _ in range(20):
        trial = running.pop(0)
        end(oracle, trial, cost(trial))
        running.append(oracle.ask())
    return threads.count(False), threads.count(True)


def test_where_many_run_proposals_are_made_ahead(monkeypatch):
    ahead, now = searched_ahead(monkeypatch, 8)
    assert ahead >= 15
    assert now <= 2  # the first
    assert searched_ahead(monkeypatch, 7)[0] == 0


def test_what_was_made_ahead_is_made_again_where_the_space_has_grown():
    oracle = bayesian([Float("a", 0, 1), Boolean("b")], num_initial_points=4)
    running = [oracle.ask() for _ in range(12)]
    for trial in running[:4]:
        end(oracle, trial, cost(trial))
    while len(oracle.trials) < 18:
        oracle.ask()
    oracle.space.update([Float("c", 0, 1)])
    assert set(oracle.ask().suggested) == {"a", "b", "c"}


def test_where_more_end_than_run_nothing_old_is_proposed():
    """Each generation is proposed by what came of the last one."""

    def second(optimum):
        oracle = bayesian([Float("a", 0, 1)], num_initial_points=4)
        trials = [oracle.ask() for _ in range(16)]
        for trial in trials:
            end(oracle, trial, abs(trial.suggested["a"] - optimum))
        return oracle.ask().suggested["a"]

    assert abs(second(0.2) - 0.2) < 0.1
    assert abs(second(0.8) - 0.8) < 0.1


def test_an_oracle_that_is_reloaded_knows_the_results(tmp_path):
    def oracle_in_project():
        oracle = oracle_of(100, BayesianOptimizationOracle)
        oracle._set_project_dir(tmp_path, "project")
        return oracle

    oracle = oracle_in_project()
    for _ in range(15):
        run_by_hand(oracle)
    again = oracle_in_project()
    again.reload()
    proposed = again.create_trial("tuner0").hyperparameters.values
    assert proposed == oracle.create_trial("tuner0").hyperparameters.values


def test_the_first_trials_fill_the_space():
    values = run(bayesian([Float(name, 0, 1) for name in "abc"]), 6)
    points = [sobol_point(number, 3, 0).tolist() for number in range(6)]
    for one, point in zip(values[:5], points, strict=False):
        assert list(one.values()) == pytest.approx(point)
    assert list(values[5].values()) != pytest.approx(points[5])  # which the model proposes


def test_failed_trials_count_as_the_worst():
    oracle = bayesian([Float("a", 0, 1)], num_initial_points=4)
    for _ in range(14):
        trial = oracle.next_trial()
        a = trial.suggested["a"]
        end(oracle, trial, a if a > 0.4 else None)
    last = [oracle.next_trial().suggested["a"] for _ in range(3)]
    assert min(abs(a - 0.4) for a in last) < 0.1


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
