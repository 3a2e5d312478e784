"""Batches of trials whose proposals are made together, if many run at once.

Pure Python; runs in the driver.
"""

from __future__ import annotations

import dataclasses

from glimr_keras.oracles.record import TrialRecord
from glimr_keras.trials.ranking import by_id
from glimr_keras.trials.trial import Trial

MANY = 8
"""If this many trials run for each that has ended meanwhile, a proposal may ignore the latter."""
_FROM = 64
"""If this many trials run, several proposals are made at once."""
_MAX_SIZE = 128


@dataclasses.dataclass(frozen=True)
class Batch:
    """Trials whose proposals are made at once, from what was known before the first of them.

    Attributes:
        first: The number of the first trial.
        size: The maximum number of trials.
        num_ended: The number of ended trials, in order of their ends, whose results are known.
        num_begun: The number of started trials; except for the ended ones, they were running.
        is_ahead: Whether others may have ended when the first of them starts.
    """

    first: int
    size: int
    num_ended: int
    num_begun: int
    is_ahead: bool

    @property
    def running(self) -> int:
        """Return the number of running trials."""
        return self.num_begun - self.num_ended

    def has(self, number: int, num_ended: int) -> bool:
        """Return whether a trial belongs to it, unless too many have ended since.

        Args:
            number: The number of the trial.
            num_ended: The number of ended trials when it starts.
        """
        is_of_it = self.first <= number < self.first + self.size
        since = num_ended - self.num_ended
        return is_of_it and since >= 0 and self.running >= MANY * since


class Batches:
    """The batches of an oracle's trials.

    They follow from the order in which trials started and ended, which the journal records. So they
    are the same when a search resumes.

    Args:
        record: The oracle.
        share: A batch has one trial for each `share` running ones. Defaults to `16`.
    """

    def __init__(self, record: TrialRecord, share: int = 16) -> None:
        self._record, self._share = record, share
        self._order: list[str] | None = None
        self._count = 0
        self._batch: Batch | None = None

    def of_next(self) -> Batch | None:
        """Return the batch of the next trial.

        `None` if it is unknown how many trials had ended when earlier ones started.
        """
        before = self._before_next()
        started = len(self._record.start_order)
        return _following(
            before, started, len(self._record.end_order), self._num_ended(-1), self._share
        )

    def foreseen(self) -> Batch | None:
        """Return the batch that the next trial will open, if no other trial ends before.

        `None` if the next trial belongs to an open batch, or if its batch is unknown.
        """
        started, num_ended = len(self._record.start_order), self._num_ended(-1)
        batch = _following(self._before_next(), started, num_ended, num_ended, self._share)
        return batch if batch is not None and batch.first == started else None

    def running(self, batch: Batch) -> list[Trial]:
        """Return the trials that were running when a batch was opened, sorted by id."""
        record = self._record
        later = set(record.start_order[batch.num_begun :])
        since = [record.trials[trial_id] for trial_id in record.end_order[batch.num_ended :]]
        known = (*record.running_trials, *since)
        return sorted((trial for trial in known if trial.trial_id not in later), key=by_id)

    def _before_next(self) -> Batch | None:
        """Return the batch of the last started trial."""
        order = self._record.start_order
        if order is not self._order or len(order) < self._count:
            self._order, self._count, self._batch = order, 0, None
        for number in range(self._count, len(order)):
            self._batch = _following(
                self._batch,
                number,
                self._num_ended(number),
                self._num_ended(number - 1),
                self._share,
            )
        self._count = len(order)
        return self._batch

    def _num_ended(self, number: int) -> int | None:
        """Return how many trials had ended when one started; `None` if unknown."""
        order = self._record.start_order
        return self._record.trials[order[number]].num_ended if order else None


def _following(
    batch: Batch | None, number: int, num_ended: int | None, before: int | None, share: int
) -> Batch | None:
    """Return the batch of a trial.

    Args:
        batch: The batch of the trial before.
        number: The number of the trial.
        num_ended: The number of ended trials when it started.
        before: The number of ended trials when the trial before started.
        share: As for `Batches`.
    """
    if num_ended is None or before is None or number == 0:
        return None
    if batch is not None and batch.has(number, num_ended):
        return batch
    running, since = number - before, num_ended - before
    if since < 0 or running < MANY * max(1, since):  # failed trials were restarted meanwhile
        return Batch(number, 1, num_ended, number, is_ahead=False)
    size = min(running // share, _MAX_SIZE) if running >= _FROM else 1
    return Batch(number, size, before, number, is_ahead=True)
