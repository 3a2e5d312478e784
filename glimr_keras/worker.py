"""What one worker does: it runs trials, one after the other. Runs in the worker, or in the driver for inline trials.

A trial, top to bottom: configuration, data, build, fit; each epoch is reported and the best one saved. Nothing here knows
Ray: reports go to a function that the executor gives. A mistake in the user's code ends the trial, never the process.
"""

from __future__ import annotations

import contextlib
import dataclasses
import time
import zlib
from collections.abc import Callable

from glimr_keras import checkpoints
from glimr_keras.errors import CheckpointError, FailedTrialError, FatalError, StorageError, user_traceback
from glimr_keras.hypermodel import overrides
from glimr_keras.job import Job, configuration
from glimr_keras.objective import infer_direction
from glimr_keras.reporting import (
    BeginsAnewError,
    NotANumberError,
    Outcome,
    Reporter,
    TimeIsUpError,
    TrialCallback,
    Voice,
)
from glimr_keras.signatures import arguments_of
from glimr_keras.training import Training
from glimr_keras.trials import Run, TrialStatus, state_directory


def run_trial(job: Job, run: Run, report: Reporter, settle: Callable[[], None] = lambda: None) -> None:
    """Trains one configuration once and reports it. Errors of the user's code are reported, not raised.

    Args:
        job: What is built and trained.
        run: The configuration.
        report: Called after each epoch but the last, and once at the end with the last epoch and the outcome. Raises
            `SystemExit` if the trial is to stop.
        settle: For a `report` that does not wait for the answer: waits for it, and raises likewise.
    """
    started = time.monotonic()
    given, run = run, _from_its_state(job, run)
    voice = Voice(report, settle, job.space)
    score: float | None = None
    best_epoch: int | None = None
    message: str | None = None
    fatal: FatalError | StorageError | None = None
    expected = final = is_told = False
    left: dict[str, float] = {}
    returned: dict[str, float] = {}
    with job.session.fresh(_seed(run)):
        try:
            voice.config = configuration(job.space, run.values, run.sampling_key, run.fold, run.num_folds, job.hypermodel)
            objective = job.objective if run.directions is None else job.objective.directed(run.directions)
            voice.callback = TrialCallback(objective, run, voice, job.max_model_size)
            training = Training(job, run, voice.config, voice.callback)
            found = training.score()
            score, best_epoch, left, returned = found.value, found.epoch, found.left, found.returned
            is_told = training.is_told
            status = TrialStatus.COMPLETED
        except BeginsAnewError:
            status = _AGAIN
        except StorageError as error:
            status, fatal = TrialStatus.RUNNING, error
        except TimeIsUpError:
            status, score, best_epoch, message = _out_of_time(run, voice.callback)
            expected = final = True
        except Exception as error:
            status, message = TrialStatus.FAILED, user_traceback(error)
            fatal = error if isinstance(error, FatalError) else None
            expected = isinstance(error, (FailedTrialError, NotANumberError))
            final = isinstance(error, FailedTrialError)
        except SystemExit as error:
            if voice.is_stopped:
                raise
            status, message = TrialStatus.FAILED, user_traceback(error)
        finally:
            if voice.callback is not None:
                voice.callback.forget_fit()
        if status != _AGAIN:
            # Said before the session is cleared: an executor may take it in meanwhile
            duration = time.monotonic() - started
            directions = _directions(job, voice.callback, left | returned)
            outcome = Outcome(
                status,
                duration,
                score=score,
                best_epoch=best_epoch,
                message=message,
                fatal=fatal,
                expected=expected,
                final=final,
                directions=directions,
                returned=returned,
                is_told=is_told,
            )
            voice.end(left, outcome)
    if status == _AGAIN:
        run_trial(job, dataclasses.replace(given, resumes=False), report, settle)


_AGAIN = "AGAIN"
"""In the place of a status: the training is begun anew."""


def _directions(job: Job, callback: TrialCallback | None, metrics: dict[str, float]) -> dict[str, str | None]:
    """The directions of metrics that could not be known before the search: the user's own code names them."""
    is_own = job.tuner is not None or overrides(job.hypermodel, "fit") or overrides(job.hypermodel, "run")
    names = {**metrics, **({} if callback is None else callback.last_logs)} if is_own else {}
    return {name: infer_direction(name) for name in names}


def _seed(run: Run) -> int:
    key = (run.sampling_key, run.execution, *filter(None, (run.initial_epoch, run.attempt)))
    return zlib.crc32(repr(key).encode())


def _from_its_state(job: Job, run: Run) -> Run:
    """The run with the checkpoint from which its training goes on, or from its beginning where none is whole."""
    if run.resumes:
        fit = arguments_of(job.hypermodel.fit)
        own = None
        if not overrides(job.hypermodel, "run") and (fit is None or "initial_epoch" in fit):
            own = checkpoints.newest(state_directory(run.directory))
        with contextlib.suppress(StorageError, CheckpointError):
            if own is not None and checkpoints.describe(own).attempt == run.attempt:
                checkpoints.go_back(run.directory, own)
                return dataclasses.replace(run, state=str(own), initial_epoch=checkpoints.describe(own).epoch)
    state = None if run.state is None else checkpoints.newest(run.state)
    if state is None:
        return dataclasses.replace(run, state=None, initial_epoch=0, resumes=False)
    return dataclasses.replace(run, state=str(state), resumes=False)


def _out_of_time(run: Run, callback: TrialCallback | None) -> tuple[str, float | None, int | None, str | None]:
    """Status, score, its epoch and a message for a training that has taken as long as it may."""
    if callback is None or callback.best is None:
        return TrialStatus.FAILED, None, None, f"No epoch was over within `trial_time_limit_s={run.time_limit:g}`."
    return TrialStatus.STOPPED, callback.best, callback.best_epoch, None
