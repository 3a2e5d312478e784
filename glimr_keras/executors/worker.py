"""What a worker does, whoever makes its process: it gets ready, builds the model once, or trains an
execution. Runs in the worker.
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
"""The part of an epoch's time during which the answer to its report is waited for."""


@dataclasses.dataclass(frozen=True)
class Beginning:
    """What a search has begun with, and goes on with wherever that is.

    Attributes:
        surroundings: What the script had around it.
        packed: The context, in which each trial has this much of a machine.
        cpus: So much.
        repeater: What workers have warned of.
    """

    surroundings: Surroundings
    packed: SerializedObject
    cpus: float
    repeater: Repeater = dataclasses.field(default_factory=Repeater)


@dataclasses.dataclass(frozen=True)
class Parcel:
    """A context on its way to a worker, which prepares its process before it unpacks anything of
    the user's.

    Attributes:
        surroundings: What the driver has around it.
        content: The context, as `serialization.pack` gives it.
        part_of_gpu: Of each GPU's memory, for this process.
    """

    backend: str
    cpus: float
    surroundings: Surroundings
    content: bytes
    part_of_gpu: float = 1.0

    def prepare(self) -> None:
        """Set the process up, and give it what the script has around it."""
        prepare_worker(self.backend, self.cpus, self.part_of_gpu)
        self.surroundings.take_over()

    def unpack(self, arrays: Callable[[], Sequence[np.ndarray]]) -> TrialContext:
        """Return the context with its data: a fresh copy each time, but for its large arrays.

        Args:
            arrays: Returns these, from memory that processes share.

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
    """Build the model once, and return what was found in a form that can be sent, or why that could
    not be done.

    Args:
        unpacked: Returns what will be searched.
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
    """Return after how many seconds a trial hangs, whose time has a limit, since code that does not
    hang ends by itself after a batch.
    """
    return limit * 1.1 + 1


@contextlib.contextmanager
def ended_after(seconds: float | None) -> Iterator[None]:
    """Have this process ended if the block hangs: by the system, or on Windows by a thread that
    needs nothing of Python's.
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
    """Return a reporter that adds to the last report what the trial left changed."""
    watch = Watch(context)

    def report(said: Report) -> None:
        is_last = said.outcome is not None
        reporter(dataclasses.replace(said, changes=watch.changes()) if is_last else said)

    return report


def sendable(report: Report) -> Report:
    """Return the report, with the user's error in it only if it can be sent."""
    outcome = report.outcome
    if outcome is None or outcome.fatal is None or _survives(outcome.fatal):
        return report
    return dataclasses.replace(
        report, outcome=dataclasses.replace(outcome, fatal=FatalError(outcome.message))
    )


def _survives(error: Exception) -> bool:
    """Whether an error of the user's can be sent to the driver, which attributes of its own may
    prevent.
    """
    try:
        cloudpickle.loads(cloudpickle.dumps(error))
    except Exception:
        return False
    return True
