"""Surrogates built from the trials of an oracle. Pure Python; runs in the driver."""

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
    """Surrogates of the ended trials, in their order; failed ones count as the worst.

    They always match the record, even after the oracle is reloaded.

    Args:
        record: The oracle.
        kind_of: Returns the kind of a trial, such as its number of epochs. Results of different
            kinds are not compared: each kind has a surrogate. Defaults to `None`: one kind, 0.
    """

    def __init__(self, record: TrialRecord, kind_of: Callable[[Trial], int] | None = None) -> None:
        self._record, self._kind_of = record, kind_of
        self._others: list[Trial] = []
        self._told: list[str] = []
        self._ends: dict[int, array.array[int]] = {}  # by kind, when its results arrived
        self._by_kind: dict[int, Surrogate] = {}
        self._ended: list[str] | None = None
        self._forget()

    def learn(self, trial: Trial) -> None:
        """Add a trial of another project, before the trials of this one."""
        self._others.append(trial)
        self._forget()

    @property
    def by_kind(self) -> Mapping[int, Surrogate]:
        """Return a surrogate for each kind with an ended trial."""
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
        """Return the number of results of a kind after this many ended trials.

        Args:
            num_ended: The number of ended trials.
            kind: The kind. Defaults to `0`.
        """
        return bisect.bisect_right(self._ends[kind], num_ended)

    def _goes_on(self, ended: list[str]) -> bool:
        """Return whether these trials continue the ones that were told.

        A list that was seen before only grows, so its last trial decides.
        """
        count = len(self._told)
        if ended is self._ended:
            return len(ended) >= count and ended[max(count - 1, 0) : count] == self._told[-1:]
        return ended[:count] == self._told

    def _forget(self) -> None:
        self._space = self._record.space
        self._told, self._ends, self._by_kind = [], {}, {}

    def _tell(self, trial: Trial) -> None:
        """Add a result, if the trial has one."""
        if not trial.is_scored and trial.status != TrialStatus.FAILED:
            return
        cost = self._record.objective.sort_key(trial.score) if trial.is_scored else math.inf
        kind = 0 if self._kind_of is None else self._kind_of(trial.to_read())
        if kind not in self._by_kind:
            self._by_kind[kind] = Surrogate(self._space)
            self._ends[kind] = array.array("l")
        self._ends[kind].append(len(self._told))
        self._by_kind[kind].tell(dict(trial.values_to_read()[1]), cost)
