"""Which trials' proposals are made together, where many run at once. Pure Python; runs in the
driver.
"""

from __future__ import annotations

import dataclasses

from glimr_keras.oracles.record import TrialRecord
from glimr_keras.trials.ranking import by_id
from glimr_keras.trials.trial import Trial

MANY = 8
"""Where so many trials run for each that has ended meanwhile, a proposal may not know of it."""
_FROM = 64
"""Where so many run, several proposals are made at once."""
_MAX_SIZE = 128


@dataclasses.dataclass(frozen=True)
class Batch:
    """Trials whose proposals are made at once, all from what was known before the first of them.

    Attributes:
        first: The number of the first of them.
        size: How many there are at most.
        num_ended: So many trials, the first that ended, have results.
        num_begun: So many had begun, which is what ran, but for those.
        is_ahead: Whether others may have ended when the first of them begins.
    """

    first: int
    size: int
    num_ended: int
    num_begun: int
    is_ahead: bool

    @property
    def running(self) -> int:
        """How many trials ran."""
        return self.num_begun - self.num_ended

    def has(self, number: int, num_ended: int) -> bool:
        """Whether a trial belongs to it, unless too many have ended since.

        Args:
            number: Of the trial.
            num_ended: How many have ended when it begins.
        """
        is_of_it = self.first <= number < self.first + self.size
        since = num_ended - self.num_ended
        return is_of_it and since >= 0 and self.running >= MANY * since


class Batches:
    """The batches of an oracle's trials.

    They follow from the order in which trials began and ended, which the journal has, so they are
    the same when a search is continued.

    Args:
        record: The oracle.
        share: For so many that run there is one in a batch. Defaults to 16.
    """

    def __init__(self, record: TrialRecord, share: int = 16) -> None:
        self._record, self._share = record, share
        self._order: list[str] | None = None
        self._count = 0
        self._batch: Batch | None = None

    def of_next(self) -> Batch | None:
        """The batch of the trial that begins next; `None` where it is not known how many had ended
        when earlier ones began.
        """
        before = self._before_next()
        started = len(self._record.start_order)
        return _following(
            before, started, len(self._record.end_order), self._num_ended(-1), self._share
        )

    def foreseen(self) -> Batch | None:
        """The batch that will begin with the next trial, if no other ends before; `None` where the
        next one belongs to one that has begun, or is alone.
        """
        started, num_ended = len(self._record.start_order), self._num_ended(-1)
        batch = _following(self._before_next(), started, num_ended, num_ended, self._share)
        return batch if batch is not None and batch.first == started else None

    def running(self, batch: Batch) -> list[Trial]:
        """The trials that ran when a batch was begun, in the order of their ids."""
        record = self._record
        later = set(record.start_order[batch.num_begun :])
        since = [record.trials[trial_id] for trial_id in record.end_order[batch.num_ended :]]
        known = (*record.running_trials, *since)
        return sorted((trial for trial in known if trial.trial_id not in later), key=by_id)

    def _before_next(self) -> Batch | None:
        """The batch of the last trial that has begun."""
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
        """How many trials had ended when one began; `None` where that is not known."""
        order = self._record.start_order
        return self._record.trials[order[number]].num_ended if order else None


def _following(
    batch: Batch | None, number: int, num_ended: int | None, before: int | None, share: int
) -> Batch | None:
    """The batch of a trial.

    Args:
        batch: That of the trial before.
        number: Of the trial.
        num_ended: How many trials had ended when it began.
        before: How many had when the trial before began.
        share: As of `Batches`.
    """
    if num_ended is None or before is None or number == 0:
        return None
    if batch is not None and batch.has(number, num_ended):
        return batch
    running, since = number - before, num_ended - before
    if since < 0 or running < MANY * max(1, since):  # failed trials were begun again meanwhile
        return Batch(number, 1, num_ended, number, is_ahead=False)
    size = min(running // share, _MAX_SIZE) if running >= _FROM else 1
    return Batch(number, size, before, number, is_ahead=True)
