"""Surrogates that know the trials of an oracle. Pure Python; runs in the driver."""

from __future__ import annotations

import array
import bisect
import math
from collections.abc import Callable, Mapping

from glimr_keras.oracles.record import TrialRecord
from glimr_keras.oracles.surrogate import Surrogate
from glimr_keras.trials.execution import TrialStatus
from glimr_keras.trials.trial import Trial


class TrialSurrogates:
    """Surrogates of the trials that have ended, in their order; failed ones count as the worst.

    What they know is the record's whenever they are asked, also of an oracle that was reloaded.

    Args:
        record: The oracle.
        kind_of: Results of different kinds, such as after so many epochs, are not compared: each
            kind has a surrogate. Defaults to one kind, 0.
    """

    def __init__(self, record: TrialRecord, kind_of: Callable[[Trial], int] | None = None) -> None:
        self._record, self._kind_of = record, kind_of
        self._others: list[Trial] = []
        self._told: list[str] = []
        self._ends: dict[int, array.array[int]] = {}  # of each kind, when its results came
        self._by_kind: dict[int, Surrogate] = {}
        self._ended: list[str] | None = None
        self._forget()

    def learn(self, trial: Trial) -> None:
        """Takes in a trial of another project, before those of this one."""
        self._others.append(trial)
        self._forget()

    @property
    def by_kind(self) -> Mapping[int, Surrogate]:
        """A surrogate for each kind of which a trial has ended."""
        ended = self._record.end_order
        if self._record.space is not self._space or not self._goes_on(ended):
            self._forget()
        self._ended = ended
        if not self._by_kind:
            for trial in self._others:
                self._tell(trial)
        for trial_id in ended[len(self._told) :]:
            self._told.append(trial_id)
            self._tell(self._record.trials[trial_id])
        return self._by_kind

    def told_after(self, num_ended: int, kind: int = 0) -> int:
        """How many results a kind had when so many trials had ended."""
        return bisect.bisect_right(self._ends[kind], num_ended)

    def _goes_on(self, ended: list[str]) -> bool:
        """Whether these are the trials that were told, and maybe more. A list that was looked at
        before is only added to, so its last one tells.
        """
        count = len(self._told)
        if ended is self._ended:
            return len(ended) >= count and ended[max(count - 1, 0) : count] == self._told[-1:]
        return ended[:count] == self._told

    def _forget(self) -> None:
        self._space = self._record.space
        self._told, self._ends, self._by_kind = [], {}, {}

    def _tell(self, trial: Trial) -> None:
        """Takes in a result, if the trial has one."""
        if not trial.is_scored and trial.status != TrialStatus.FAILED:
            return
        cost = self._record.objective.sort_key(trial.score) if trial.is_scored else math.inf
        kind = 0 if self._kind_of is None else self._kind_of(trial.to_read())
        if kind not in self._by_kind:
            self._by_kind[kind] = Surrogate(self._space)
            self._ends[kind] = array.array("l")
        self._ends[kind].append(len(self._told))
        self._by_kind[kind].tell(dict(trial.values_to_read()[1]), cost)
