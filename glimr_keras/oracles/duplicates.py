"""The configurations that were tried, so that none is tried twice.

Pure Python; runs in the driver.
"""

from __future__ import annotations

import collections
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from glimr_keras.space.reserved_names import Stage
from glimr_keras.trials.trial import Trial

HashOf = Callable[[Mapping[str, Any]], str]


class TriedConfigurations:
    """The configurations that an oracle does not propose again, by hashes of their values.

    A trial may have requested only some of its values. Then all configurations that agree in those
    are equivalent to its code, and count as tried.

    Args:
        besides: Further hashes that count as tried, without a trial. Defaults to `()`.

    Attributes:
        hashes: The hashes of all values not to try again; others may add to it.
        by_trial: The hash of each trial's values, by its id; `None` for an unknown id.
    """

    def __init__(self, besides: Iterable[str] = ()) -> None:
        self.hashes = set(besides)
        self.by_trial: dict[str, str | None] = collections.defaultdict(type(None))
        self._counted: collections.Counter[str] = collections.Counter()
        self._uncounted: list[str] = []  # few searches ever count them, and a list is smaller
        self._names: dict[frozenset[str], None] = {}
        """The sets of names for which trials had values, in order of appearance."""

    def without_trials(self) -> TriedConfigurations:
        """Return the configurations without all trials: only the hashes added besides."""
        return TriedConfigurations(self.hashes - self._times().keys())

    def has(self, values: Mapping[str, Any], hash_of: HashOf) -> bool:
        """Return whether values were tried, or the part of them that a trial requested.

        Args:
            values: Value by name.
            hash_of: The hash function of values, the same in all calls.
        """
        own = values.keys() - Stage.NAMES
        asked = [names for names in self._names if names <= own]
        parts = ({name: values[name] for name in names} for names in asked)
        return any(hash_of(some) in self.hashes for some in (values, *parts))

    def record(self, trial: Trial, hash_of: HashOf, is_narrowed: bool = True) -> None:
        """Mark as tried the values that a trial received; when called again, those it requested.

        Args:
            trial: A trial that starts, or has ended.
            hash_of: As for `has`.
            is_narrowed: Whether its received values may be tried again if it requested more: with
                other values for what it met late. Defaults to `True`.
        """
        before = self.by_trial.get(trial.trial_id)
        chosen, asked_for = trial.values_to_read()
        values = chosen if before is None else asked_for
        now = hash_of(values)
        if now == before:
            return
        self._add(now, frozenset(values.keys() - Stage.NAMES))
        self.by_trial[trial.trial_id] = now
        asked_for_more = chosen.items() < asked_for.items()
        if before is not None and is_narrowed and asked_for_more:
            times = self._times()
            times[before] -= 1
            if times[before] <= 0:
                self.hashes.discard(before)

    def _add(self, values_hash: str, names: frozenset[str]) -> None:
        if names:
            self._names[names] = None
            self._uncounted.append(values_hash)
            self.hashes.add(values_hash)

    def _times(self) -> collections.Counter[str]:
        """Return the number of trials of each hash."""
        self._counted.update(self._uncounted)
        self._uncounted.clear()
        return self._counted


def values_hash(values: Mapping[str, Any]) -> str:
    """Return a hash that identifies a configuration, whichever stage of a training it is."""
    own = sorted((name, value) for name, value in values.items() if name not in Stage.NAMES)
    text = json.dumps(
        own, default=lambda value: value.item() if isinstance(value, np.generic) else str(value)
    )
    return hashlib.sha256(text.encode()).hexdigest()[:32]
