"""The code that Ray Tune runs in a worker process: trials, and first the preparation of the
process. Runs in the worker.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
import pathlib
import queue
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any

import ray
from ray import tune
from ray.tune.result import RESULT_DUPLICATE
from ray.tune.trainable.function_trainable import FunctionTrainable

from glimr_keras._utils import scratch
from glimr_keras.executors.worker import (
    PATIENCE,
    Parcel,
    ended_after,
    looked,
    sendable,
    with_changes,
)
from glimr_keras.project.journal import Journal
from glimr_keras.project.training_states import put_state
from glimr_keras.training.context import TrialContext
from glimr_keras.training.keras_session import private_memory
from glimr_keras.training.messages import ExecutionSpec, Report
from glimr_keras.training.run_trial import run_trial
from glimr_keras.transport.sayings import Collector
from glimr_keras.trials.layout import project_directory, state_directory

TASK = "glimr_keras"
"""The key of the task in a Ray trial's configuration."""
REPORT = "glimr_keras"
"""The key of the worker's message in a Ray trial's result, beside Keras' metrics."""
SAYINGS = "glimr_keras_sayings"
"""The key of the process' warnings since the last result."""

_COLLECTOR = Collector()

_STANDING_BY_S = 0.05


@dataclasses.dataclass(frozen=True)
class WorkerPayload:
    """The data that a worker receives.

    Attributes:
        parcel: The packed context.
        arrays: References to its large arrays in Ray's shared memory.
        max_memory: The private memory of a worker, in bytes, above which it is replaced; `None` for
            no limit.
    """

    parcel: Parcel
    arrays: tuple[ray.ObjectRef, ...]
    max_memory: int | None

    def prepare(self) -> None:
        """Set up the process and apply the script's environment."""
        # A stopped trial needs a moment to unwind; Ray replaces workers, Keras and all, that take
        # longer than this
        os.environ.setdefault("TUNE_FUNCTION_THREAD_TIMEOUT_S", "10")
        self.parcel.prepare()

    def unpack(self) -> TrialContext:
        """Return the context with its data: a fresh copy each time, except for large arrays in
        shared memory.

        Raises:
            ShippingError: If it needs something that the worker does not have.
        """
        self.prepare()
        return self.parcel.unpack(lambda: ray.get(list(self.arrays)))


class Worker(FunctionTrainable):
    """A process that runs trials one after the other."""

    def setup(self, config: dict[str, Any], payload: WorkerPayload) -> None:
        scratch.tidy()
        _COLLECTOR.install()
        self._payload = payload
        self._thread = _Thread()
        super().setup(config)

    def _trainable_func(self, config: dict[str, Any]) -> None:
        self._thread.run(functools.partial(self._work, config))

    def _work(self, config: dict[str, Any]) -> None:
        task = config[TASK]
        if "spec" in task:
            reporter = _Reporter(self._count)
            with (
                _at_hand(ExecutionSpec(**task["spec"]), task["states"]) as here,
                _continued(here) as spec,
                ended_after(spec.time_limit),
            ):
                context = self._payload.unpack()
                run_trial(context, spec, with_changes(reporter, context), settle=reporter.finish)
            reporter.finish()
        else:
            _stand_by(self._payload, task["skipped"])
        tune.report({RESULT_DUPLICATE: True})  # by which Ray knows a function's end

    def _count(self, epoch: int) -> None:
        """Make the next report follow Ray's number `epoch`, even if the training did not begin
        here.
        """
        self._iteration = epoch - 1

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Prepare for another trial.

        Raises:
            RuntimeError: If this process takes no other trial, since the last one has not ended or
                too much memory is in use. Ray then ends it, and the trial, which has not begun,
                moves to another. (If this returned `False`, Ray would lose the trial silently.)
        """
        if not super().reset_config(new_config):
            raise RuntimeError("The last trial in this process was stopped and has not ended.")
        bound, used = self._payload.max_memory, private_memory()
        if bound is not None and used is not None and used > bound:
            raise RuntimeError(f"This process uses {used} bytes of memory, more than {bound}.")
        return True


@contextlib.contextmanager
def _at_hand(spec: ExecutionSpec, states: ray.ObjectRef | None) -> Iterator[ExecutionSpec]:
    """Yield the execution with directories that this machine has. If it does not see the project's
    directory, checkpoints are sent.
    """
    place = project_directory(spec.directory, spec.execution)
    if spec.project is None or Journal(place).is_of(spec.project):
        yield spec
        return
    here = scratch.make()
    try:
        sent = {} if states is None else ray.get(states)
        if "own" in sent:
            put_state(state_directory(here / "own"), sent["own"])
        if "given" in sent:
            put_state(here / "given", sent["given"])
        given = str(here / "given") if "given" in sent else None
        yield dataclasses.replace(spec, directory=str(here / "own"), state=given, is_carried=True)
    finally:
        shutil.rmtree(here, ignore_errors=True)


@contextlib.contextmanager
def _continued(spec: ExecutionSpec) -> Iterator[ExecutionSpec]:
    """Yield the execution, to resume from where it was paused or where a scheduler wants it to
    continue.

    The checkpoint is copied at once: its trial may train on, and Ray then removes earlier ones.
    """
    checkpoint = tune.get_checkpoint()
    if checkpoint is None:
        yield spec
        return
    copied = scratch.make()
    try:
        with checkpoint.as_directory() as directory:
            _copy(pathlib.Path(directory), copied)
        yield dataclasses.replace(spec, state=str(copied), resumes=False)
    finally:
        shutil.rmtree(copied, ignore_errors=True)


def _copy(place: pathlib.Path, to: pathlib.Path) -> None:
    """Copy a checkpoint; if it was removed, copy the next epoch's that still exists."""
    later = sorted(other for other in place.parent.glob("checkpoint_*") if other.name > place.name)
    for source in (place, *later):
        with contextlib.suppress(OSError, shutil.Error):
            shutil.copytree(source, to, dirs_exist_ok=True)
            return


