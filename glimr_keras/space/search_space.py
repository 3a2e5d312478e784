"""The hyperparameters of a search, and in which configurations each of them exists. Pure Python;
runs anywhere.

Conditions that the user wrote are known. Those that are code (`for i in range(layers):
config.Int(f"units_{i}", …)`) are found by looking at what configurations asked for: `units_2` was
asked for where `layers` was 3 or 4, and nowhere else.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any

from glimr_keras.space.hp_types import Condition, HyperParameter, Int

_MAX_OBSERVATIONS = 400
_MAX_VALUES = 1000


class SearchSpace:
    """Known hyperparameters, in an order in which parents come before the ones that depend on them.

    Args:
        parameters: Their definitions.
        observations: What configurations asked for: value by name, in the order of asking.
        is_whole: Whether it is certain that there are no others.
        drawn: Names of what is no hyperparameter, but a value that each configuration has.
    """

    def __init__(
        self,
        parameters: Iterable[HyperParameter] = (),
        observations: Iterable[Mapping[str, Any]] = (),
        is_whole: bool = True,
        drawn: Iterable[str] = (),
    ) -> None:
        self.is_whole, self.drawn = is_whole, frozenset(drawn)
        self._parameters = {parameter.key: parameter for parameter in parameters}
        self._observations: list[Mapping[str, Any]] = []
        self._found: dict[str, tuple[Condition, ...]] = {}
        self._is_known = (
            False  # whether the observations were looked at since the last hyperparameter came
        )
        self.observe(*observations)

    @property
    def parameters(self) -> list[HyperParameter]:
        return list(self._parameters.values())

    @property
    def num_searched(self) -> int:
        """How many hyperparameters have more than one value."""
        return sum(parameter.count != 1 for parameter in self._parameters.values())

    def unknown_to(self, keys: Collection[Any]) -> list[HyperParameter]:
        """Those of its hyperparameters whose keys are not among these."""
        return [parameter for key, parameter in self._parameters.items() if key not in keys]

    def unknown(self, parameters: Iterable[HyperParameter]) -> list[HyperParameter]:
        """Those of the hyperparameters that are not known."""
        return [parameter for parameter in parameters if parameter.key not in self._parameters]

    def update(self, parameters: Iterable[HyperParameter]) -> list[HyperParameter]:
        """Adds hyperparameters, and returns those that were new."""
        new = self.unknown(parameters)
        self._parameters.update({parameter.key: parameter for parameter in new})
        self._is_known = self._is_known and not new
        return new

    def observe(self, *observations: Mapping[str, Any]) -> None:
        """Learns from what configurations asked for, to the end of their `build` or `fit`."""
        room = max(_MAX_OBSERVATIONS - len(self._observations), 0)
        self._observations += observations[:room]
        if not self._is_known or (room and not all(map(self._explains, observations))):
            self._is_known = True
            self._found = {}
            for name in dict.fromkeys(
                name for name, _ in self._parameters
            ):  # parents before those that depend on them
                self._found[name] = self._conditions_of(name)

    def conditions(self, parameter: HyperParameter) -> tuple[Condition, ...]:
        """Where it exists: the conditions that were written, and those that were found."""
        return parameter.conditions + self._found.get(parameter.name, ())

    def exists(self, parameter: HyperParameter, values: Mapping[str, Any]) -> bool:
        """Whether a hyperparameter exists in a configuration, as far as is known."""
        return all(condition.holds(values) for condition in self.conditions(parameter))

    def walk(self, choose: Callable[[HyperParameter], Any]) -> dict[str, Any]:
        """The values of one configuration, by name: each hyperparameter that exists is chosen,
        parents first.
        """
        values: dict[str, Any] = {}
        for parameter in self.parameters:
            if parameter.name not in values and self.exists(parameter, values):
                values[parameter.name] = choose(parameter)
        return values

    @property
    def is_finite(self) -> bool:
        return all(parameter.count is not None for parameter in self.parameters)

    def every_configuration(self) -> Iterator[dict[str, Any]]:
        """All configurations of a finite space, one after the other."""
        yield from self._extensions({}, self.parameters)

    def _extensions(
        self, values: dict[str, Any], rest: list[HyperParameter]
    ) -> Iterator[dict[str, Any]]:
        for number, parameter in enumerate(rest):
            if parameter.name not in values and self.exists(parameter, values):
                for value in parameter.every_value():
                    yield from self._extensions(
                        {**values, parameter.name: value}, rest[number + 1 :]
                    )
                return
        yield values

    def _explains(self, asked: Mapping[str, Any]) -> bool:
        """Whether these are the names that would be expected with these values."""
        values: dict[str, Any] = {}
        for parameter in self.parameters:
            if parameter.name not in values and self.exists(parameter, asked):
                if parameter.name not in asked:
                    return False
                values[parameter.name] = asked[parameter.name]
        return len(values) == len({name for name, _ in self._parameters} & set(asked))

    def _conditions_of(self, name: str) -> tuple[Condition, ...]:
        """The values of other hyperparameters that tell where this one was asked for from where it
        was not.

        Only hyperparameters that were always asked for before this one are looked at. Where no such
        values tell the two apart, the hyperparameter counts as existing everywhere.
        """
        written = [parameter for parameter in self.parameters if parameter.name == name]
        with_it = [asked for asked in self._observations if name in asked]
        without = [
            asked
            for asked in self._observations
            if name not in asked and any(parameter.exists(asked) for parameter in written)
        ]
        if not with_it or not without:
            return ()
        before = [
            other
            for other in _before(with_it[0], name)
            if all(other in _before(asked, name) for asked in with_it)
        ]
        found: list[Condition] = []
        while without:
            candidates = [
                self._telling(other, with_it, without) for other in reversed(before)
            ]  # the nearest first
            left = [
                [asked for asked in without if all(c.holds(asked) for c in conditions)]
                for conditions in candidates
            ]
            best = min(range(len(candidates)), key=lambda number: len(left[number]), default=None)
            if best is None or len(left[best]) == len(without):
                return ()
            found += candidates[best]
            without = left[best]
        return tuple(dict.fromkeys(found))

    def _telling(
        self, name: str, with_it: list[Mapping[str, Any]], without: list[Mapping[str, Any]]
    ) -> tuple[Condition, ...]:
        """Conditions that one hyperparameter tells: where it exists itself, and its values; for a
        number maybe a threshold.
        """
        parents = [parameter for parameter in self.parameters if parameter.name == name]
        inherited = self._found.get(name, ()) + (parents[0].conditions if len(parents) == 1 else ())
        values = [asked[name] for asked in with_it]
        others = [asked[name] for asked in without if name in asked]
        seen = Condition(name, tuple(values))
        is_listed = (
            len(parents) == 1 and parents[0].count is not None and parents[0].count <= _MAX_VALUES
        )
        if not is_listed or all(seen.holds({name: other}) for other in others):
            return inherited
        every = list(parents[0].every_value())
        if isinstance(parents[0], Int) and min(values) > max(others):
            every = [value for value in every if value > max(others)]
        elif isinstance(parents[0], Int) and max(values) < min(others):
            every = [value for value in every if value < min(others)]
        else:
            every = [value for value in every if seen.holds({name: value})]
        return (*inherited, Condition(name, tuple(every)))


def _before(asked: Mapping[str, Any], name: str) -> list[str]:
    return list(itertools.takewhile(lambda other: other != name, asked))
