"""Runs one execution and handles its errors. Runs in the worker, or in the driver for inline
trials.

The steps are: configuration, data, build, fit. Each epoch is reported, and the best one is saved.
Nothing here knows Ray: reports go to a function that the executor provides. A mistake in the user's
code ends the trial, never the process.
"""

from __future__ import annotations

import contextlib
import dataclasses
import time
import zlib
from collections.abc import Callable

from glimr_keras.errors import (
    CheckpointError,
    FailedTrialError,
    FatalError,
    StorageError,
    user_traceback,
)
from glimr_keras.models.configuration import configuration
from glimr_keras.project import checkpoints, training_states
from glimr_keras.training import gpus
from glimr_keras.training.context import TrialContext
from glimr_keras.training.execution import ExecutionRunner
from glimr_keras.training.messages import ExecutionSpec, Outcome, Reporter
from glimr_keras.training.out_of_memory import advice, is_out_of_memory
from glimr_keras.training.trial_callback import (
    BeginsAnewError,
    NotANumberError,
    ReportSender,
    TimeIsUpError,
    TrialCallback,
)
from glimr_keras.trials.execution import TrialStatus
from glimr_keras.trials.layout import state_directory
from glimr_keras.trials.metric_directions import infer_direction
from glimr_keras.trials.objective import Objective


def run_trial(
    context: TrialContext,
    spec: ExecutionSpec,
    report: Reporter,
    settle: Callable[[], None] = lambda: None,
) -> None:
    """Train one configuration once and report it. Errors of the user's code are reported, not
    raised.

    Args:
        context: The context of the search.
        spec: The execution.
        report: Called after each epoch but the last, and once at the end with the last epoch and
            the outcome. Raises `SystemExit` if the trial must stop.
        settle: Waits for the answer to the reports, if `report` does not, and raises `SystemExit`
            in the same case. Defaults to `lambda: None`, which does nothing.
    """
    started, before = time.monotonic(), _peak(context)
    given, spec = spec, _from_its_state(context, spec)
    sender = ReportSender(report, settle, context.space)
    runner: ExecutionRunner | None = None
    status: str = TrialStatus.RUNNING  # if it is interrupted
    score: float | None = None
    best_epoch: int | None = None
    message: str | None = None
    fatal: FatalError | StorageError | None = None
    expected = final = is_told = lacks_memory = False
    left: dict[str, float] = {}
    returned: dict[str, float] = {}
    with context.session.fresh(_seed(spec)):
        try:
            sender.config = configuration(
                context.space,
                spec.values,
                spec.sampling_key,
                spec.fold,
                spec.num_folds,
                context.hypermodel,
            )
            objective = _objective(context, spec)
            sender.callback = TrialCallback(objective, spec, sender, context.max_model_size)
            runner = ExecutionRunner(context, spec, sender.config, sender.callback)
            found = runner.score()
            sender.config.check_assigned()
            score, best_epoch, is_told = found.value, found.epoch, found.is_told
            left, returned = found.left, found.returned
            status, message = TrialStatus.COMPLETED, sender.callback.remark()
        except BeginsAnewError:
            status = _AGAIN
        except StorageError as error:
            status, fatal = TrialStatus.RUNNING, error
        except TimeIsUpError:
            status, score, best_epoch, message = _out_of_time(spec, sender.callback)
            expected = final = True
        except Exception as error:
            status, (message, lacks_memory) = TrialStatus.FAILED, _described(context, error, sender)
            fatal = error if isinstance(error, FatalError) else None
            expected = isinstance(error, (FailedTrialError, NotANumberError))
            final = isinstance(error, FailedTrialError)
        except SystemExit as error:
            if sender.is_stopped:
                raise
            status, message = TrialStatus.FAILED, user_traceback(error)
        finally:
            if runner is not None:
                runner.over(TrialStatus.RUNNING if status == _AGAIN else status)
        if status != _AGAIN:
            # Sent before the session is cleared, so that an executor can process it meanwhile
            outcome = Outcome(
                status,
                time.monotonic() - started,
                score=score,
                best_epoch=best_epoch,
                message=message,
                fatal=fatal,
                expected=expected,
                final=final,
                directions=_directions(context, sender.callback, left | returned),
                returned=returned,
                is_told=is_told,
                lacks_memory=lacks_memory,
                reused_graph=runner is not None and runner.reused_graph,
                **_of_gpu(context, before),
            )
            sender.end(left, outcome)
    if status == _AGAIN:
        run_trial(context, dataclasses.replace(given, resumes=False), report, settle)