class _Thread:
    """One thread for all trainings of a process. Ray makes a new one for each trial, in which Keras
    is a tenth slower.
    """

    def __init__(self) -> None:
        self._tasks: queue.SimpleQueue[tuple[Callable[[], None], Future[None]]] = (
            queue.SimpleQueue()
        )
        threading.Thread(target=self._loop, daemon=True).start()

    def run(self, task: Callable[[], None]) -> None:
        """Run a task to its end, and raise its exception."""
        done: Future[None] = Future()
        self._tasks.put((task, done))
        done.result()

    def _loop(self) -> None:
        while True:
            task, done = self._tasks.get()
            try:
                done.set_result(task())
            except BaseException as error:
                done.set_exception(error)
            del task, done


def _stand_by(payload: WorkerPayload, skipped: int | None) -> None:
    """Prepare the process, build the model once if requested, and wait for trials.

    Ray keeps no process without a trial, so this one reports repeatedly until it is stopped.

    Args:
        payload: The data of the search.
        skipped: For `probe`; `None` if the model is built elsewhere.
    """
    said: Any = None
    try:
        payload.prepare()
    except Exception as error:
        said = error
    if said is None and skipped is not None:
        said = looked(payload.unpack, skipped, lambda stage: tune.report({REPORT: stage}))
    while True:
        tune.report({REPORT: said, SAYINGS: _COLLECTOR.hand_out()})
        said = None
        time.sleep(_STANDING_BY_S)


class _Reporter:
    """Report to Ray Tune from a separate thread, so that training continues while the driver
    processes the report.

    Ray answers each report, and its answer may stop the trial. The worker waits for it during a
    small fraction of an epoch's duration. A trial with long epochs therefore stops at once. One
    with short epochs, where waiting would be costly, stops an epoch later.

    Args:
        count: Called with the number of an epoch before it is reported.
    """

    def __init__(self, count: Callable[[int], None]) -> None:
        self._count = count
        self._thread: threading.Thread | None = None
        self._last = time.monotonic()
        self._error: BaseException | None = None

    def __call__(self, report: Report) -> None:
        """Send a report.

        Raises:
            SystemExit: If Ray stopped the trial.
        """
        try:
            self.finish()
        except BaseException:
            _remove(report.state)
            raise
        self._thread = threading.Thread(target=self._send, args=(sendable(report),), daemon=True)
        self._thread.start()
        if report.state is not None:
            self._wait(None)  # it may be paused, and what it would train meanwhile be lost
        elif report.outcome is None:
            self._wait((time.monotonic() - self._last) * PATIENCE)
        self._last = time.monotonic()

    def finish(self) -> None:
        """Wait until the driver has processed the last report.

        Raises:
            SystemExit: If Ray stopped the trial, as it also does when it has received the outcome.
        """
        self._wait(None)

    def _send(self, report: Report) -> None:
        try:
            said = dataclasses.replace(report, state=None)
            checkpoint = (
                None if report.state is None else tune.Checkpoint.from_directory(report.state)
            )
            if report.epoch is not None:
                self._count(report.epoch)
            # "done" saves Ray another round trip to learn that the function has returned
            tune.report(
                {
                    **report.metrics,
                    REPORT: said,
                    SAYINGS: _COLLECTOR.hand_out(),
                    "done": report.outcome is not None,
                },
                checkpoint=checkpoint,
            )
        except BaseException as error:  # raised where training can be ended by it
            self._error = error
        finally:
            _remove(report.state)

    def _wait(self, seconds: float | None) -> None:
        if self._thread is not None:
            self._thread.join(seconds)
        if self._error is not None:
            raise self._error


def _remove(directory: str | None) -> None:
    if directory is not None:
        shutil.rmtree(directory, ignore_errors=True)
