"""How far a search is, and how long it will take. Runs in the driver."""

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
    """What a search is going to do, as its oracle knows it."""

    @property
    def num_trials_planned(self) -> int | None: ...
    @property
    def num_epochs_planned(self) -> int | None: ...


@dataclasses.dataclass(frozen=True)
class SearchState:
    """A search at one moment. Times are those of `time.monotonic`.

    Attributes:
        objective: What is optimised.
        began: When `search` was called.
        doing: What is done before the first trial; `None` when that is over.
        done: How many trials have ended, in earlier sessions too.
        total: How many there will be; `None` if unknown.
        running: How many executions run now.
        failed: How many of the ended trials failed.
        best: The best trials with a score, best first.
        ended: The trials that have ended, in that order.
        ends_at: When it may be over; `None` if unknown.
        cv_folds: Of the cross validation; `None` without.
        over_since: When it ended; `None` while it goes on.
        note: How it runs, in a sentence; `None` where nothing is to be said.
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
        """How many trials are done: `23/50 trials`."""
        return f"{self.done}/{'?' if self.total is None else self.total} trials"

    @property
    def running_now(self) -> str:
        """What runs now, or is done before the first trial: `, 4 running`."""
        if self.running:
            return f", {self.running} running"
        return f", {self.doing}" if self.doing is not None else ""

    @property
    def failures(self) -> str:
        """How many failed, if any did: `, 2 failed`."""
        return f", {self.failed} failed" if self.failed else ""

    @property
    def best_named(self) -> str:
        """The best score with the objective's name; with several objectives each of them."""
        if not self.best or len(self.objective.parts) == 1:
            return self._best(f"{self.objective.name} ")
        values = self.best[0].objective_values(self.objective) or ()
        parts = zip(self.objective.parts, values, strict=False)
        named = ", ".join(f"{part.name} {four_digits(value)}" for part, value in parts)
        return self._best("score ") + (f" ({named})" if named else "")

    @property
    def best_score(self) -> str:
        """The best score alone."""
        return self._best("")

    def _best(self, name: str) -> str:
        score = self.best[0].score if self.best else None
        return "" if score is None else f", best {name}{four_digits(score)}"

    @property
    def elapsed(self) -> str:
        """How long it takes since `search` was called."""
        until = time.monotonic() if self.over_since is None else self.over_since
        return f", {duration(int(until - self.began))} elapsed"

    @property
    def left(self) -> str:
        """How long it may still take; empty if that is not known."""
        seconds = None if self.ends_at is None else round(self.ends_at - time.monotonic())
        is_known = self.over_since is None and seconds is not None and seconds > 0
        return f", about {duration(seconds)} left" if is_known and seconds is not None else ""

    @property
    def share(self) -> float | None:
        """Which part of the trials is done, from 0 to 1; `None` if that is not known."""
        return min(self.done / self.total, 1.0) if self.total else None

    @property
    def in_full(self) -> str:
        """All that a line has room for, if it has."""
        return (
            self.counts
            + self.running_now
            + self.failures
            + self.best_named
            + self.elapsed
            + self.left
        )


class TimeLeft:
    """Tells how long a search may still take.

    A trial is taken to cost something, and something for each epoch that it is known to train
    beforehand, as Hyperband's are. Both are fitted to the times of those that have ended.

    Args:
        plan: How many trials and epochs there will be.
        before: Trials that ended in earlier sessions.
        executions: How often each configuration is trained.
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
        """Take in a trial that has ended."""
        self._trials += 1
        self._epochs += planned_epochs(trial)
        self._learn(trial, planned_epochs(trial))

    def seconds(self, since: float, running: int) -> float | None:
        """Return for how long the search may go on; `None` if that cannot be told.

        Args:
            since: Seconds since the first trial of this session could begin.
            running: How many executions run now.
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
        # One of those that run has just begun; of the others, half is done
        begun = done / self._trials * max(running - 1, 0) / 2 / self._executions
        return max(left - begun, 0.0) * since / (done + begun)

    def _learn(self, trial: Trial, planned: int) -> None:
        if trial.is_scored and trial.duration is not None:
            self._times.add(planned, trial.duration)

    def _costs(self) -> tuple[float, float]:
        """Return what a trial costs, and what one of its epochs does, relative to each other."""
        each, for_epoch = self._times.fitted()
        return (each, for_epoch) if each or for_epoch else (1.0, 0.0)


class _Times:
    """A line through the epochs and the seconds of trials."""

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
        """Return the seconds of a trial without epochs, and those of each epoch, by least squares;
        none is negative. Where all had equally many epochs, these are all that counts.
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
    """Return how many epochs an oracle wants a trial to train; 0 where it does not say."""
    suggested, _ = trial.values_to_read()
    return int(suggested.get(Stage.EPOCHS, 0) - suggested.get(Stage.INITIAL_EPOCH, 0))
