"""The copy of a tuner for workers. Made in the driver, unpickled in the worker."""

from __future__ import annotations

import contextlib
import functools
import pathlib
from typing import Any

from glimr_keras.models.compile_overrides import OF_TUNER, MadeAnew
from glimr_keras.oracles import Oracle
from glimr_keras.trials import stored_trial
from glimr_keras.trials.execution import TrialStatus
from glimr_keras.trials.objective import Objective
from glimr_keras.trials.trial import Trial


def worker_copy(tuner: Any) -> Any:
    """Return a copy of the tuner for workers.

    It has everything that the user's code set, but not the driver's own state.
    """
    copied = object.__new__(type(tuner))
    anew = {name: MadeAnew(vars(tuner)[name]) for name in OF_TUNER if name in vars(tuner)}
    of_worker = {
        "oracle": _OracleMadeAnew(tuner.oracle, tuner._glimr.place),
        "_glimr": tuner._glimr.sent(),
    }
    vars(copied).update({**vars(tuner), **anew, **of_worker})
    return copied


class _OracleMadeAnew:
    """A stand-in that unpickles in a worker as a plain oracle with the trials so far.

    The plain oracle chooses nothing.
    """

    def __init__(self, oracle: Oracle, place: pathlib.Path) -> None:
        self._parts = (oracle.objective, oracle.max_trials, oracle.seed, place)

    def __reduce__(self) -> tuple[Any, ...]:
        return _oracle_with_trials, self._parts


def _oracle_with_trials(
    objective: Objective, max_trials: int | None, seed: int, place: pathlib.Path
) -> Oracle:
    """Make an oracle with the trials recorded in a project, if the worker can read it."""
    oracle = Oracle(objective, max_trials, seed=seed)
    for file in stored_trial.files_in(place):
        with contextlib.suppress(OSError, ValueError, KeyError):  # a file that is being written
            trial = _read_trial(file, file.stat().st_mtime_ns)
            oracle.trials[trial.trial_id] = trial
    oracle.start_order = list(oracle.trials)
    oracle.end_order = [
        trial_id for trial_id, trial in oracle.trials.items() if trial.status != TrialStatus.RUNNING
    ]
    return oracle


@functools.cache
def _read_trial(file: pathlib.Path, changed: int) -> Trial:
    """Read a stored trial; `changed`, the file's modification time, keys the cache."""
    return stored_trial.read(file)
