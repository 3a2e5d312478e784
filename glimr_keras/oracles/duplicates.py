"""Which configurations were tried, so that none is tried twice. Pure Python; runs in the driver."""

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

    A trial may have asked for a part of its values only. Then all configurations that agree in
    those are the same to its code, and count as tried.

    Args:
        besides: Hashes that no trial has, and that count as well.

    Attributes:
        hashes: Of all values that are not to be tried again; whoever adds one has it respected.
        by_trial: The hash of each trial's values, by its id; `None` for an id that is not known.
    """

    def __init__(self, besides: Iterable[str] = ()) -> None:
        self.hashes = set(besides)
        self.by_trial: dict[str, str | None] = collections.defaultdict(type(None))
        self._counted: collections.Counter[str] = collections.Counter()
        self._uncounted: list[str] = []  # which few searches ever count, and a list is smaller
        self._names: dict[frozenset[str], None] = {}
        """The sets of names that trials had values for, in the order of their coming."""

    def without_trials(self) -> TriedConfigurations:
        """Return what is left when all trials are forgotten: the hashes that were added besides."""
        return TriedConfigurations(self.hashes - self._times().keys())

    def has(self, values: Mapping[str, Any], hash_of: HashOf) -> bool:
        """Tell whether values were tried, or those of them that a trial asked for.

        Args:
            values: Value by name.
            hash_of: The hash of values; all calls are given the same.
        """
        own = values.keys() - Stage.NAMES
        asked = [names for names in self._names if names <= own]
        parts = ({name: values[name] for name in names} for names in asked)
        return any(hash_of(some) in self.hashes for some in (values, *parts))

    def record(self, trial: Trial, hash_of: HashOf, is_narrowed: bool = True) -> None:
        """Count as tried what a trial was given; when called again, what it asked for.

        Args:
            trial: One that begins, or has ended.
            hash_of: As for `has`.
            is_narrowed: Whether what it was given may be tried again when it asked for more: with
                other values of what it met late.
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
        """Return of how many trials each hash is."""
        self._counted.update(self._uncounted)
        self._uncounted.clear()
        return self._counted


def values_hash(values: Mapping[str, Any]) -> str:
    """Return what tells configurations apart, whichever part of a training they are."""
    own = sorted((name, value) for name, value in values.items() if name not in Stage.NAMES)
    text = json.dumps(
        own, default=lambda value: value.item() if isinstance(value, np.generic) else str(value)
    )
    return hashlib.sha256(text.encode()).hexdigest()[:32]
