"""The work of a worker, independent of how its process is made: prepare, build the model once, or
train an execution. Runs in the worker.
"""

from __future__ import annotations

import contextlib
import dataclasses
import faulthandler
import os
import pathlib
import signal
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from ray import cloudpickle

from glimr_keras.errors import FatalError, ShippingError, user_traceback
from glimr_keras.executors.changed_state import Watch
from glimr_keras.training import gpus
from glimr_keras.training.context import TrialContext
from glimr_keras.training.discovery import Probe, probe
from glimr_keras.training.keras_session import prepare_worker
from glimr_keras.training.messages import Report, Reporter
from glimr_keras.transport.sayings import Repeater
from glimr_keras.transport.serialization import SerializedObject, unpack
from glimr_keras.transport.shared_arrays import SharedArray
from glimr_keras.transport.surroundings import Surroundings

PATIENCE = 0.02
"""The fraction of an epoch's duration for which a worker waits for the answer to its report."""


@dataclasses.dataclass(frozen=True)
class Beginning:
    """The data with which a search begins, and which it keeps when it moves to another executor.

    Attributes:
        surroundings: The environment of the script's process.
        packed: The packed context, in which each trial has `cpus` CPUs.
        cpus: The number of CPUs of each trial.
        repeater: The workers' warnings so far.
    """

    surroundings: Surroundings
    packed: SerializedObject
    cpus: float
    repeater: Repeater = dataclasses.field(default_factory=Repeater)


@dataclasses.dataclass(frozen=True)
class Parcel:
    """A context on its way to a worker, which prepares its process before it unpacks any user
    objects.

    Attributes:
        surroundings: The environment of the driver's process.
        content: The context, as returned by `serialization.pack`.
        part_of_gpu: The fraction of each GPU's memory for this process.
    """

    backend: str
    cpus: float
    surroundings: Surroundings
    content: bytes
    part_of_gpu: float = 1.0

    def prepare(self) -> None:
        """Set up the process and apply the script's environment."""
        prepare_worker(self.backend, self.cpus, self.part_of_gpu)
        self.surroundings.take_over()

    def unpack(self, arrays: Callable[[], Sequence[np.ndarray]]) -> TrialContext:
        """Return the context with its data: a fresh copy each time, except for large arrays.

        Args:
            arrays: Returns the large arrays, from memory that processes share.

        Raises:
            ShippingError: If it needs something that the worker does not have.
        """
        self.prepare()
        try:
            given = arrays()
            if self.backend == "tensorflow":
                given = [array.view(SharedArray) for array in given]
            context: TrialContext = unpack(self.content, given)
        except SystemExit as error:
            raise ShippingError(
                "What was sent to a worker cannot be loaded there: a module of the script ended "
                f"the process when it was imported.\n\n{user_traceback(error)}"
            ) from error
        except ShippingError:
            raise
        except Exception as error:
            raise ShippingError(
                f"What was sent to a worker cannot be loaded there: {type(error).__name__}: "
                f"{error}. {_advice(error)}"
            ) from error
        return context


def _advice(error: Exception) -> str:
    if isinstance(error, (ImportError, AttributeError)):
        return (
            "Is every module that the HyperModel, the callbacks and the data need installed on all "
            "machines, in the same version?"
        )
    return (
        "The HyperModel, the callbacks, the data, or a variable of the script that they use has an "
        "object that can be pickled but not unpickled. Make it inside `data(config)`, "
        "`build(config)` or `fit`, where it is used."
    )


def looked(
    unpacked: Callable[[], TrialContext], skipped: int, tell: Callable[[str], None]
) -> Probe | Exception:
    """Build the model once, and return the result in a form that can be sent, or the error.

    Args:
        unpacked: Returns the context of the search.
        skipped, tell: As for `training.discovery.probe`.
    """
    try:
        context = unpacked()
        found = probe(context, skipped, tell)
        missing = gpus.missing(context.session.backend) if context.gpus > 0 else None
        if missing is not None:
            found = dataclasses.replace(found, remarks=(missing, *found.remarks))
        if found.fatal is not None and not _survives(found.fatal):
            found = dataclasses.replace(found, fatal=FatalError(found.error))
    except Exception as error:
        return error if _survives(error) else ShippingError(f"{type(error).__name__}: {error}")
    return found


def hanging(limit: float) -> float:
    """Return the seconds after which a trial with a time limit counts as hung. Code that does not
    hang ends by itself after a batch.
    """
    return limit * 1.1 + 1


@contextlib.contextmanager
def ended_after(seconds: float | None) -> Iterator[None]:
    """End this process if the block hangs: by a system timer, or on Windows by a thread that does
    not need the Python interpreter.
    """
    if seconds is None:
        yield
    elif hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, hanging(seconds))
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    else:
        with pathlib.Path(os.devnull).open("w") as nowhere:
            faulthandler.dump_traceback_later(hanging(seconds), file=nowhere, exit=True)
            try:
                yield
            finally:
                faulthandler.cancel_dump_traceback_later()


def with_changes(reporter: Reporter, context: TrialContext) -> Reporter:
    """Return a reporter that adds to the last report the state that the trial changed."""
    watch = Watch(context)

    def report(said: Report) -> None:
        is_last = said.outcome is not None
        reporter(dataclasses.replace(said, changes=watch.changes()) if is_last else said)

    return report


def sendable(report: Report) -> Report:
    """Return the report, with the user's error only if it can be sent."""
    outcome = report.outcome
    if outcome is None or outcome.fatal is None or _survives(outcome.fatal):
        return report
    return dataclasses.replace(
        report, outcome=dataclasses.replace(outcome, fatal=FatalError(outcome.message))
    )


def _survives(error: Exception) -> bool:
    """Return whether a user's error can be sent to the driver; its attributes may prevent that."""
    try:
        cloudpickle.loads(cloudpickle.dumps(error))
    except Exception:
        return False
    return True
