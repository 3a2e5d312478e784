"""What every oracle keeps to. A new oracle is one row of `ORACLES`."""

import dataclasses
import json
from collections.abc import Callable

import pytest

from glimr_keras.oracles import Nothing, Oracle
from glimr_keras.space.hp_types import Boolean, Int
from glimr_keras.trials.trial import Trial
from tests.oracles.helpers import (
    MIN,
    SPACE,
    bayesian,
    continued_from,
    end,
    grid,
    hyperband,
    optuna,
    random_search,
    run,
)


@dataclasses.dataclass(frozen=True)
class Row:
    """An oracle, and what is said of it.

    Attributes:
        make: Makes one, of a space, a number of trials, a seed, an objective and initial points.
        draws: Whether values depend on the seed, and need no earlier trial.
        repeats_nothing: Whether no configuration is tried twice, also where hyperparameters are
            met late.
    """

    make: Callable[..., Oracle]
    draws: bool = True
    repeats_nothing: bool = False


ORACLES = {
    "random search": Row(random_search, repeats_nothing=True),
    "grid search": Row(grid, draws=False),
    "bayesian": Row(bayesian, repeats_nothing=True),
    "hyperband": Row(hyperband),
    "ray search": Row(optuna),
}


def over(holds):
    """Runs a test for each oracle of which something is said."""
    rows = {name: row.make for name, row in ORACLES.items() if holds(row)}
    return pytest.mark.parametrize("make", rows.values(), ids=rows.keys())


every_oracle = over(lambda row: True)
every_drawing = over(lambda row: row.draws)
every_new = over(lambda row: row.repeats_nothing)


# What it proposes


@every_oracle
def test_every_suggested_value_is_one_of_its_parameter(make):
    by_name = {parameter.name: parameter for parameter in SPACE}
    for values in run(make(), 25):
        for name, value in values.items():
            parameter = by_name[name]
            assert type(value) is type(parameter.default_value)
            assert parameter.prob_to_value(parameter.value_to_prob(value)) == pytest.approx(value)
            if hasattr(parameter, "max_value"):
                assert parameter.min_value <= value <= parameter.max_value


@every_drawing
def test_a_parameter_is_suggested_exactly_where_its_conditions_hold(make):
    suggestions = run(make(), 25)
    assert {values["kind"] for values in suggestions} == {"sgd", "adam"}
    for values in suggestions:
        assert ("momentum" in values) == (values["kind"] == "sgd")
        assert ("depth" in values) == (values["kind"] == "sgd" and values["bias"])


@every_drawing
def test_the_same_seed_gives_the_same_sequence(make):
    assert run(make(seed=1), 15) == run(make(seed=1), 15)
    assert run(make(seed=1), 15) != run(make(seed=2), 15)


@every_oracle
def test_the_budget_counts_every_trial(make):
    oracle = make(max_trials=3)
    end(oracle, oracle.next_trial())
    end(oracle, oracle.next_trial(), score=None)
    assert isinstance(oracle.next_trial(), Trial)
    assert oracle.next_trial() is Nothing.LEFT


@every_drawing
def test_trials_run_side_by_side_and_are_recorded_in_their_order(make):
    oracle = make()
    trials = [oracle.next_trial() for _ in range(3)]
    assert oracle.trials == {"0000": trials[0], "0001": trials[1], "0002": trials[2]}
    for trial in reversed(trials):
        end(oracle, trial)
    assert oracle.next_trial().trial_id == "0003"


@every_oracle
def test_scopes_may_be_in_names(make):
    assert set(run(make([Int("layer1/units", 1, 4)]), 1)[0]) == {"layer1/units"}


@every_oracle
def test_a_model_may_have_nothing_to_search(make):
    assert run(make([]), 1) == [{}]


@every_oracle
def test_initial_points_come_first_and_are_completed(make):
    oracle = make(initial_points=[{"units": 7, "kind": "sgd"}, {"rate": 0.01}])
    (one, two), three = run(oracle, 2), run(oracle, 1)[0]
    assert (one["units"], one["kind"], two["rate"]) == (7, "sgd", 0.01)
    assert set(two) >= {"units", "rate", "kind"}
    assert three not in (one, two)


# What it is told


@every_oracle
def test_parameters_that_a_trial_met_join_the_space_once(make):
    oracle = make()
    late = Int("late", 1, 4)
    assert oracle.update_space([SPACE[0], late]) == [late]
    assert oracle.update_space([late]) == []
    assert oracle.space.parameters == [*SPACE, late]


@every_new
def test_a_search_goes_on_when_a_trial_meets_a_hyperparameter_late(make):
    """`deep` is asked for first, and only where it is true also `n`: eleven configurations, of
    which none is known before.
    """
    oracle, tried = make([]), set()
    for _ in range(11):
        trial = oracle.next_trial()
        deep = trial.suggested.get("deep", False)
        trial.values = {"deep": deep} | ({"n": trial.suggested.get("n", 1)} if deep else {})
        oracle.update_space([Boolean("deep"), *([Int("n", 1, 10)] if deep else [])])
        end(oracle, trial)
        tried.add(str(trial.values))
    assert len(tried) == 11
    assert oracle.next_trial() is Nothing.LEFT


@every_oracle
def test_a_continued_search_goes_on_with_the_next_trial(make):
    oracle = make()
    run(oracle, 3)
    assert continued_from(oracle.trials.values(), make()).next_trial().trial_id == "0003"


@every_oracle
def test_what_was_tried_is_known_until_the_oracle_begins_anew(make):
    oracle = make()
    tried = run(oracle, 3)
    assert all(oracle.is_tried(values) for values in tried)
    assert set(oracle._id_to_hash) == set(oracle.trials)
    assert set(oracle._id_to_hash.values()) == oracle._tried_so_far
    oracle.begin(oracle.objective, oracle.seed, oracle.space)
    assert not any(oracle.is_tried(values) for values in tried)


# Without a search


@every_oracle
def test_a_loop_of_ones_own_runs_until_all_trials_have_ended(make, tmp_path):
    oracle = make(max_trials=3)
    oracle._set_project_dir(tmp_path, "project")
    while (trial := oracle.create_trial("tuner0")).status == "RUNNING":
        oracle.update_trial(trial.trial_id, {MIN.name: float(len(oracle.trials))})
        trial.status = "COMPLETED"
        oracle.end_trial(trial)
    assert trial.status == "STOPPED"
    assert oracle.end_order == oracle.start_order == ["0", "1", "2"]
    assert [best.score for best in oracle.get_best_trials(3)] == [1.0, 2.0, 3.0]
    state = json.loads((tmp_path / "project" / "oracle.json").read_text())
    assert state == oracle.get_state()
    again = make(max_trials=3)
    again._set_project_dir(tmp_path, "project")
    again.reload()
    assert again.get_state() == state
