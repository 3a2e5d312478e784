"""Surrogates know the trials that have ended, whatever becomes of the record."""

from glimr_keras.oracles.trial_surrogates import TrialSurrogates
from glimr_keras.space.hp_types import Float
from glimr_keras.space.search_space import SearchSpace
from tests.oracles.helpers import MIN, end, random_search


def ended(count):
    """An oracle with so many ended trials, and surrogates of it by whether `a` is high."""
    oracle = random_search([Float("a", 0, 1)])
    for _ in range(count):
        trial = oracle.next_trial()
        end(oracle, trial, trial.suggested["a"])
    return oracle, TrialSurrogates(oracle, lambda trial: int(trial.suggested["a"] > 0.5))


def counts(surrogates):
    return {kind: known.num_scored() for kind, known in surrogates.by_kind.items()}


def test_what_ends_later_is_told():
    oracle, surrogates = ended(6)
    assert sum(counts(surrogates).values()) == 6
    end(oracle, oracle.next_trial())
    assert sum(counts(surrogates).values()) == 7


def test_it_is_known_how_many_results_there_were_before():
    oracle, surrogates = ended(20)
    kinds = [int(oracle.trials[each].suggested["a"] > 0.5) for each in oracle.end_order]
    assert set(counts(surrogates)) == {0, 1}
    for kind in (0, 1):
        told = [surrogates.told_after(number, kind) for number in range(21)]
        assert told == [kinds[:number].count(kind) for number in range(21)]


def test_a_trial_that_is_run_again_is_forgotten():
    oracle, surrogates = ended(6)
    before = counts(surrogates)
    again = oracle.end_order.pop(2)
    assert sum(counts(surrogates).values()) == 5
    oracle.end_order.append(again)
    assert counts(surrogates) == before
    oracle.end_order.remove(again)
    oracle.end_order.append(end(oracle, oracle.next_trial()).trial_id)
    oracle.end_order.pop()
    assert sum(counts(surrogates).values()) == 6


def test_another_search_is_another_one():
    oracle, surrogates = ended(6)
    assert surrogates.by_kind
    oracle.begin(MIN, 0, SearchSpace([Float("a", 0, 1)]))
    assert not surrogates.by_kind