_AGAIN = "AGAIN"
"""Stands for a status: the training must restart."""


def _peak(context: TrialContext) -> int | None:
    """Return this process' peak GPU memory so far, and reset the count if the backend can."""
    if context.gpus == 0:
        return None
    with contextlib.suppress(Exception):  # a device that does not report it
        peak = gpus.peak(context.session.backend)
        gpus.forget_peak(context.session.backend)
        return peak
    return None


def _of_gpu(context: TrialContext, before: int | None) -> dict[str, int | None]:
    """Return the outcome's fields on the GPU's memory.

    Args:
        context: The context of the search.
        before: The process' peak before the training, in bytes. JAX cannot reset its count, so a
            training that took less is unknown there.
    """
    peak = _peak(context)
    if peak is None:
        return {}
    is_known = context.session.backend != "jax" or peak != before
    return {
        "gpu_memory": peak if is_known else None,
        "gpu_peak": peak,
        "gpu_size": gpus.total(),
    }


def _described(context: TrialContext, error: Exception, sender: ReportSender) -> tuple[str, bool]:
    """Return the user's traceback, and whether memory was short, in which case advice is added."""
    message = user_traceback(error)
    if not is_out_of_memory(error):
        return message, False
    model = None if sender.callback is None else sender.callback.model
    return message + advice(model, sender.config.asked, context.gpus), True


def _directions(
    context: TrialContext, callback: TrialCallback | None, metrics: dict[str, float]
) -> dict[str, str | None]:
    """Return the directions of metrics that only the user's code names, and that so were unknown
    before the search.
    """
    if not context.loop.names_metrics:
        return {}
    logged = {} if callback is None else callback.last_logs
    return {name: infer_direction(name) for name in {**metrics, **logged}}


def _objective(context: TrialContext, spec: ExecutionSpec) -> Objective:
    """Return the objective, with the directions that the driver knows."""
    wanted = context.objective
    return wanted if spec.directions is None else wanted.resolved(spec.directions)


def _seed(spec: ExecutionSpec) -> int:
    key = (spec.sampling_key, spec.execution, *filter(None, (spec.initial_epoch, spec.attempt)))
    return zlib.crc32(repr(key).encode())


def _from_its_state(context: TrialContext, spec: ExecutionSpec) -> ExecutionSpec:
    """Return the execution with the checkpoint that it resumes from, or from its start if no
    checkpoint is complete.
    """
    if spec.resumes and context.loop.can_go_on(context.hypermodel):
        own = training_states.newest(state_directory(spec.directory))
        with contextlib.suppress(StorageError, CheckpointError):
            if own is not None and _is_of(spec, described := checkpoints.describe(own)):
                training_states.go_back(spec.directory, own)
                return dataclasses.replace(spec, state=str(own), initial_epoch=described.epoch)
    state = None if spec.state is None else training_states.newest(spec.state)
    if state is None:
        return dataclasses.replace(spec, state=None, initial_epoch=0, resumes=False)
    return dataclasses.replace(spec, state=str(state), resumes=False)


def _is_of(spec: ExecutionSpec, state: checkpoints.Checkpoint) -> bool:
    """Return whether an execution may resume from a state: one of this attempt, and not ahead of
    the journal.
    """
    is_ahead = spec.last_epoch is not None and state.epoch > spec.last_epoch + 1
    return state.attempt == spec.attempt and not is_ahead


def _out_of_time(
    spec: ExecutionSpec, callback: TrialCallback | None
) -> tuple[str, float | None, int | None, str | None]:
    """Return status, score, best epoch and a message for a training that exceeded its time
    limit.
    """
    if callback is None or callback.best is None:
        return (
            TrialStatus.FAILED,
            None,
            None,
            f"No epoch was over within `trial_time_limit_s={spec.time_limit:g}`.",
        )
    return TrialStatus.STOPPED, callback.best, callback.best_epoch, None
