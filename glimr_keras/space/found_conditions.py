"""Conditions of hyperparameters, inferred from what configurations requested. Pure Python; runs
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
    """Infer the conditions under which hyperparameters exist.

    A condition is a set of values of another hyperparameter. It must separate the configurations
    that requested a hyperparameter from those that did not. Only hyperparameters that were always
    requested earlier are considered. If none separates them, the hyperparameter counts as always
    existing.

    Args:
        parameters: The hyperparameters, parents before their dependents.
        observations: The requests of past configurations: value by name, in the order of requests.

    Returns:
        Inferred conditions by name, without the written ones.
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
    """A condition with fast lookup of its values."""

    condition: Condition
    keys: frozenset[Hashable] = dataclasses.field(compare=False)

    @classmethod
    def of(cls, condition: Condition) -> _Told:
        return cls(condition, frozenset(map(_key, condition.values)))

    def holds(self, asked: Mapping[str, Any]) -> bool:
        name = self.condition.name
        return name in asked and _key(asked[name]) in self.keys


def _key(value: Any) -> Hashable:
    """Return a key that is equal for values that a condition holds equal; nan equals nothing."""
    if isinstance(value, float) and math.isnan(value):
        return object()
    try:
        hash(value)
    except TypeError:  # a list that code put into the values
        return type(value), repr(value)
    return isinstance(value, bool), value


def _before(observations: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """Return, for each name, the names that were always requested before it."""
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
    """Return the conditions that one hyperparameter gives: where it exists, and its values.

    The values of an integer may be those beyond a threshold.

    Args:
        parents: All hyperparameters of that name.
        found: The inferred conditions under which it exists.
        every: Returns all values of a hyperparameter, by its name.
        with_it: The observations that requested the dependent.
        without: The observations that did not.
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
