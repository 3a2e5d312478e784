"""Faults that are put into the code, to see that simulated searches find them.

`python -m tests.simulation.mutants 'an end is written twice'` searches for a plan that finds one,
which takes minutes; `test_mutants` keeps those that were found.
"""

import dataclasses
import json
import sys
from unittest import mock

from hypothesis import HealthCheck, find, settings

from glimr_keras._utils import files
from glimr_keras.executors import coordinator
from glimr_keras.executors.coordinator import Coordinator
from glimr_keras.oracles import HyperbandOracle, Oracle
from glimr_keras.project import checkpoints, journal, training_states
from glimr_keras.project.journal import Journal
from glimr_keras.project.remote_claim import Claim
from glimr_keras.project.remote_files import Remote
from glimr_keras.project.remote_mirror import Mirror
from tests.simulation.plans import plans
from tests.simulation.runs import run


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
    return dataclasses.replace(ORIGINAL_SPEC(self, *args, **kwargs), last_epoch=10**6)


def nothing_on_resume(self, trial):
    if not trial.executions:
        ORIGINAL_QUEUE(self, trial)


ORIGINAL_QUEUE = Coordinator._queue


def recorded_alone(self, trial):
    """Gives up only what the journal knows of."""
    with mock.patch.object(self, "_remove", nothing):
        ORIGINAL_GIVE_UP(self, trial)


ORIGINAL_GIVE_UP = Coordinator._give_up

ORIGINAL_CHANGED = Mirror._put_changed
ORIGINAL_PUT = Remote.put_whole
ORIGINAL_START = Mirror._start


def journal_early(self, candidates):
    self._put_journal(self._journal_here())
    return ORIGINAL_CHANGED(self, candidates)


def removed_here(self, directory):
    checkpoints.remove(directory)


def others_forgotten(self, overwrite):
    ORIGINAL_START(self, overwrite)
    self._sent = {name: stamp for name, stamp in self._sent.items() if stamp}


def remembered_bare(self, sent):
    files.write_whole(self.directory / ".glimr_keras/sent.json", json.dumps(sent).encode())


def looked_and_read(self, name):
    """Reads what was there a moment ago."""
    if self.stamp(name) is None:
        return None
    with self.storing(), self._files.open_input_stream(f"{self._root}/{name}") as stream:
        return stream.read()


def under_one_name(self, name, content, by=""):
    ORIGINAL_PUT(self, name, content)


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
    "a failed trial leaves executions behind": lambda: mock.patch.object(
        Coordinator, "_give_up", nothing
    ),
    "what was not recorded of a failed trial stays": lambda: mock.patch.object(
        Coordinator, "_give_up", recorded_alone
    ),
    "each training is scored at its best epoch": lambda: mock.patch.object(
        coordinator, "choose_epochs", nothing
    ),
    "the epochs of the scores are not written": lambda: mock.patch.object(
        journal, "chosen_epochs", lambda trial: {}
    ),
    "weights of trials that are not among the best stay": lambda: mock.patch.object(
        Coordinator, "_keep_best", nothing
    ),
}
AT_URIS = {
    "the journal is sent before the weights": lambda: mock.patch.object(
        Mirror, "_put_changed", journal_early
    ),
    "a claim is not heeded": lambda: mock.patch.object(
        Claim, "_is_of_another", lambda self, claim: False
    ),
    "weights of trials that are not among the best stay at the URI": lambda: mock.patch.object(
        Mirror, "remove", removed_here
    ),
    "states that another machine has sent are left": lambda: mock.patch.object(
        Mirror, "_start", others_forgotten
    ),
    "a full disk here is said to be that of the URI": lambda: mock.patch.object(
        Mirror, "_remember", remembered_bare
    ),
    "what is gone while it is read is an error": lambda: mock.patch.object(
        Remote, "content", looked_and_read
    ),
    "two searches write to one name": lambda: mock.patch.object(
        Remote, "put_whole", under_one_name
    ),
}
"""Likewise, of projects at a URI."""


def is_found_by(plan):
    """Whether something does not hold, or goes wrong."""
    try:
        run(plan)
    except Exception:
        return True
    return False


if __name__ == "__main__":
    name = sys.argv[1]
    tries = settings(
        max_examples=3000, deadline=None, database=None, suppress_health_check=list(HealthCheck)
    )
    with {**MUTANTS, **AT_URIS}[name]():
        print(repr(find(plans(is_at_uri=name in AT_URIS), is_found_by, settings=tries)))
