"""What ends a search, or a trial, before its time, and what is done about failures. Runs in the
driver.
"""

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
    """What a search bears.

    Attributes:
        failed_in_a_row: So many failed trials in a row stop the search, not counting those that
            diverged or raised `FailedTrialError`.
        failures: How often a training is continued when its process was lost; below 0 for any
            number.
        retries: How often a training is begun again that failed by itself.
        seconds: Wall-clock time that one training may take; `None` for any.
        state_interval: Seconds between two states that are kept of a training in case it is
            interrupted; `None` for none.
        keep_top_k: Of so many trials the weights are kept; `None` for all.
    """

    failed_in_a_row: int = 3
    failures: int = 3
    retries: int = 0
    seconds: float | None = None
    state_interval: float | None = None
    keep_top_k: int | None = None


class Stopper(Protocol):
    """What `ray.tune.Stopper` is: asked after each epoch of each trial."""

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool: ...
    def stop_all(self) -> bool: ...


@dataclasses.dataclass
class StoppingPolicy:
    """Bounds of one search.

    Args:
        objective: Says which trial is better.
        seconds: Wall-clock time from now; then running trials are stopped.
        patience: So many trials in a row that are not better than the best before them end the
            search.
        stopper: Stops single trials, or everything.
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
        """A trial ended."""
        score = trial.score if trial.is_scored else None
        if self.objective.better_than(score, self._best):
            self._best, self._without_better = score, 0
        else:
            self._without_better += 1

    def reached(self) -> str | None:
        """Why no trial is to be started any more; `None` while there is no reason."""
        if self._is_late():
            return f"The time budget of {self.seconds:g} s is spent."
        if self.patience is not None and self._without_better >= self.patience:
            return f"The last {self._without_better} trials brought no improvement."
        if self.stopper is not None and self.stopper.stop_all():
            return f"{type(self.stopper).__name__} ended the search."
        return None

    def stops(self, trial_id: str, epoch: int, metrics: Mapping[str, float]) -> str | None:
        """With which status a trial is to end after an epoch; `None` if it is to go on.

        A stopper that has seen enough of a training completes it, as Keras' `EarlyStopping` does.
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
    """The end of a training that did not end by itself. Its best epoch may be one that was not
    reported any more.
    """
    score, best_epoch = execution.score, execution.best_epoch
    if checkpoints.is_whole(directory):
        saved = checkpoints.describe(directory)
        if saved.score is not None:
            score, best_epoch = saved.score, saved.epoch
    if score is None:
        message = f"No epoch was over within `trial_time_limit_s={limit:g}`; its process was ended."
        return Outcome(TrialStatus.FAILED, duration, message=message, expected=True, final=True)
    return Outcome(TrialStatus.STOPPED, duration, score, best_epoch)
