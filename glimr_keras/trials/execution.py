"""One training of a configuration: its history, score and outcome. Runs anywhere."""

from __future__ import annotations

import dataclasses
import itertools
import math
from typing import NamedTuple

from glimr_keras.trials.objective import Objective


class TrialStatus:
    """The status of a trial or an execution.

    An oracle may also answer `IDLE` if it has nothing to try yet, or `STOPPED` if it has nothing
    left to try, as in KerasTuner.
    """

    IDLE = "IDLE"
    INVALID = "INVALID"
    """Failed, and may be retried; what a user-defined loop reports to an oracle."""
    RUNNING = "RUNNING"
    COMPLETED = "COMPLETED"
    STOPPED = "STOPPED"
    """Stopped early by a scheduler; it has a score, and ranks below completed ones."""
    FAILED = "FAILED"


STATUSES = frozenset(value for name, value in vars(TrialStatus).items() if name.isupper())
"""All statuses."""


@dataclasses.dataclass
class Execution:
    """One training of a configuration.

    Times are in seconds since 1970, UTC. They are `None` in projects of earlier versions.

    Attributes:
        status: One of `TrialStatus`.
        history: Metrics by epoch, with epochs counted from 1.
        best_epoch: The epoch of the score, counted from 1. It is the best one, unless the project
            scores all executions of a trial at another epoch (`score_at`).
        score: The objective at `best_epoch`.
        duration: Seconds from the start of `data` to the end of `fit`. For a training that was
            paused, counted from its last resume.
        message: The traceback or reason of a failure.
        attempt: The number of times it failed and was retried.
        lost: The number of times its process was lost.
        is_told: Whether a user-defined loop reported every step to the oracle, instead of returning
            metrics.
        returned: The metrics of the score, if the user's code returned metrics that no epoch
            reported.
        gpu_memory: The peak memory on one GPU, in bytes; `None` without a GPU.
        reused_graph: Whether it used graphs that an earlier training of an equal model traced in
            the same process.
        started: The time at which its process started it; for a retried one, the last attempt.
        ended: The time at which its end was recorded.
        worker: Its process, the last one if there were several, as `"host:pid"`.
        weights_epoch: The epoch of the checkpoint, which is the best epoch of this training, if it
            differs from `best_epoch`.
        weights_score: The objective at `weights_epoch`.
        epoch_times: The time at which each epoch was recorded, by epoch; without the epochs of
            earlier versions.
    """

    status: str = TrialStatus.RUNNING
    history: dict[int, dict[str, float]] = dataclasses.field(default_factory=dict)
    best_epoch: int | None = None
    score: float | None = None
    duration: float | None = None
    message: str | None = None
    attempt: int = 0
    lost: int = 0
    is_told: bool = False
    returned: dict[str, float] = dataclasses.field(default_factory=dict)
    gpu_memory: int | None = None
    reused_graph: bool = False
    started: float | None = None
    ended: float | None = None
    worker: str | None = None
    weights_epoch: int | None = None
    weights_score: float | None = None
    epoch_times: dict[int, float] = dataclasses.field(
        default_factory=dict, repr=False, compare=False
    )
    _bests: list[_Best] | None = dataclasses.field(
        default=None, init=False, repr=False, compare=False
    )  # set once an epoch is repeated

    @property
    def at_best(self) -> dict[str, float]:
        """Return the metrics of the best epoch, if any, updated with the returned metrics."""
        return (
            {} if self.best_epoch is None else self.history.get(self.best_epoch, {}) | self.returned
        )

    @property
    def last_seen(self) -> float | None:
        """Return its latest known time, in seconds since 1970, UTC; `None` without any."""
        times = (self.started, self.ended, *self.epoch_times.values())
        return max((time for time in times if time is not None), default=None)

    def observe(self, epoch: int, metrics: dict[str, float], objective: Objective) -> None:
        """Add the metrics of an epoch; the score is the best so far.

        An epoch that was seen before is repeated, after a kill or from an earlier checkpoint. Later
        epochs are then discarded.
        """
        if epoch in self.history:
            self._go_back(epoch, objective)
        self.history[epoch] = metrics
        value = objective.value_in(metrics)
        if value is not None and objective.better_than(value, self.score):
            self.best_epoch, self.score = epoch, value

    def score_at(self, epoch: int, objective: Objective) -> None:
        """Use the score of an epoch that is not the best one.

        The checkpoint stays, and the returned metrics of the best epoch are discarded.
        """
        if epoch != self.best_epoch:
            self.weights_epoch, self.weights_score = self.saved_epoch, self.saved_score
            self.best_epoch, self.score = epoch, objective.value_in(self.history[epoch])
            self.returned = {}

    @property
    def saved_epoch(self) -> int | None:
        """Return the epoch of the checkpoint, if there is one."""
        return self.best_epoch if self.weights_epoch is None else self.weights_epoch

    @property
    def saved_score(self) -> float | None:
        """Return the objective at the epoch of the checkpoint."""
        return self.score if self.weights_epoch is None else self.weights_score

    def _go_back(self, epoch: int, objective: Objective) -> None:
        """Discard an epoch and all later ones."""
        before = self._known_bests(objective)
        while self.history and next(reversed(self.history)) >= epoch:
            self.history.popitem()
            before.pop()
        if before and before[-1].latest >= epoch:  # they were out of order
            self.history = {number: seen for number, seen in self.history.items() if number < epoch}
            before.clear()
            self._known_bests(objective)
        self.best_epoch, self.score = (before[-1] if before else _NONE)[:2]

    def _known_bests(self, objective: Objective) -> list[_Best]:
        """Return the best epoch after each epoch, from the history alone."""
        known = self._bests = [] if self._bests is None else self._bests
        best = known[-1] if known else _NONE
        for number, seen in itertools.islice(self.history.items(), len(known), None):
            best_epoch, score = best.epoch, best.score
            value = objective.value_in(seen)
            if value is not None and objective.better_than(value, score):
                best_epoch, score = number, value
            best = _Best(best_epoch, score, max(best.latest, number))
            known.append(best)
        return known


class _Best(NamedTuple):
    """The best epoch up to some epoch of a training.

    Attributes:
        epoch: The best epoch; `None` if none has a score.
        score: Its score; `None` if none has a score.
        latest: The largest epoch number so far.
    """

    epoch: int | None
    score: float | None
    latest: float


_NONE = _Best(None, None, -math.inf)
