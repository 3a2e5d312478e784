"""What random search adds to what every oracle does."""

import pytest
from ray import tune

from glimr_keras.oracles import Nothing
from glimr_keras.space.declared_space import DeclaredSpace
from glimr_keras.space.hp_types import Boolean, Condition, Float, Int
from tests.oracles.helpers import end, random_search, run

SMALL = [Int("a", 1, 3), Boolean("b"), Int("c", 1, 2, conditions=(Condition("b", (True,)),))]


def test_random_search_tries_every_configuration_once_and_then_has_nothing_left():
    tried = [str(values) for values in run(random_search(SMALL), 9)]
    assert len(set(tried)) == 9
    oracle = random_search(SMALL)
    run(oracle, 9)
    assert oracle.next_trial() is Nothing.LEFT


def test_random_search_finds_the_last_configurations_of_a_larger_space():
    run(random_search([Int("a", 1, 200)]), 200)


def test_random_search_repeats_neither_what_runs_nor_what_a_trial_made_of_its_suggestion():
    oracle = random_search([Int("a", 1, 2)])
    trial = oracle.next_trial()
    trial.values = {"a": 3 - trial.suggested["a"]}
    end(oracle, trial)
    assert oracle.is_tried({"a": 1})
    assert oracle.is_tried({"a": 2})
    assert oracle.next_trial() is Nothing.LEFT


@pytest.mark.parametrize("kept", range(9))
def test_random_search_continues_the_same_sequence_from_any_point(kept):
    whole = random_search(SMALL)
    expected = run(whole, 9)
    continued = random_search(SMALL)
    for trial in list(whole.trials.values())[:kept]:
        continued.restore_trial(trial)
        continued.end_trial(trial)
    assert run(continued, 9 - kept) == expected[kept:]


def test_random_search_draws_a_value_by_its_name_whatever_else_is_in_the_space():
    both = run(random_search([Float("a", 0, 1), Float("b", 0, 1)]), 3)
    alone = run(random_search([Float("b", 0, 1)]), 3)
    assert [values["b"] for values in both] == [values["b"] for values in alone]


def test_random_search_samples_rays_own_domains():
    space = DeclaredSpace({"n": tune.qrandint(5, 50, 10), "z": tune.randn(0, 1)}).parameters
    assert {values["n"] for values in run(random_search(space), 40)} == {10, 20, 30, 40, 50}
