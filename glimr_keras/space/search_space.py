"""The hyperparameters of a search, and in which configurations each of them exists. Pure Python;
runs anywhere.

Conditions that the user wrote are known. Those that are code (`for i in range(layers):
config.Int(f"units_{i}", …)`) are found by looking at what configurations asked for: `units_2` was
asked for where `layers` was 3 or 4, and nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any

from glimr_keras.space.found_conditions import found_conditions
from glimr_keras.space.hp_types import Condition, HyperParameter

_MAX_OBSERVATIONS = 400


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
        self._found: dict[str, tuple[Condition, ...]] | None = None  # not looked for since
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
        if new:
            self._found = None
        return new

    def observe(self, *observations: Mapping[str, Any]) -> None:
        """Learns from what configurations asked for, to the end of their `build` or `fit`."""
        new = observations[: max(_MAX_OBSERVATIONS - len(self._observations), 0)]
        if new:
            self._observations += new
            self._found = None

    def conditions(self, parameter: HyperParameter) -> tuple[Condition, ...]:
        """Where it exists: the conditions that were written, and those that were found.

        What is found follows from the hyperparameters and the observations, and not from when they
        became known: a search that goes on knows all hyperparameters before its first trial.
        """
        if self._found is None:
            self._found = found_conditions(self._parameters.values(), self._observations)
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
