"""The work of a forked worker, one task after the other, and its messages with the driver. Runs in
the worker.
"""

from __future__ import annotations

import contextlib
import dataclasses
import mmap
import os
import pickle
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
from ray import cloudpickle

from glimr_keras._utils import native_threads, scratch
from glimr_keras.executors.worker import (
    PATIENCE,
    Parcel,
    ended_after,
    looked,
    sendable,
    with_changes,
)
from glimr_keras.training.context import TrialContext
from glimr_keras.training.keras_session import compute_once
from glimr_keras.training.messages import ExecutionSpec, Report
from glimr_keras.training.run_trial import run_trial
from glimr_keras.transport.sayings import Collector, Saying

GO_ON, STOP = b"\0", b"\1"
"""The driver's answers to a report."""


@dataclasses.dataclass(frozen=True)
class Look:
    """Build the model once.

    Attributes:
        skipped: As for `training.discovery.probe`.
    """

    skipped: int


@dataclasses.dataclass(frozen=True)
class Train:
    """Train an execution."""

    spec: ExecutionSpec


@dataclasses.dataclass(frozen=True)
class Said:
    """A message of a worker.

    Attributes:
        what: `"ready"` when the backend has computed here, `"begun"` or `"over"` for a task; a
            `Report`, which is answered; or the result, stage or error of a probe.
        sayings: The warnings of the process since its last message.
    """

    what: Any
    sayings: tuple[Saying, ...] = ()


@dataclasses.dataclass(frozen=True)
class Stage:
    """The stage of a probe."""

    name: str


@dataclasses.dataclass(frozen=True)
class Broken:
    """Why a task could not begin in this process, which is then ended."""

    reason: str


def say(connection: Connection, what: Any, sayings: tuple[Saying, ...] = ()) -> None:
    """Send a message to the other side in one piece."""
    connection.send_bytes(cloudpickle.dumps(Said(what, sayings)))


def say_task(connection: Connection, task: Look | Train) -> None:
    """Tell a worker what to do."""
    connection.send_bytes(cloudpickle.dumps(task))


class ForkedWorker:
    """A worker that is forked when needed.

    Args:
        parcel: The packed context.
        arrays: Its large arrays.
    """

    def __init__(self, parcel: Parcel, arrays: Sequence[np.ndarray]) -> None:
        self._parcel, self._arrays = parcel, arrays
        self._collector = Collector()

    def ready(self) -> None:
        """Copy the large arrays into read-only memory that all workers share, aligned so that
        TensorFlow reads them without a copy.
        """
        self._arrays = [_shared(array) for array in self._arrays]

    def serve(self, connection: Connection) -> None:
        """Run the driver's tasks until it is gone."""
        threads = max(1, int(self._parcel.cpus))
        os.environ.setdefault("OMP_NUM_THREADS", str(threads))
        native_threads.limit(threads)
        scratch.tidy()
        self._collector.install()
        self._parcel.prepare()
        compute_once()
        say(connection, "ready", self._collector.hand_out())
        with contextlib.suppress(EOFError, ConnectionError):
            while True:
                task = pickle.loads(connection.recv_bytes())
                say(connection, "begun")
                if isinstance(task, Look):
                    found = looked(
                        self._unpack, task.skipped, lambda stage: say(connection, Stage(stage))
                    )
                    say(connection, found, self._collector.hand_out())
                else:
                    self._train(connection, task.spec)
                say(connection, "over", self._collector.hand_out())

    def _unpack(self) -> TrialContext:
        return self._parcel.unpack(lambda: self._arrays)

    def _train(self, connection: Connection, spec: ExecutionSpec) -> None:
        reporter = _Reporter(connection, self._collector)
        with contextlib.suppress(_StoppedError), ended_after(spec.time_limit):
            try:
                context = self._unpack()
            except Exception as error:
                say(connection, Broken(f"{type(error).__name__}: {error}"))
                raise
            run_trial(context, spec, with_changes(reporter, context), settle=reporter.finish)
            reporter.finish()


class _StoppedError(SystemExit):
    """Raised to end a trial that is to be stopped."""


class _Reporter:
    """Report to the driver, and continue training while it processes the report.

    The answer may stop the trial. The worker waits for it during a small fraction of an epoch's
    duration, and otherwise with the next report.
    """

    def __init__(self, connection: Connection, collector: Collector) -> None:
        self._connection, self._collector = connection, collector
        self._is_owed = False
        self._last = time.monotonic()

    def __call__(self, report: Report) -> None:
        """Send a report.

        Raises:
            SystemExit: If the trial is to stop.
        """
        self.finish()
        say(self._connection, sendable(report), self._collector.hand_out())
        self._is_owed = True
        if report.outcome is None and self._connection.poll(
            (time.monotonic() - self._last) * PATIENCE
        ):
            self.finish()
        self._last = time.monotonic()

    def finish(self) -> None:
        """Wait until the driver has processed the last report.

        Raises:
            SystemExit: If the trial is to stop.
        """
        if not self._is_owed:
            return
        self._is_owed = False
        if self._connection.recv_bytes() == STOP:
            raise _StoppedError


def _shared(array: np.ndarray) -> np.ndarray:
    """Return a copy that is read-only and begins at a page boundary."""
    memory = mmap.mmap(-1, max(array.nbytes, 1), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    copy = np.frombuffer(memory, array.dtype, array.size)
    is_fortran = array.flags.f_contiguous and not array.flags.c_contiguous
    copy = copy.reshape(array.shape, order="F" if is_fortran else "C")
    np.copyto(copy, array)
    copy.flags.writeable = False
    return copy
