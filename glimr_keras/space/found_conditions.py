"""Where hyperparameters exist, found by looking at what configurations asked for. Pure Python; runs
anywhere.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any

from glimr_keras.space.hp_types import Condition, HyperParameter, Int

_MAX_VALUES = 1000


def found_conditions(
    parameters: Iterable[HyperParameter], observations: Sequence[Mapping[str, Any]]
) -> dict[str, tuple[Condition, ...]]:
    """Find the values of other hyperparameters that tell where one was asked for from where it was
    not.

    Only hyperparameters that were always asked for before it are looked at. Where no such values
    tell the two apart, it counts as existing everywhere.

    Args:
        parameters: Parents before those that depend on them.
        observations: What configurations asked for: value by name, in the order of asking.

    Returns:
        By name, beside the conditions that were written.
    """
    by_name: dict[str, list[HyperParameter]] = {}
    for parameter in parameters:
        by_name.setdefault(parameter.name, []).append(parameter)
    before = functools.cache(lambda: _before(observations))
    every = functools.cache(lambda name: list(by_name[name][0].every_value()))
    found: dict[str, tuple[_Told, ...]] = {}
    for name in by_name:
        found[name] = _conditions_of(name, by_name, before, found, every, observations)
    return {name: tuple(each.condition for each in told) for name, told in found.items()}


@dataclasses.dataclass(frozen=True)
class _Told:
    """A condition whose values are looked up at once."""

    condition: Condition
    keys: frozenset[Hashable] = dataclasses.field(compare=False)

    @classmethod
    def of(cls, condition: Condition) -> _Told:
        return cls(condition, frozenset(map(_key, condition.values)))

    def holds(self, asked: Mapping[str, Any]) -> bool:
        name = self.condition.name
        return name in asked and _key(asked[name]) in self.keys


def _key(value: Any) -> Hashable:
    """What is the same for values that a condition holds to be the same; nan is not even itself."""
    if isinstance(value, float) and math.isnan(value):
        return object()
    try:
        hash(value)
    except TypeError:  # a list, which code has put among the values
        return type(value), repr(value)
    return isinstance(value, bool), value


def _before(observations: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """The names that were asked for before a name, whenever it was asked for."""
    before: dict[str, list[str]] = {}
    for asked in observations:
        places = {name: place for place, name in enumerate(asked)}
        names = list(asked)
        for name, place in places.items():
            known = before.get(name)
            if known is None:
                before[name] = names[:place]
            else:
                before[name] = [each for each in known if places.get(each, place) < place]
    return before


def _conditions_of(
    name: str,
    parameters: Mapping[str, list[HyperParameter]],
    befores: Callable[[], Mapping[str, list[str]]],
    found: Mapping[str, tuple[_Told, ...]],
    every: Callable[[str], list[Any]],
    observations: Sequence[Mapping[str, Any]],
) -> tuple[_Told, ...]:
    with_it = [asked for asked in observations if name in asked]
    without = [
        asked
        for asked in observations
        if name not in asked and any(parameter.exists(asked) for parameter in parameters[name])
    ]
    if not with_it or not without:
        return ()
    told: list[_Told] = []
    before = befores()[name]
    while without:
        candidates = [
            _telling(parameters.get(other, []), found.get(other, ()), every, with_it, without)
            for other in reversed(before)  # the nearest first
        ]
        left = [
            [asked for asked in without if all(each.holds(asked) for each in conditions)]
            for conditions in candidates
        ]
        best = min(range(len(candidates)), key=lambda number: len(left[number]), default=None)
        if best is None or len(left[best]) == len(without):
            return ()
        told += candidates[best]
        without = left[best]
    return tuple(dict.fromkeys(told))


def _telling(
    parents: Sequence[HyperParameter],
    found: tuple[_Told, ...],
    every: Callable[[str], list[Any]],
    with_it: Sequence[Mapping[str, Any]],
    without: Sequence[Mapping[str, Any]],
) -> tuple[_Told, ...]:
    """Conditions that one hyperparameter tells: where it exists itself, and its values; for a
    number maybe a threshold.

    Args:
        parents: All hyperparameters of that name.
        found: Where it exists.
        every: All values of a hyperparameter, by its name.
    """
    if len(parents) != 1:
        return found
    (parent,) = parents
    inherited = found + tuple(map(_Told.of, parent.conditions))
    if parent.count is None or parent.count > _MAX_VALUES:
        return inherited
    seen = {_key(asked[parent.name]) for asked in with_it}
    others = [asked[parent.name] for asked in without if parent.name in asked]
    if all(_key(other) in seen for other in others):
        return inherited
    values, listed = [asked[parent.name] for asked in with_it], every(parent.name)
    if isinstance(parent, Int) and min(values) > max(others):
        listed = [value for value in listed if value > max(others)]
    elif isinstance(parent, Int) and max(values) < min(others):
        listed = [value for value in listed if value < min(others)]
    else:
        listed = [value for value in listed if _key(value) in seen]
    return (*inherited, _Told.of(Condition(parent.name, tuple(listed))))
