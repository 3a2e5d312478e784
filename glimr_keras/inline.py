"""The inline executor: trials run in the driver's own process, one at a time. For breakpoints."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import functools
import time

from glimr_keras.coordinator import Begin, Coordinator
from glimr_keras.data import FitArguments
from glimr_keras.discovery import probe
from glimr_keras.job import Job
from glimr_keras.reporting import Report
from glimr_keras.session import out_of_garbage_collection, prepare_process
from glimr_keras.shipping import copied
from glimr_keras.trials import Run
from glimr_keras.worker import run_trial


class InlineExecutor:
    """Runs trials in this process, in the order in which the oracle chooses them.

    All trials share the user's one `HyperModel`; callbacks are copied for each. Keras' session is cleared and the random
    generators are seeded here, in the user's process.
    """

    def execute(self, job: Job, begin: Begin) -> None:
        """Builds the model once, and runs until the coordinator that `begin` then makes has nothing left to start."""
        prepare_process(job.session.backend, job.cpus)
        with out_of_garbage_collection():
            self._execute(job, begin)

    def _execute(self, job: Job, begin: Begin) -> None:
        coordinator = begin(probe(_with_own_hypermodel(job)))
        while coordinator is not None and (run := coordinator.next_run()) is not None:
            coordinator.on_start(run)
            own = _with_own_callbacks(job)
            with contextlib.suppress(_StoppedError):
                run_trial(own, run, functools.partial(_take_in, coordinator, run, time.monotonic()))


def _with_own_hypermodel(job: Job) -> Job:
    """The job with a copy of its hypermodel, where it can be copied, so that looking at it does not change the user's own."""
    with contextlib.suppress(Exception):
        return dataclasses.replace(job, hypermodel=copied(job.hypermodel))
    return job


def _with_own_callbacks(job: Job) -> Job:
    """The job with copies of its callbacks."""
    given = job.arguments
    if given.kwargs.get("callbacks"):
        given = FitArguments(given.args, {**given.kwargs, "callbacks": copy.deepcopy(given.kwargs["callbacks"])})
    return dataclasses.replace(job, arguments=given, callbacks=copy.deepcopy(job.callbacks))


class _StoppedError(SystemExit):
    """Ends a trial that is to be stopped."""


def _take_in(coordinator: Coordinator, run: Run, started: float, report: Report) -> None:
    stops = coordinator.stops(run, report)
    coordinator.on_report(run, report)
    if stops:
        coordinator.on_stopped(run, time.monotonic() - started)
    if stops or (coordinator.error is not None and report.outcome is None):
        raise _StoppedError
