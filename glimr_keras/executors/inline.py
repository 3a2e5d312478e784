"""The inline executor, which runs one execution at a time, so that breakpoints work. Runs in the
driver.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import functools
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from glimr_keras._utils import scratch
from glimr_keras.code.put_back import put_back
from glimr_keras.code.record import KeptState
from glimr_keras.executors.base import Begin, Executor
from glimr_keras.executors.coordinator import Coordinator
from glimr_keras.models.data import FitArguments
from glimr_keras.training import gpus
from glimr_keras.training.context import TrialContext
from glimr_keras.training.discovery import probe
from glimr_keras.training.keras_session import out_of_garbage_collection, prepare_process
from glimr_keras.training.messages import ExecutionSpec, Report
from glimr_keras.training.run_trial import run_trial
from glimr_keras.transport.serialization import copied

_Found = TypeVar("_Found")


class InlineExecutor(Executor):
    """Run trials in this process, in the order in which the oracle chooses them.

    All trials share the user's `HyperModel` instance; callbacks are copied for each trial. Keras'
    session is cleared and the random generators are seeded in the user's process.

    Args:
        kept: Script state that trials keep from one to the next; the probe before the first trial
            leaves it unchanged. Defaults to `()`.
    """

    sends = False

    def __init__(self, kept: Sequence[KeptState] = ()) -> None:
        self._kept = kept

    def execute(self, context: TrialContext, begin: Begin) -> None:
        """Build the model once, and run all executions of the coordinator that `begin` returns."""
        scratch.tidy()
        prepare_process(context.session.backend, context.cpus)
        count = gpus.count(context.session.backend)
        context = dataclasses.replace(context, gpus=min(count, 1))  # Keras uses the first one
        with out_of_garbage_collection():
            self._execute(context, begin)

    def _execute(self, context: TrialContext, begin: Begin) -> None:
        coordinator = begin(looked_at(context, self._kept, probe))
        while coordinator is not None and (spec := coordinator.next_spec()) is not None:
            coordinator.on_start(spec)
            own = _with_own_callbacks(context)
            with contextlib.suppress(_StoppedError):
                run_trial(
                    own, spec, functools.partial(_take_in, coordinator, spec, time.monotonic())
                )


def looked_at(
    context: TrialContext, kept: Sequence[KeptState], look: Callable[[TrialContext], _Found]
) -> _Found:
    """Return the result of a function that builds models, and restore the script's state
    afterwards.
    """
    with put_back(kept):
        return look(_with_own_hypermodel(context))


def _with_own_hypermodel(context: TrialContext) -> TrialContext:
    """Return the context with a copy of its hypermodel if it can be copied, so that the probe does
    not change the user's.
    """
    with contextlib.suppress(Exception):
        return dataclasses.replace(context, hypermodel=copied(context.hypermodel))
    return context


def _with_own_callbacks(context: TrialContext) -> TrialContext:
    """Return the context with copies of its callbacks."""
    given = context.arguments
    if given.kwargs.get("callbacks"):
        given = FitArguments(
            given.args, {**given.kwargs, "callbacks": copy.deepcopy(given.kwargs["callbacks"])}
        )
    return dataclasses.replace(context, arguments=given, callbacks=copy.deepcopy(context.callbacks))


class _StoppedError(SystemExit):
    """Raised to end a trial that is to be stopped."""


def _take_in(coordinator: Coordinator, spec: ExecutionSpec, started: float, report: Report) -> None:
    stops = coordinator.stops(spec, report)
    coordinator.on_report(spec, report)
    if stops:
        coordinator.on_stopped(spec, time.monotonic() - started)
    if stops or (coordinator.error is not None and report.outcome is None):
        raise _StoppedError
