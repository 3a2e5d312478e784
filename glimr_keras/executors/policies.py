"""Policies that stop a search or a trial early, and that handle failures. Runs in the driver."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping
from typing import Any, Protocol

from glimr_keras.project import checkpoints
from glimr_keras.training.messages import Outcome
from glimr_keras.trials.execution import Execution, TrialStatus
from glimr_keras.trials.objective import Objective
from glimr_keras.trials.trial import Trial


@dataclasses.dataclass(frozen=True)
class FailurePolicy:
    """The failures that a search tolerates.

    Attributes:
        failed_in_a_row: Stop the search after this many consecutive failed trials, not counting
            those that diverged or raised `FailedTrialError`.
        failures: The number of times a training continues after its process was lost; unlimited if
            negative.
        retries: The number of times a training that failed by itself is restarted.
        seconds: The wall-clock time limit of one training, in seconds; `None` for no limit.
        state_interval: The seconds between two saved states of a training, from which it resumes
            after an interruption; `None` to save none.
        keep_top_k: Keep the weights of this many of the best trials; `None` for all.
    """

    failed_in_a_row: int = 3
    failures: int = 3
    retries: int = 0
    seconds: float | None = None
    state_interval: float | None = None
    keep_top_k: int | None = None


class Stopper(Protocol):
    """The interface of `ray.tune.Stopper`, called after each epoch of each trial."""

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool: ...
    def stop_all(self) -> bool: ...


@dataclasses.dataclass
class StoppingPolicy:
    """The limits of one search.

    Args:
        objective: Decides which trial is better.
        seconds: The wall-clock time from now, in seconds, after which running trials are stopped.
            Defaults to `None`, which means no limit.
        patience: Stop after this many consecutive trials without improvement. Defaults to `None`,
            which means no limit.
        stopper: Stops single trials or the whole search. Defaults to `None`, which means none.
    """

    objective: Objective
    seconds: float | None = None
    patience: int | None = None
    stopper: Stopper | None = None

    def __post_init__(self) -> None:
        self._started = time.monotonic()
        self._best: float | None = None
        self._without_better = 0

    def observe(self, trial: Trial) -> None:
        """Record a trial that has ended."""
        score = trial.score if trial.is_scored else None
        if self.objective.better_than(score, self._best):
            self._best, self._without_better = score, 0
        else:
            self._without_better += 1

    def reached(self) -> str | None:
        """Return why no more trials are started; `None` if there is no reason."""
        if self._is_late():
            return f"The time budget of {self.seconds:g} s is spent."
        if self.patience is not None and self._without_better >= self.patience:
            return f"The last {self._without_better} trials brought no improvement."
        if self.stopper is not None and self.stopper.stop_all():
            return f"{type(self.stopper).__name__} ended the search."
        return None

    def stops(self, trial_id: str, epoch: int, metrics: Mapping[str, float]) -> str | None:
        """Return the status with which a trial ends after an epoch; `None` if it continues.

        A trial that the stopper ends counts as completed, as with Keras' `EarlyStopping`.
        """
        if self._is_late():
            return TrialStatus.STOPPED
        if self.stopper is None:
            return None
        result = {**metrics, "trial_id": trial_id, "training_iteration": epoch}
        if self.objective.has_value(metrics):
            result[self.objective.name] = self.objective.get_value(metrics)
        if self.stopper(trial_id, result):
            return TrialStatus.COMPLETED
        return TrialStatus.STOPPED if self.stopper.stop_all() else None

    def _is_late(self) -> bool:
        return self.seconds is not None and time.monotonic() - self._started > self.seconds


def hung(execution: Execution, duration: float, limit: float, directory: str) -> Outcome:
    """Return the outcome of a training that hung. Its best epoch may not have been reported."""
    score, best_epoch = execution.score, execution.best_epoch
    if checkpoints.is_whole(directory):
        saved = checkpoints.describe(directory)
        if saved.score is not None:
            score, best_epoch = saved.score, saved.epoch
    if score is None:
        message = f"No epoch was over within `trial_time_limit_s={limit:g}`; its process was ended."
        return Outcome(TrialStatus.FAILED, duration, message=message, expected=True, final=True)
    return Outcome(TrialStatus.STOPPED, duration, score, best_epoch)
