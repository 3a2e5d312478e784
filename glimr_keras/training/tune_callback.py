"""`TuneReportCheckpoint`: a Keras callback that reports to Ray Tune and saves checkpoints. Runs in
the worker.
"""

from __future__ import annotations

import dataclasses
import pathlib
import shutil
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import keras
import numpy as np

from glimr_keras._utils import scratch
from glimr_keras._utils.late_imports import WhenUsed
from glimr_keras.errors import ObjectiveError, did_you_mean
from glimr_keras.project import checkpoints, model_weights
from glimr_keras.trials.metric_directions import log_directions
from glimr_keras.trials.objective import Objective

if TYPE_CHECKING:
    from ray import tune
else:
    tune = WhenUsed("ray.tune")


@dataclasses.dataclass
class PendingEpoch:
    """A finished epoch that has not been reported yet."""

    epoch: int
    logs: dict[str, float]
    due: bool
    checkpoint: pathlib.Path | None


class TuneReportCheckpoint(keras.callbacks.Callback):
    """Report Keras' logs to Ray Tune and save checkpoints, from plain `model.fit` in a Ray Tune
    function.

    A checkpoint holds the weights and the optimizer's state; `TuneReportCheckpoint.restore(model)`
    resumes from it. Ray attaches checkpoints to reports, so an epoch with a checkpoint is always
    reported.

    Args:
        metrics: The metrics to report: a name or a list of names in the logs, or a dict
            `{reported name: name in the logs}`. Defaults to `None`, which reports all of Keras'
            logs.
        report: When to report: an int n above 0 reports after every n-th epoch, `"end"` after the
            last epoch only. Defaults to `1`.
        checkpoint: When to save. `"best"` saves after every epoch in which `monitor` improves, an
            int n above 0 after every n-th epoch, and `"end"` after the last epoch. `None` never
            saves. To resume where a training was interrupted, checkpoint every n epochs. With
            `"best"`, it resumes after the best epoch and compares scores from scratch. Defaults to
            `"best"`.
        monitor: For `checkpoint="best"`, the name of a metric in the logs. Defaults to `None`,
            which means `"val_loss"` if it is logged, else `"loss"`.
        mode: `"min"`, `"max"`, or `"auto"` to take the direction from the metric itself. Defaults
            to `"auto"`.

    Raises:
        ValueError: If `metrics`, `report`, `checkpoint` or `mode` is not one of the values above.

    Example:
        def train(config):
            model = build(config)
            start = TuneReportCheckpoint.restore(model)  # 0 the first time
            callbacks = [TuneReportCheckpoint(checkpoint=1)]
            model.fit(x, y, epochs=10, initial_epoch=start, callbacks=callbacks)

        ray.tune.Tuner(train, param_space={…}).fit()
    """

    def __init__(
        self,
        metrics: str | list[str] | Mapping[str, str] | None = None,
        report: int | Literal["end"] = 1,
        checkpoint: int | Literal["best", "end"] | None = "best",
        monitor: str | None = None,
        mode: str = "auto",
    ) -> None:
        super().__init__()
        self.metrics = _as_mapping(metrics)
        self.report = _check_moment("report", report, ("end",))
        self.checkpoint = (
            checkpoint
            if checkpoint is None
            else _check_moment("checkpoint", checkpoint, ("best", "end"))
        )
        if mode not in ("auto", "min", "max"):
            raise ValueError(f"`mode` must be 'auto', 'min' or 'max'. Received: mode={mode!r}")
        self.monitor, self.mode = monitor, mode
        self.best: float | None = None
        self._objective: Objective | None = None
        self._held: PendingEpoch | None = None

    @staticmethod
    def restore(model: Any, checkpoint: tune.Checkpoint | None = None) -> int:
        """Load weights and the optimizer's state into a compiled model.

        Args:
            model: A compiled model, built as in the training that saved the checkpoint. It may be
                unbuilt only if Keras can build it from its own record (a `Sequential` without input
                shape). Build other subclassed models first by calling them on a batch.
            checkpoint: The checkpoint to load. Defaults to `None`, which means the one that Ray
                Tune gives this trial, if any.

        Returns:
            The number of completed epochs, to pass to `fit` as `initial_epoch`; 0 without a
            checkpoint.
        """
        checkpoint = checkpoint or tune.get_checkpoint()
        if checkpoint is None:
            return 0
        with checkpoint.as_directory() as directory:
            return model_weights.load(model, directory).epoch

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self.flush()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self.flush()
        number, numbers = epoch + 1, scalars(logs or {})
        improved = self.checkpoint == "best" and self.improves(numbers)
        save = improved or (isinstance(self.checkpoint, int) and number % self.checkpoint == 0)
        due = isinstance(self.report, int) and number % self.report == 0
        self._held = PendingEpoch(number, numbers, due, self.save(number) if save else None)
        if not self.waits_for_next_epoch:
            self.flush()

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        if self._held is not None:
            self._held.due = self._held.due or self.report == "end"
            if self.checkpoint == "end":
                self._held.checkpoint = self.save(self._held.epoch)
        self.flush()

    @property
    def waits_for_next_epoch(self) -> bool:
        """Return whether an epoch is reported only when the next one begins, because the last one
        is reported differently.
        """
        return "end" in (self.report, self.checkpoint)

    def improves(self, logs: Mapping[str, float]) -> bool:
        """Return whether the monitored metric is better than ever before, and if so remember it.

        Raises:
            ObjectiveError: If `monitor` is not in the logs, or its direction is unknown.
        """
        if self._objective is None:
            self._objective = self._monitored(logs)
        score = self._objective.get_value(logs)
        if not self._objective.better_than(score, self.best):
            return False
        self.best = score
        return True

    def save(self, epoch: int) -> pathlib.Path:
        """Write a checkpoint of the model after `epoch`, and return its directory for `deliver`."""
        directory = scratch.make()
        model_weights.save(self.model, directory, checkpoints.Checkpoint(epoch, has_optimizer=True))
        return directory

    def deliver(
        self, epoch: int, metrics: dict[str, float], directory: pathlib.Path | None
    ) -> None:
        """Report an epoch's metrics, with the checkpoint in `directory` if there is one."""
        if directory is None:
            tune.report(metrics)
            return
        try:
            tune.report(metrics, checkpoint=tune.Checkpoint.from_directory(directory))
        finally:
            shutil.rmtree(directory, ignore_errors=True)

    def flush(self) -> None:
        """Deliver the last finished epoch if it is due and not reported yet."""
        held, self._held = self._held, None
        if held is not None and (held.due or held.checkpoint is not None):
            self.deliver(held.epoch, self._renamed(held.logs), held.checkpoint)

    def _renamed(self, logs: dict[str, float]) -> dict[str, float]:
        if self.metrics is None:
            return logs
        missing = [name for name in self.metrics.values() if name not in logs]
        if missing:
            raise ObjectiveError(
                f"`metrics` names {missing[0]!r}, which Keras did not "
                f"log.{did_you_mean(missing[0], logs)} The logs have: {sorted(logs)}"
            )
        return {reported: logs[name] for reported, name in self.metrics.items()}

    def _monitored(self, logs: Mapping[str, float]) -> Objective:
        name = self.monitor or ("val_loss" if "val_loss" in logs else "loss")
        if name not in logs:
            raise ObjectiveError(
                f"`monitor={name!r}` is not in Keras' logs.{did_you_mean(name, logs)} The logs "
                f"have: {sorted(logs)}"
            )
        direction = None if self.mode == "auto" else self.mode
        return Objective(name, direction).resolved(log_directions(self.model, [name]))


def scalars(logs: Mapping[str, Any]) -> dict[str, float]:
    """Return the logs that are single numbers, as floats. Vectors such as per-class scores are left
    out.
    """
    return {name: float(value) for name, value in logs.items() if np.size(value) == 1}


def _as_mapping(metrics: Any) -> dict[str, str] | None:
    if metrics is None or isinstance(metrics, Mapping):
        return None if metrics is None else dict(metrics)
    names = [metrics] if isinstance(metrics, str) else metrics
    if not isinstance(names, (list, tuple)) or not all(isinstance(name, str) for name in names):
        raise ValueError(
            "`metrics` must be a name, a list of names, or a dict of names. Received: "
            f"metrics={metrics!r}"
        )
    return {name: name for name in names}


def _check_moment(argument: str, moment: Any, words: tuple[str, ...]) -> Any:
    is_count = isinstance(moment, int) and not isinstance(moment, bool) and moment > 0
    if not is_count and moment not in words:
        allowed = " or ".join(repr(word) for word in words)
        raise ValueError(
            f"`{argument}` must be a number of epochs above 0 or {allowed}. Received: "
            f"{argument}={moment!r}"
        )
    return moment
