"""One training of a configuration: its history, its score, and how it ended. Runs anywhere."""

from __future__ import annotations

import dataclasses
import itertools
import math
from typing import NamedTuple

from glimr_keras.trials.objective import Objective


class TrialStatus:
    """What a trial, or an execution, can be. (An oracle may also answer that it is `IDLE`, when it
    has nothing to try yet, or `STOPPED`, when it has nothing any more, as KerasTuner's do.)
    """

    IDLE = "IDLE"
    INVALID = "INVALID"
    """Failed, and maybe to be tried again; in what a user's own loop tells an oracle."""
    RUNNING = "RUNNING"
    COMPLETED = "COMPLETED"
    STOPPED = "STOPPED"
    """Ended early by a scheduler; it has a score, and ranks below completed ones."""
    FAILED = "FAILED"


STATUSES = frozenset(value for name, value in vars(TrialStatus).items() if name.isupper())
"""All of them."""


@dataclasses.dataclass
class Execution:
    """One training of a configuration.

    Attributes:
        history: Metrics by epoch, epochs counted from 1.
        best_epoch: The epoch of the score, counted from 1; the best one, unless the project scores
            all of a trial's executions at another (`score_at`).
        score: The objective at `best_epoch`.
        duration: Seconds from the start of `data` to the end of `fit`; of a training that was
            paused, since it last went on.
        message: The traceback or reason of a failure.
        attempt: How many times it failed before and was tried again.
        lost: How many times the process that trained it was lost.
        is_told: Whether a loop of the user's own told the oracle of every step, instead of
            returning metrics.
        returned: The metrics of the score, where the user's code returned others than any epoch was
            reported with.
        gpu_memory: The most bytes that it took on one GPU; `None` without a GPU.
        reused_graph: Whether it trained by graphs that an earlier training in its process, of an
            equal model, had traced.
        started: When its process began with it, in seconds since 1970, UTC; `None` of projects of
            earlier versions. Of one that was tried again, of its last attempt.
        ended: When its end was written down, likewise.
        worker: Its process, the last one where it had several, as `"host:pid"`.
        weights_epoch, weights_score: The epoch of the checkpoint, and the objective then, where
            that is not `best_epoch`: the training's own best.
        epoch_times: When each epoch was written down, by epoch, likewise; without those of earlier
            versions.
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
    )  # of one that was trained again

    @property
    def at_best(self) -> dict[str, float]:
        """The metrics of the best epoch, if there is one, or those of the score that were returned
        in their place.
        """
        return (
            {} if self.best_epoch is None else self.history.get(self.best_epoch, {}) | self.returned
        )

    @property
    def last_seen(self) -> float | None:
        """The latest time that is known of it, in seconds since 1970, UTC; `None` without any."""
        times = (self.started, self.ended, *self.epoch_times.values())
        return max((time for time in times if time is not None), default=None)

    def observe(self, epoch: int, metrics: dict[str, float], objective: Objective) -> None:
        """Takes in the metrics of an epoch; the score is the best so far.

        An epoch that was seen before is trained again, after a kill or from an earlier checkpoint:
        what came after it is void.
        """
        if epoch in self.history:
            self._go_back(epoch, objective)
        self.history[epoch] = metrics
        value = objective.value_in(metrics)
        if value is not None and objective.better_than(value, self.score):
            self.best_epoch, self.score = epoch, value

    def score_at(self, epoch: int, objective: Objective) -> None:
        """Takes the score of an epoch that is not the best one. The checkpoint stays, and what was
        returned of the best epoch goes.
        """
        if epoch != self.best_epoch:
            self.weights_epoch, self.weights_score = self.saved_epoch, self.saved_score
            self.best_epoch, self.score = epoch, objective.value_in(self.history[epoch])
            self.returned = {}

    @property
    def saved_epoch(self) -> int | None:
        """The epoch of the checkpoint, if there is one."""
        return self.best_epoch if self.weights_epoch is None else self.weights_epoch

    @property
    def saved_score(self) -> float | None:
        """The objective at the epoch of the checkpoint."""
        return self.score if self.weights_epoch is None else self.weights_score

    def _go_back(self, epoch: int, objective: Objective) -> None:
        """Forgets an epoch and those after it."""
        before = self._known_bests(objective)
        while self.history and next(reversed(self.history)) >= epoch:
            self.history.popitem()
            before.pop()
        if before and before[-1].latest >= epoch:  # they did not come in their order
            self.history = {number: seen for number, seen in self.history.items() if number < epoch}
            before.clear()
            self._known_bests(objective)
        self.best_epoch, self.score = (before[-1] if before else _NONE)[:2]

    def _known_bests(self, objective: Objective) -> list[_Best]:
        """What the epochs alone say is the best after each of them."""
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
    """The best epoch of the first ones of a training.

    Attributes:
        epoch, score: `None` if none has a score.
        latest: The last of those first ones, by number.
    """

    epoch: int | None
    score: float | None
    latest: float


_NONE = _Best(None, None, -math.inf)
