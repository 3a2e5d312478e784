"""The progress of a search and its remaining time. Runs in the driver."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from typing import Protocol

from glimr_keras._utils.text import duration, four_digits
from glimr_keras.space.reserved_names import Stage
from glimr_keras.trials.objective import Objective
from glimr_keras.trials.trial import Trial


class Plan(Protocol):
    """The planned size of a search, which its oracle knows."""

    @property
    def num_trials_planned(self) -> int | None: ...
    @property
    def num_epochs_planned(self) -> int | None: ...


@dataclasses.dataclass(frozen=True)
class SearchState:
    """A snapshot of a search. Times are those of `time.monotonic`.

    Attributes:
        objective: The objective of the search.
        began: Time at which `search` was called.
        doing: Current step before the first trial; `None` after that.
        done: Number of trials that have ended, including earlier sessions.
        total: Number of planned trials; `None` if unknown.
        running: Number of executions that run now.
        failed: Number of ended trials that failed.
        best: The best scored trials, best first.
        ended: The trials that have ended, in that order.
        ends_at: Expected end; `None` if unknown.
        cv_folds: Number of folds; `None` without cross validation.
        over_since: Time at which the search ended; `None` while it runs.
        note: A sentence on how the search runs; `None` if there is nothing to say.
    """

    objective: Objective
    began: float
    doing: str | None = None
    done: int = 0
    total: int | None = None
    running: int = 0
    failed: int = 0
    best: tuple[Trial, ...] = ()
    ended: Sequence[Trial] = ()
    ends_at: float | None = None
    cv_folds: int | None = None
    over_since: float | None = None
    note: str | None = None

    @property
    def counts(self) -> str:
        """Return how many trials are done: `23/50 trials`."""
        return f"{self.done}/{'?' if self.total is None else self.total} trials"

    @property
    def running_now(self) -> str:
        """Return what runs now, or the step before the first trial: `, 4 running`."""
        if self.running:
            return f", {self.running} running"
        return f", {self.doing}" if self.doing is not None else ""

    @property
    def failures(self) -> str:
        """Return how many trials failed, if any did: `, 2 failed`."""
        return f", {self.failed} failed" if self.failed else ""

    @property
    def best_named(self) -> str:
        """Return the best score with the objective's name; each of several objectives."""
        if not self.best or len(self.objective.parts) == 1:
            return self._best(f"{self.objective.name} ")
        values = self.best[0].objective_values(self.objective) or ()
        parts = zip(self.objective.parts, values, strict=False)
        named = ", ".join(f"{part.name} {four_digits(value)}" for part, value in parts)
        return self._best("score ") + (f" ({named})" if named else "")

    @property
    def best_score(self) -> str:
        """Return the best score without a name."""
        return self._best("")

    def _best(self, name: str) -> str:
        score = self.best[0].score if self.best else None
        return "" if score is None else f", best {name}{four_digits(score)}"

    @property
    def elapsed(self) -> str:
        """Return the time since `search` was called."""
        until = time.monotonic() if self.over_since is None else self.over_since
        return f", {duration(int(until - self.began))} elapsed"

    @property
    def left(self) -> str:
        """Return the expected remaining time; empty if unknown."""
        seconds = None if self.ends_at is None else round(self.ends_at - time.monotonic())
        is_known = self.over_since is None and seconds is not None and seconds > 0
        return f", about {duration(seconds)} left" if is_known and seconds is not None else ""

    @property
    def share(self) -> float | None:
        """Return the fraction of trials that are done, from 0 to 1; `None` if unknown."""
        return min(self.done / self.total, 1.0) if self.total else None

    @property
    def in_full(self) -> str:
        """Return the longest form of the line."""
        return (
            self.counts
            + self.running_now
            + self.failures
            + self.best_named
            + self.elapsed
            + self.left
        )


class TimeLeft:
    """Estimate the remaining time of a search.

    Each trial has a fixed cost, plus a cost per epoch where its number of epochs is known in
    advance, as with Hyperband. Both are fitted to the times of the ended trials.

    Args:
        plan: The planned number of trials and epochs.
        before: Trials that ended in earlier sessions.
        executions: Number of times each configuration is trained. Defaults to `1`.
    """

    def __init__(self, plan: Plan, before: Sequence[Trial], executions: int = 1) -> None:
        self._plan, self._executions = plan, executions
        self._times = _Times()
        self._trials = self._epochs = 0  # that ended in this session
        self._trials_before = len(before)
        self._epochs_before = 0
        for trial in before:
            self._epochs_before += planned_epochs(trial)
            self._learn(trial.outlined(), planned_epochs(trial))

    def add(self, trial: Trial) -> None:
        """Add a trial that has ended."""
        self._trials += 1
        self._epochs += planned_epochs(trial)
        self._learn(trial, planned_epochs(trial))

    def seconds(self, since: float, running: int) -> float | None:
        """Return the estimated remaining seconds; `None` if there is no estimate.

        Args:
            since: Seconds since the first trial of this session could start.
            running: Number of executions that run now.
        """
        total = self._plan.num_trials_planned
        if total is None or not self._trials:
            return None
        trials = total - self._trials_before - self._trials
        if trials <= 0:
            return None
        planned = self._plan.num_epochs_planned
        epochs = 0 if planned is None else planned - self._epochs_before - self._epochs
        each, for_epoch = self._costs() if planned is not None else (1.0, 0.0)
        done = each * self._trials + for_epoch * self._epochs
        left = each * trials + for_epoch * max(epochs, 0)
        # Assume that one running execution has just started and the others are half done
        begun = done / self._trials * max(running - 1, 0) / 2 / self._executions
        return max(left - begun, 0.0) * since / (done + begun)

    def _learn(self, trial: Trial, planned: int) -> None:
        if trial.is_scored and trial.duration is not None:
            self._times.add(planned, trial.duration)

    def _costs(self) -> tuple[float, float]:
        """Return the relative costs of a trial and of one of its epochs."""
        each, for_epoch = self._times.fitted()
        return (each, for_epoch) if each or for_epoch else (1.0, 0.0)


class _Times:
    """A line fitted to the epochs and seconds of trials."""

    def __init__(self) -> None:
        self._number = self._epochs = self._squares = 0
        self._seconds = self._products = 0.0

    def add(self, epochs: int, seconds: float) -> None:
        self._number += 1
        self._epochs += epochs
        self._squares += epochs**2
        self._seconds += seconds
        self._products += epochs * seconds

    def fitted(self) -> tuple[float, float]:
        """Return the seconds of a trial without epochs and per epoch, by least squares.

        Neither is negative. If all trials had the same number of epochs, only epochs count.
        """
        if not self._number:
            return 0.0, 0.0
        if not self._epochs:
            return self._seconds / self._number, 0.0
        most = self._seconds / self._epochs
        spread = self._number * self._squares - self._epochs**2
        if not spread:
            return 0.0, most
        slope = (self._number * self._products - self._epochs * self._seconds) / spread
        for_epoch = min(max(slope, 0.0), most)
        return (self._seconds - for_epoch * self._epochs) / self._number, for_epoch


def planned_epochs(trial: Trial) -> int:
    """Return the number of epochs that the oracle sets for a trial; 0 if it sets none."""
    suggested, _ = trial.values_to_read()
    return int(suggested.get(Stage.EPOCHS, 0) - suggested.get(Stage.INITIAL_EPOCH, 0))
