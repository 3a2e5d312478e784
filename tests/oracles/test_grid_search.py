"""A grid that is walked as a tree."""

import pytest

from glimr_keras.oracles import Nothing
from glimr_keras.space.hp_types import Boolean, Choice, Float, Int
from glimr_keras.trials.execution import Execution, TrialStatus
from glimr_keras.trials.trial import Trial
from tests.oracles.helpers import LAYERS, ask, end, grid


def test_a_stopped_trial_is_not_taken_for_all_that_its_code_asks_for():
    oracle = grid([Int("a", 1, 2), Int("b", 1, 2)])
    trial = oracle.next_trial()
    trial.values = {"a": 1}
    trial.status, trial.executions[0] = (
        TrialStatus.STOPPED,
        Execution(TrialStatus.STOPPED, score=1.0),
    )
    oracle.end_trial(trial)
    rest = [end(oracle, trial) for trial in iter(oracle.next_trial, Nothing.LEFT)]
    assert {tuple(trial.suggested.values()) for trial in rest} == {(1, 2), (2, 1), (2, 2)}


def every_trial(oracle, workers=1):
    """Runs a search to its end, so many trials at once."""
    running, done = [], []
    while True:
        while len(running) < workers and isinstance(trial := oracle.next_trial(), Trial):
            running.append(ask(trial))
        if not running:
            assert oracle.next_trial() is Nothing.LEFT
            return done
        done.append(end(oracle, running.pop(0)))


def test_grid_search_varies_the_last_hyperparameter_fastest():
    oracle = grid([Int("a", 1, 2), Choice("b", ("x", "y", "z"), default="y"), Boolean("c")])
    tried = [
        tuple(trial.values[name] for name in "abc")
        for trial in iter(lambda: _next_of(oracle), None)
    ]
    assert tried == [(a, b, c) for a in (1, 2) for b in "yxz" for c in (False, True)]


def _next_of(oracle):
    """A trial that is run to its end; `None` when there is none."""
    trial = oracle.next_trial()
    return end(oracle, trial) if isinstance(trial, Trial) else None


@pytest.mark.parametrize("workers", [1, 4])
def test_grid_search_trains_each_distinct_model_once(workers):
    done = every_trial(grid(LAYERS), workers)
    assert len(done) == len({str(trial.values) for trial in done}) == 3 + 9 + 27


@pytest.mark.parametrize("kept", [0, 1, 2, 20, 39])
def test_grid_search_continues_with_what_is_left(kept):
    whole = grid(LAYERS)
    trials = every_trial(whole)
    continued = grid(LAYERS)
    for trial in trials[:kept]:
        continued.restore_trial(trial)
        continued.end_trial(trial)
    rest = every_trial(continued)
    assert {str(trial.values) for trial in trials[:kept] + rest} == {
        str(trial.values) for trial in trials
    }
    assert len(rest) == 39 - kept


def test_grid_search_does_not_repeat_what_was_running_when_it_was_continued():
    first, continued = grid(LAYERS), grid(LAYERS)
    done = [end(first, ask(first.next_trial())) for _ in range(3)]
    running = ask(first.next_trial())
    for trial in [*done, running]:
        continued.restore_trial(trial)
        if trial is not running:
            continued.end_trial(trial)
    end(continued, running)
    rest = every_trial(continued)
    assert len({str(trial.values) for trial in [*done, running, *rest]}) == 39
    assert len(rest) == 35


def test_grid_search_tries_ten_values_of_a_range_without_a_step():
    oracle = grid([Float("rate", 1e-4, 1e-1, sampling="log"), Boolean("b")])
    first = oracle.next_trial()
    end(oracle, first)
    rates, flags = set(), set()
    while isinstance(trial := oracle.next_trial(), Trial):
        end(oracle, trial)
        rates.add(trial.suggested["rate"])
        flags.add(trial.suggested["b"])
    assert flags == {False, True}
    assert len(rates - {first.suggested["rate"]}) == 10


def test_grid_search_goes_round_a_configuration_that_fails():
    oracle = grid([Int("a", 1, 2), Int("b", 1, 2)])
    trial = oracle.next_trial()
    trial.values = {}  # it failed before it had asked for anything
    end(oracle, trial, score=None)
    rest = [end(oracle, trial) for trial in iter(oracle.next_trial, Nothing.LEFT)]
    assert {tuple(trial.suggested.values()) for trial in rest} == {(1, 2), (2, 1), (2, 2)}
