"""The callback of an execution: what it reports and saves at the end of an epoch. Runs in the
worker.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import math
import pathlib
import shutil
import time
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np

from glimr_keras._utils import scratch
from glimr_keras.errors import FailedTrialError, ObjectiveError, did_you_mean
from glimr_keras.project import checkpoints, model_weights, training_states
from glimr_keras.space.declared_space import DeclaredSpace
from glimr_keras.space.hyperparameters import HyperParameters
from glimr_keras.space.reserved_names import Stage
from glimr_keras.training.kept_predictions import PredictionKeeper
from glimr_keras.training.messages import ExecutionSpec, Outcome, Report, Reporter
from glimr_keras.training.tune_callback import PendingEpoch, TuneReportCheckpoint, scalars
from glimr_keras.trials.layout import state_directory
from glimr_keras.trials.objective import Objective


class NotANumberError(ValueError):
    """The objective became nan, or infinitely good."""


class TimeIsUpError(BaseException):
    """The training has reached its time limit. It is not an `Exception`, so that the user's code
    does not catch it and continue.
    """


def own_values(config: HyperParameters) -> dict[str, Any]:
    """Return the values that the configuration was asked for, without those that only say which
    part of a training it is.
    """
    return {name: value for name, value in config.asked.items() if name not in Stage.NAMES}


class ReportSender:
    """Send the reports of one trial, with the values that its configuration was asked for."""

    def __init__(self, report: Reporter, settle: Callable[[], None], space: DeclaredSpace) -> None:
        self._report, self._settle = report, settle
        self._known = {parameter.key for parameter in space.parameters}
        self.config = HyperParameters()
        self.callback: TrialCallback | None = None
        self.is_stopped = False  # set from inside a report, by the executor
        self._sent: dict[str, Callable[[], dict[str, bytes]]] = {}

    def send(self, name: str, packed: Callable[[], dict[str, bytes]]) -> None:
        """Send files with the next report, for a driver that does not see this machine's files.

        Args:
            name: `"best"`, `"latest"` or `"predictions"`, as in `Report.files`.
            packed: Called at the report; returns the files' contents by name, or nothing.
        """
        self._sent[name] = packed

    def say(
        self,
        epoch: int | None,
        metrics: dict[str, float],
        outcome: Outcome | None = None,
        state: str | None = None,
    ) -> None:
        news = [parameter for parameter in self.config.space if parameter.key not in self._known]
        self._known.update(parameter.key for parameter in news)
        with self._listening():
            files = {name: packed() for name, packed in self._sent.items()}
            files = {name: content for name, content in files.items() if content}
            self._sent.clear()
            self._report(Report(epoch, metrics, self.config.asked, news, outcome, state, files))

    def settle(self) -> None:
        """Wait until the executor has processed all reports."""
        with self._listening():
            self._settle()

    @contextlib.contextmanager
    def _listening(self) -> Iterator[None]:
        try:
            yield
        except SystemExit:
            self.is_stopped = True
            raise

    def end(self, metrics: dict[str, float], outcome: Outcome) -> None:
        """Send the outcome together with the last epoch, and `metrics` of the model in its final
        state.
        """
        epoch, last = (None, {}) if self.callback is None else self.callback.take_held()
        if metrics and epoch is None:
            epoch = 1
        self.say(epoch, last | metrics, outcome)


class BeginsAnewError(BaseException):
    """The training cannot continue from its state and must restart. It is not an `Exception`, so
    that the user's code does not catch it.
    """


class BatchCallback(keras.callbacks.Callback):
    """Check the limits of a training after each batch. It is used only if there are limits, since
    Keras waits for each batch if a callback handles batches.
    """

    def __init__(self, callback: TrialCallback) -> None:
        super().__init__()
        self._callback = callback

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        self._callback.check_time()
        if batch == 0:  # a model may not be built before its first batch
            self._callback.check_size(self.model)

    def on_test_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        self._callback.check_time()


class TrialCallback(TuneReportCheckpoint):
    """Report through the executor, and save the best epoch's weights in the project.

    An epoch is reported when the next one begins, so that the last one is sent together with the
    outcome. A scheduler then sees exactly one report per epoch.

    Attributes:
        late: Values, by path, of a restored state's variables that the model only gets when it
            begins to train.
        predictions: Keeps the model's predictions; `None` if they are not kept.
    """

    waits_for_next_epoch = True

    def __init__(
        self,
        objective: Objective,
        spec: ExecutionSpec,
        sender: ReportSender,
        max_model_size: int | None = None,
    ) -> None:
        super().__init__(
            checkpoint="best", monitor=objective.name, mode=objective.direction or "auto"
        )
        self.objective = objective
        if all(part.direction is not None for part in objective.parts):
            self._objective = objective
        self.inputs: Any = None
        self.best_epoch: int | None = None
        self.last_epoch: int | None = None
        self.last_logs: dict[str, float] = {}
        self.has_diverged = False
        self.late: dict[str, Any] = {}
        self.predictions: PredictionKeeper | None = None
        self._void_epochs: list[int] = []  # epochs whose objective was not a number
        self._offset = 0
        self._directory, self._sender = pathlib.Path(spec.directory), sender
        self._reports_state, self._is_carried = spec.reports_state, spec.is_carried
        self._attempt = spec.attempt
        self._state: str | None = None
        self._state_interval, self._max_model_size = spec.state_interval, max_model_size
        self._state_saved = time.monotonic()
        self._goes_on_at: int | None = (
            None  # the epoch, counted from 0, at which an interrupted training resumes
        )
        self._fits = 0
        self._values, self._fit = self._no_values(), _Fit(self._no_values())
        self._histories: list[Any] = []  # of the `fit` calls that had this callback
        self._deadline = None if spec.time_limit is None else time.monotonic() + spec.time_limit
        if (
            (spec.reports_state or spec.resumes)
            and spec.state is not None
            and checkpoints.exists(self._directory)
        ):
            earlier = checkpoints.describe(
                self._directory
            )  # the checkpoint saved before it was paused or interrupted
            self.best, self.best_epoch = earlier.score, earlier.epoch

    @property
    def is_stopped(self) -> bool:
        """Return whether the executor has stopped the training, from inside a report."""
        return self._sender.is_stopped

    def go_on_from(self, state: checkpoints.Checkpoint) -> None:
        """Resume an interrupted training. Its last epoch is reported again, since that report may
        have been lost.
        """
        self.last_epoch, self.last_logs, self._goes_on_at = (
            state.epoch,
            state.metrics or {},
            state.epoch,
        )
        if state.metrics is not None:
            self._held = PendingEpoch(state.epoch, self.last_logs, due=True, checkpoint=None)
        if checkpoints.exists(self._directory):
            self._send_best()

    def check_size(self, model: Any) -> None:
        """Check that a model is not larger than `max_model_size`.

        Raises:
            FailedTrialError: If it is larger.
        """
        if self._max_model_size is not None and model.count_params() > self._max_model_size:
            raise FailedTrialError(
                f"Oversized model: {model.count_params()} parameters, more than "
                f"`max_model_size={self._max_model_size}`. Skip model."
            )

    def check_time(self) -> None:
        """Check that the training is within its time limit.

        Raises:
            TimeIsUpError: If it has exceeded the limit.
        """
        if self._deadline is not None and time.monotonic() > self._deadline:
            raise TimeIsUpError

    def improves(self, logs: Any) -> bool:
        if not self.objective.has_value(logs):
            return False  # as with `validation_freq`; it is an error at the end if it never came
        if self._is_void(logs):
            return False
        improves = super().improves(logs)
        self._keep_of_fit(self.objective.get_value(logs), improves)
        return improves

    def check(self, logs: Any) -> None:
        """Check that the metrics contain the objective and that its value is usable.

        Raises:
            ObjectiveError: If the objective is missing.
            NotANumberError: If its value is nan, or infinitely good.
        """
        missing = self.objective.missing(logs)
        if missing is not None:
            raise ObjectiveError(
                f"The objective {missing!r} is not among the metrics.{did_you_mean(missing, logs)} "
                f"Received: {sorted(logs)}"
            )
        value = self.objective.get_value(logs)
        if self.objective.is_void(value):
            raise NotANumberError(self._void_reason(value))

    def _void_reason(self, value: float) -> str:
        why = "the training diverged" if math.isnan(value) else "an overflow, and not a good model"
        return f"The objective {self.objective.name!r} is {value}: {why}."

    def _is_void(self, logs: dict[str, float]) -> bool:
        """Return whether an epoch does not count because its objective is not a number.

        A training whose loss and weights are not numbers either has diverged, and is ended. With
        finite weights it may recover.

        Raises:
            NotANumberError: If it has diverged, and no earlier epoch was good.
        """
        value = self.objective.get_value(logs)
        if not self.objective.is_void(value):
            return False
        diverges = not math.isfinite(logs.get("loss", 0.0)) and _has_lost_weights(self.model)
        if diverges and self.best is None:
            raise NotANumberError(self._void_reason(value))
        self._void_epochs.append(self.last_epoch or 1)
        if diverges:
            self.has_diverged = True
            self.model.stop_training = True  # so that the user's callbacks finish too
        return True

    def remark(self) -> str | None:
        """Return a remark on a training with void epochs; `None` if all epochs were good, or none
        was.
        """
        if not self._void_epochs or self.best_epoch is None:
            return None
        epochs = ", ".join(map(str, self._void_epochs[:3]))
        epochs += ", …" if len(self._void_epochs) > 3 else ""
        where = f"epoch{'s' if len(self._void_epochs) > 1 else ''} {epochs}"
        ended = ": the training diverged, and was ended" if self.has_diverged else ""
        return (
            f"The objective {self.objective.name!r} was no number in {where}{ended}. The score and "
            f"the weights are those of the best epoch, {self.best_epoch}."
        )

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self._fits += 1
        if self._fits > 1 and self._goes_on_at is not None:
            raise BeginsAnewError  # a state does not record which `fit` call it belongs to
        self.forget_fit()
        if self.predictions is not None:
            self.predictions.begins(self.model)
        self.has_diverged = False  # a user-defined `fit` may train again, more carefully
        if self.late:
            model_weights.load_late(self.model, self.late)
        self._fit = _Fit(self._no_values())
        self._histories.append(getattr(self.model, "history", None))

    def on_test_begin(self, logs: dict[str, Any] | None = None) -> None:
        if self.predictions is not None:
            self.predictions.predict()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if self._goes_on_at is not None and epoch < self._goes_on_at:
            raise BeginsAnewError  # the user's `fit` ignores `initial_epoch`
        if self.last_epoch is not None and self._offset + epoch < self.last_epoch:
            self._offset = self.last_epoch - epoch  # a second `fit` counts its epochs from 0 again
        self.last_epoch, self.last_logs = self._offset + epoch + 1, scalars(logs or {})
        for values in (self._values, self._fit.values):
            for name in values.keys() & self.last_logs:
                values[name].append(self.last_logs[name])
        if self.predictions is not None:
            self.predictions.keep(self.last_epoch)
            if self._is_carried:
                self._sender.send("predictions", self.predictions.packed)
        super().on_epoch_end(self._offset + epoch, logs)
        if self._reports_state:
            self._state = str(scratch.make())
            model_weights.save(self.model, self._state, self._described())
        if self._is_state_due() and not self.has_diverged:
            self.save_state()
            self._state_saved = time.monotonic()
        if not self._is_last_epoch():
            self.check_time()

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Leave the last epoch to `run_trial`, which sends it with the outcome."""

    def save(self, epoch: int) -> pathlib.Path:
        if not (self.model.built or self.model.weights):  # not trained at all
            self.best_epoch = epoch
            return self._directory
        # if the trial is stopped before this epoch, the earlier checkpoint is kept
        self._sender.settle()
        self.best_epoch = epoch
        self._save(self._directory, epoch, self.best)
        self._send_best()
        return self._directory

    def _save(self, directory: pathlib.Path, epoch: int, score: float | None) -> None:
        described = checkpoints.Checkpoint(
            epoch, self.inputs, values=own_values(self._sender.config), score=score
        )
        model_weights.save(self.model, directory, described)

    def _send_best(self) -> None:
        if self._is_carried:
            self._sender.send("best", functools.partial(checkpoints.packed, self._directory))

    def save_state(self) -> None:
        """Save the state to resume from, once all epochs before it are recorded."""
        self._sender.settle()
        states = state_directory(self._directory)
        if self.has_diverged:  # its weights are nan, and no training can resume from them
            training_states.save_best(states, self._directory)
        else:
            model_weights.save_state(self.model, states, self._described(), self._directory)
        newest = training_states.newest(states) if self._is_carried else None
        if newest is not None:
            self._sender.send("latest", functools.partial(checkpoints.packed, newest))

    def _described(self) -> checkpoints.Checkpoint:
        return checkpoints.Checkpoint(
            self.last_epoch or 1,
            self.inputs,
            has_optimizer=True,
            values=own_values(self._sender.config),
            metrics=self.last_logs,
            attempt=self._attempt,
        )

    def _is_state_due(self) -> bool:
        if (
            self._state_interval is None
            or time.monotonic() - self._state_saved < self._state_interval
        ):
            return False
        return self._offset == 0 and not self._is_last_epoch()  # the outcome follows the last epoch

    def _is_last_epoch(self) -> bool:
        return self.last_epoch == (self.params or {}).get("epochs")

    def deliver(
        self, epoch: int, metrics: dict[str, float], directory: pathlib.Path | None
    ) -> None:
        state, self._state = self._state, None
        self._sender.say(epoch, metrics, state=state)

    def hold(self, epoch: int, metrics: dict[str, float]) -> None:
        """Hold an epoch of a user-defined loop, counted from 1. It is reported at the next epoch,
        or at the end.
        """
        self.flush()
        self.last_epoch, self.last_logs = epoch, metrics
        self._held = PendingEpoch(epoch, metrics, due=True, checkpoint=None)

    def take_held(self) -> tuple[int | None, dict[str, float]]:
        """Return the finished epoch that is not reported yet, with its metrics, and stop holding
        it.
        """
        if self._state is not None:
            shutil.rmtree(self._state, ignore_errors=True)
        held, self._held = self._held, None
        return (None, {}) if held is None else (held.epoch, held.logs)

    # Compare what `fit` returned with what the callback saw

    def seen(self, history: keras.callbacks.History | None) -> tuple[float, int | None] | None:
        """Return the score and its epoch as this callback saw them; `None` if `fit` returned
        something else.

        Args:
            history: The history of all calls of Keras' `fit`, or of the last one, whose best
                weights are then kept. `None` stands for all calls.

        Raises:
            BeginsAnewError: If it says something else, and covers only a part of the training.
        """
        if self.best is None:
            return None
        said = (
            {name: _numbers(history.history.get(name, ())) for name in self._values}
            if history
            else self._values
        )
        is_last_fit = _are_same(said, self._fit.values)
        if _are_same(said, self._values) or (is_last_fit and self._fit.best is None):
            return self.best, self.best_epoch
        if self._goes_on_at is not None:
            raise BeginsAnewError
        if not is_last_fit or self._fit.best is None:
            return None
        if self._fit.weights is not None:
            self._sender.settle()
            training_states.go_back(self._directory, self._fit.weights)
            self._send_best()
        self.best, self.best_epoch = self._fit.best, self._fit.best_epoch
        return self.best, self.best_epoch

    def is_unseen(self, history: keras.callbacks.History) -> bool:
        """Return whether a history is of a `fit` of the model that did not have this callback."""
        is_of_model = self.model is not None and getattr(history, "model", None) is self.model
        return is_of_model and all(history is not seen for seen in self._histories)

    def _no_values(self) -> dict[str, list[float]]:
        return {part.name: [] for part in self.objective.parts}

    def _keep_of_fit(self, score: float, is_best: bool) -> None:
        """Keep the weights of the best epoch of this `fit` call, if an earlier call had a better
        one.
        """
        fit = self._fit
        if self._objective is None or not (is_best or self._objective.better_than(score, fit.best)):
            return
        fit.best, fit.best_epoch = score, self.last_epoch
        if is_best:
            self.forget_fit()
        elif self._fits > 1:
            fit.weights = fit.weights or scratch.make()
            self._save(fit.weights / checkpoints.BEST, self.last_epoch or 1, score)

    def forget_fit(self) -> None:
        """Remove the weights that only the current `fit` call needs."""
        if self._fit.weights is not None:
            shutil.rmtree(self._fit.weights, ignore_errors=True)
            self._fit.weights = None


@dataclasses.dataclass
class _Fit:
    """The epochs that the callback saw of one call of Keras' `fit`.

    Attributes:
        values: The values of the objective, or of its parts, by name: one for each epoch that had
            one.
        best: The best value of the objective.
        best_epoch: The epoch of the best value.
        weights: Directory with the weights of that epoch, if an earlier call had better ones.
    """

    values: dict[str, list[float]]
    best: float | None = None
    best_epoch: int | None = None
    weights: pathlib.Path | None = None


def _has_lost_weights(model: Any) -> bool:
    """Return whether a weight of a model is not finite."""
    return any(
        keras.backend.is_float_dtype(weight.dtype)
        and not bool(keras.ops.all(keras.ops.isfinite(weight)))
        for weight in getattr(model, "weights", ())
    )


def _are_same(said: dict[str, list[float]], seen: dict[str, list[float]]) -> bool:
    """Return whether values are equal, where nan equals nan."""
    return repr(said) == repr(seen)


def _numbers(values: Any) -> list[float]:
    return [float(value) for value in values if np.size(value) == 1 and value is not None]
