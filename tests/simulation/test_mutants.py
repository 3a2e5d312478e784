"""Faults that are put into the code are found by simulated searches."""

import contextlib
from unittest import mock

import pytest
from hypothesis import HealthCheck, find, settings

from glimr_keras.executors import coordinator
from glimr_keras.executors.coordinator import Coordinator
from glimr_keras.oracles import HyperbandOracle, Oracle
from glimr_keras.project import checkpoints, training_states
from glimr_keras.project.journal import Journal
from glimr_keras.training import run_trial
from glimr_keras.trials.trial import Execution
from tests.simulation.plans import plans
from tests.simulation.searches import run

TRIES = settings(
    max_examples=1500, deadline=None, database=None, suppress_health_check=list(HealthCheck)
)


def nothing(*args, **kwargs):
    """Does nothing."""


def twice(function):
    def mutant(*args, **kwargs):
        function(*args, **kwargs)
        return function(*args, **kwargs)

    return mutant


def without_values(self, trial, number):
    self._write(self._journal.end_execution, trial.trial_id, number, trial.executions[number])


def journal_first(self, trial, expected=False):
    """Writes the journal before `trial.json`, and may die in between."""
    write, held = self._write, []

    def swapped(function, *record):
        if function == self.oracle.end_trial:
            held.append(record)
            trial.status = trial.status
            return
        write(function, *record)
        if function == self._journal.end_trial and held:
            write(self.oracle.end_trial, *held.pop())

    with mock.patch.object(self, "_write", swapped):
        ORIGINAL_END(self, trial, expected)


ORIGINAL_END = Coordinator._end_trial
ORIGINAL_SPEC = Coordinator._spec_of


def never_ahead(self, *args, **kwargs):
    return run_trial.dataclasses.replace(ORIGINAL_SPEC(self, *args, **kwargs), last_epoch=10**6)


def from_the_beginning(self, trial, number, resumes):
    return ORIGINAL_SPEC(self, trial, number, False)


def forgetful(self, epoch, metrics, objective):
    """Keeps what came after an epoch that is trained again."""
    self.history[epoch] = metrics
    value = objective.get_value(metrics)
    if objective.better_than(value, self.score):
        self.best_epoch, self.score = epoch, value


MUTANTS = {
    "an end is not forced to the disk": lambda: mock.patch.object(Journal, "_force", nothing),
    "weights are not forced to the disk": lambda: mock.patch.object(checkpoints, "force", nothing),
    "a torn line is not cut": lambda: mock.patch.object(Journal, "_cut_torn_end", nothing),
    "the journal says an end before trial.json": lambda: mock.patch.object(
        Coordinator, "_end_trial", journal_first
    ),
    "states are left": lambda: mock.patch.object(training_states, "remove_states", nothing),
    "what was running is not gone on with": lambda: mock.patch.object(
        Coordinator, "_queue", nothing_on_resume
    ),
    "better weights than those of the state are kept": lambda: mock.patch.object(
        training_states, "go_back", nothing
    ),
    "a state may be ahead of the journal": lambda: mock.patch.object(
        Coordinator, "_spec_of", never_ahead
    ),
    "an end is written twice": lambda: mock.patch.object(
        Journal, "end_trial", twice(Journal.end_trial)
    ),
    "what a trial asked for is only known at its end": lambda: mock.patch.object(
        Coordinator, "_write_end", without_values
    ),
    "the state that a promotion goes on from is removed": lambda: mock.patch.object(
        HyperbandOracle, "is_continued", Oracle.is_continued
    ),
    "an epoch that is trained again voids nothing": lambda: mock.patch.object(
        Execution, "observe", forgetful
    ),
    "a failed trial leaves executions behind": lambda: mock.patch.object(
        Coordinator, "_give_up", nothing
    ),
    "weights of trials that are not among the best stay": lambda: mock.patch.object(
        Coordinator, "_keep_best", nothing
    ),
}


def nothing_on_resume(self, trial):
    if not trial.executions:
        ORIGINAL_QUEUE(self, trial)


ORIGINAL_QUEUE = Coordinator._queue


def is_wrong(plan):
    try:
        run(plan)
    except Exception:
        return True
    return False


@pytest.mark.slow
@pytest.mark.parametrize("name", MUTANTS)
def test_it_is_found(name):
    assert coordinator.training_states is training_states  # which the mutants change
    with contextlib.ExitStack() as changed:
        changed.enter_context(MUTANTS[name]())
        find(plans(), is_wrong, settings=TRIES)
