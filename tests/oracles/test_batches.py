"""Proposals that are made together, where many trials run."""

import numpy as np
import pytest

from glimr_keras.oracles.batches import Batches
from glimr_keras.oracles.surrogate import Prepared
from glimr_keras.space.hp_types import Boolean, Float
from glimr_keras.space.reserved_names import Stage
from tests.oracles.helpers import bayesian, end, hyperband, random_search

SPACE = [Float("a", 0, 1), Float("b", 0, 1), Boolean("c")]


def cost(trial):
    values = trial.suggested
    shared = abs(values["a"] - 0.3) + abs(values["b"] - 0.6) + values["c"]
    return shared + 1 / values.get(Stage.EPOCHS, 1)


def few(oracle_of):
    """Makes an oracle that has a model early, and never ends by itself."""
    if oracle_of is hyperband:
        return hyperband(SPACE, max_epochs=9, hyperband_iterations=None)
    return oracle_of(SPACE, num_initial_points=4)


def continued(oracle, again):
    """As it is made of the journal when a search goes on."""
    for trial in oracle.trials.values():
        again.restore_trial(trial)
    for trial_id in oracle.end_order:
        again.trial_ended(oracle.trials[trial_id])
    return again


def grown(oracle, parallel, trials, fail_every=13):
    """Runs so many at once, in an order in which they do not begin."""
    running = [oracle.ask() for _ in range(parallel)]
    while len(oracle.trials) < trials:
        trial = running.pop(len(oracle.trials) % 7)
        end(oracle, trial, None if len(oracle.trials) % fail_every == 0 else cost(trial))
        running.append(oracle.ask())
    return running


@pytest.mark.parametrize("oracle_of", [bayesian, hyperband])
@pytest.mark.parametrize("at_once", [pytest.param(1, marks=pytest.mark.slow), 3, 20])
def test_a_session_that_goes_on_proposes_what_it_would_have_proposed(oracle_of, at_once):
    living = few(oracle_of)
    running = grown(living, 100, 140)
    for number in range(3):
        for trial in [running.pop(0) for _ in range(at_once)]:
            end(living, trial, cost(trial))
        for step in range(at_once):
            again = continued(living, few(oracle_of)) if step in (number, at_once - 1) else None
            running.append(living.ask())
            assert again is None or again.ask().suggested == running[-1].suggested


def made(monkeypatch, oracle_of, parallel, more):
    """How many proposals were made alone, and how many times several were."""
    calls = []
    for name in ("ranked", "several"):
        make = getattr(Prepared, name)

        def recorded(*given, name=name, make=make):
            calls.append(name)
            return make(*given)

        monkeypatch.setattr(Prepared, name, recorded)
    grown(few(oracle_of), parallel, parallel + more)
    return calls.count("ranked"), calls.count("several")


@pytest.mark.parametrize("oracle_of", [bayesian, hyperband])
def test_several_proposals_are_made_at_once_where_many_run(monkeypatch, oracle_of):
    alone, several = made(monkeypatch, oracle_of, 96, more=40)
    assert alone <= 2  # the first
    assert 2 <= several <= 8  # of six or more each
    assert made(monkeypatch, oracle_of, 63, more=12)[1] == 0


def test_proposals_that_are_made_at_once_are_apart():
    oracle = few(bayesian)
    grown(oracle, 100, 260, fail_every=1000)
    together = {}
    for _ in range(18):
        first = Batches(oracle).of_next().first
        values = oracle.ask().suggested
        together.setdefault(first, []).append([values["a"], values["b"], values["c"]])
    assert 3 <= len(together) <= 4
    for points in map(np.array, list(together.values())):
        distances = np.abs(points[:, None] - points[None]).max(axis=2) + np.eye(len(points))
        assert distances.min() >= 0.0099  # what is nearer counts as the same
    trials = list(oracle.trials.values())
    costs = [cost(trial) for trial in trials]
    assert min(costs[100:]) < 1.05  # of 1 at the optimum
    assert np.mean(costs[-100:]) < np.mean(costs[:100]) - 0.4


def test_what_was_made_is_made_again_where_the_space_has_grown():
    oracle = few(bayesian)
    grown(oracle, 100, 140)
    while Batches(oracle).of_next().first == len(oracle.trials):
        oracle.ask()
    oracle.space.update([Float("d", 0, 1)])
    assert set(oracle.ask().suggested) == {"a", "b", "c", "d"}


def test_a_batch_ends_when_too_many_trials_have_ended_since():
    oracle = random_search(SPACE)
    running = [oracle.ask() for _ in range(160)]
    batches = Batches(oracle)
    begun = batches.of_next()
    assert (begun.first, begun.size, begun.num_ended) == (158, 9, 0)
    for trial in running[:19]:  # an eighth of those that ran
        end(oracle, trial)
    assert batches.of_next() == begun
    for trial in running[19:21]:
        end(oracle, trial)
    alone = batches.of_next()
    assert (alone.first, alone.size, alone.num_ended) == (160, 1, 21)
    oracle.ask()
    following = batches.of_next()
    assert (following.first, following.size, following.num_ended) == (161, 8, 21)


@pytest.mark.parametrize("oracle_of", [bayesian, hyperband])
def test_a_session_that_goes_on_after_failed_trials_were_begun_again_proposes_the_same(oracle_of):
    """Fewer have ended then than when the last trial began."""
    living = few(oracle_of)
    running = grown(living, 80, 130, fail_every=3)
    failed = [trial for trial in living.trials.values() if trial.status == "FAILED"]
    assert len(failed) > 10
    ended = [each for each in living.end_order if living.trials[each] not in failed]
    for trial in failed:
        trial.begin_again()

    def resumed(oracle):
        for trial in living.trials.values():
            oracle.restore_trial(trial)
        for trial_id in ended:
            oracle.trial_ended(living.trials[trial_id])
        return oracle

    again = resumed(few(oracle_of))
    for trial in [*failed[:5], *running[:5]]:
        proposed = again.ask()
        other = resumed(few(oracle_of))
        for new in list(again.trials.values())[len(living.trials) : -1]:
            other.restore_trial(new)
        assert other.ask().suggested == proposed.suggested
        end(again, trial, cost(trial))
        ended.append(trial.trial_id)
