"""Surrogates that know the trials of an oracle. Pure Python; runs in the driver."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from glimr_keras.oracles.record import TrialRecord
from glimr_keras.oracles.surrogate import Surrogate
from glimr_keras.trials.trial import Trial, TrialStatus


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
        self._counts: list[int] = []
        self._by_kind: dict[int, Surrogate] = {}
        self._forget()

    def learn(self, trial: Trial) -> None:
        """Takes in a trial of another project, before those of this one."""
        self._others.append(trial)
        self._forget()

    @property
    def by_kind(self) -> Mapping[int, Surrogate]:
        """A surrogate for each kind of which a trial has ended."""
        ended = self._record.end_order
        if self._record.space is not self._space or ended[: len(self._told)] != self._told:
            self._forget()
        if not self._counts:
            self._counts = [sum(map(self._tell, self._others))]
        for trial_id in ended[len(self._told) :]:
            self._counts.append(self._counts[-1] + self._tell(self._record.trials[trial_id]))
            self._told.append(trial_id)
        return self._by_kind

    def told_after(self, num_ended: int) -> int:
        """How many results the only kind had when so many trials had ended."""
        return self._counts[num_ended]

    def _forget(self) -> None:
        self._space = self._record.space
        self._told, self._counts, self._by_kind = [], [], {}

    def _tell(self, trial: Trial) -> bool:
        """Whether there was something to tell."""
        if not trial.is_scored and trial.status != TrialStatus.FAILED:
            return False
        cost = self._record.objective.sort_key(trial.score) if trial.is_scored else math.inf
        kind = 0 if self._kind_of is None else self._kind_of(trial)
        if kind not in self._by_kind:
            self._by_kind[kind] = Surrogate(self._space)
        self._by_kind[kind].tell(trial.values, cost)
        return True
