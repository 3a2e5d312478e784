"""Configurations that a user gives to be tried first."""

import pytest
from ray import tune

from glimr_keras.oracles import BayesianOptimizationOracle, RandomSearchOracle
from glimr_keras.oracles.suggestions import Nothing, Response, Suggestion, suggested
from glimr_keras.space.declared_space import DeclaredSpace
from glimr_keras.space.hp_types import Int
from glimr_keras.space.search_space import SearchSpace
from tests.oracles.helpers import MIN, SPACE, bayesian, end, grid, hyperband, random_search


def test_initial_points_may_be_nested_and_name_options_by_object():
    space = DeclaredSpace(
        {
            "a": {"f": tune.choice([len, max]), "x": tune.uniform(0, 1)},
            "d": tune.choice([{"k": 1}, {"k": 2}]),
        }
    )
    oracle = RandomSearchOracle(
        MIN,
        None,
        0,
        space=space.parameters,
        initial_points=[{"a": {"f": max, "x": 0.25}, "d": {"k": 2}}],
    )
    assert space.fill(oracle.next_trial().suggested) == {"a": {"f": max, "x": 0.25}, "d": {"k": 2}}


@pytest.mark.parametrize(
    ("point", "message"),
    [
        ({"unit": 3}, r"unknown hyperparameter 'unit'.*units"),
        (
            {"units": 65},
            r"value for 'units' that it cannot have. Received: 65; it is defined as Int",
        ),
        ({"act": "silu"}, r"value for 'act' that it cannot have. Received: 'silu'"),
    ],
)
def test_an_initial_point_that_cannot_be_is_refused(point, message):
    with pytest.raises(ValueError, match=message):
        RandomSearchOracle(MIN, seed=0, space=SPACE, initial_points=[point])


@pytest.mark.parametrize(
    ("point", "stored"),
    [
        ({"dropout": 0}, 0.0),
        ({"dropout": 0.1 * 3}, 0.3),
        ({"units": 7.0}, 7),
        ({"act": "gelu"}, "gelu"),
    ],
)
@pytest.mark.parametrize("make", [RandomSearchOracle, BayesianOptimizationOracle])
def test_an_initial_value_is_stored_as_its_hyperparameter_has_it(make, point, stored):
    oracle = make(MIN, seed=0, space=SPACE, initial_points=[point])
    trial = end(oracle, oracle.next_trial())
    (name,) = point
    assert (type(trial.suggested[name]), trial.suggested[name]) == (type(stored), stored)


def test_a_name_that_is_not_known_yet_may_be_in_an_initial_point_where_the_space_is_not_whole():
    oracle = RandomSearchOracle(
        MIN,
        None,
        0,
        space=SearchSpace([Int("a", 1, 3)], is_whole=False),
        initial_points=[{"a": 2, "late": 5}],
    )
    assert oracle.next_trial().suggested == {"a": 2, "late": 5}


# What an oracle proposes, as KerasTuner's subclasses know it


@pytest.mark.parametrize("make", [random_search, grid, bayesian, hyperband])
def test_what_a_named_oracle_proposes_is_a_dict_of_ones_own(make):
    oracle = make(max_trials=3)
    response = oracle.populate_space("0")
    assert isinstance(response, dict)
    assert (sorted(response), response["status"]) == (["status", "values"], "RUNNING")
    response["values"]["units"] = 64
    assert oracle.populate_space("0")["values"] is not response["values"]


@pytest.mark.parametrize(("proposed", "status"), [(Nothing.YET, "IDLE"), (Nothing.LEFT, "STOPPED")])
def test_nothing_is_a_dict_too(proposed, status):
    response = Response(proposed)
    assert response == {"status": status, "values": None}
    assert suggested(response, SearchSpace(SPACE), (1,)) is proposed
    response.update(status="RUNNING", values={"units": 3})
    changed = suggested(response, SearchSpace(SPACE), (1,))
    assert (changed.values["units"], changed.sampling_key) == (3, (1,))


def test_what_was_not_changed_is_what_was_proposed_and_what_was_is_completed():
    space = SearchSpace([Int("a", 1, 3), Int("b", 1, 3)])
    proposal = Suggestion({"a": 1}, (7,))
    assert suggested(Response(proposal), space, (1,)) is proposal
    edited = Response(proposal)
    edited["values"]["a"] = 2
    edited["values"]["other"] = 5
    found = suggested(edited, space, (1,))
    assert {**found.values, "b": 1} == {"a": 2, "b": 1, "other": 5}
    assert 1 <= found.values["b"] <= 3
    assert found.sampling_key == (7,)
    assert suggested({**edited, "status": "STOPPED"}, space, (1,)) is Nothing.LEFT
    assert proposal.values == {"a": 1}
