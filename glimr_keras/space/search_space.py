"""The hyperparameters of a search, and the configurations in which each exists. Pure Python; runs
anywhere.

Conditions that the user wrote are known. Conditions in code (`for i in range(layers):
config.Int(f"units_{i}", …)`) are inferred from what configurations requested. For example,
`units_2` was requested where `layers` was 3 or 4, and nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any

from glimr_keras.space.found_conditions import found_conditions
from glimr_keras.space.hp_types import Condition, HyperParameter

_MAX_OBSERVATIONS = 400


class SearchSpace:
    """The known hyperparameters, with parents before their dependents.

    Args:
        parameters: The definitions.
        observations: The requests of past configurations: value by name, in the order of requests.
        is_whole: Whether it is certain that no other hyperparameters exist.
        drawn: Names of values that each configuration has but that are not hyperparameters.
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
        self._found: dict[str, tuple[Condition, ...]] | None = None  # `None`: not up to date
        self.observe(*observations)

    @property
    def parameters(self) -> list[HyperParameter]:
        return list(self._parameters.values())

    @property
    def num_searched(self) -> int:
        """Return the number of hyperparameters with more than one value."""
        return sum(parameter.count != 1 for parameter in self._parameters.values())

    def unknown_to(self, keys: Collection[Any]) -> list[HyperParameter]:
        """Return its hyperparameters whose keys are not in `keys`."""
        return [parameter for key, parameter in self._parameters.items() if key not in keys]

    def unknown(self, parameters: Iterable[HyperParameter]) -> list[HyperParameter]:
        """Return the given hyperparameters that are not known."""
        return [parameter for parameter in parameters if parameter.key not in self._parameters]

    def update(self, parameters: Iterable[HyperParameter]) -> list[HyperParameter]:
        """Add hyperparameters, and return the new ones."""
        new = self.unknown(parameters)
        self._parameters.update({parameter.key: parameter for parameter in new})
        if new:
            self._found = None
        return new

    def observe(self, *observations: Mapping[str, Any]) -> None:
        """Learn from what configurations requested during a complete `build` or `fit`."""
        new = observations[: max(_MAX_OBSERVATIONS - len(self._observations), 0)]
        if new:
            self._observations += new
            self._found = None

    def conditions(self, parameter: HyperParameter) -> tuple[Condition, ...]:
        """Return the conditions under which it exists, both written and inferred.

        Inferred conditions depend on the hyperparameters and observations, not on when they became
        known: a resumed search knows all hyperparameters before its first trial.
        """
        if self._found is None:
            self._found = found_conditions(self._parameters.values(), self._observations)
        return parameter.conditions + self._found.get(parameter.name, ())

    def exists(self, parameter: HyperParameter, values: Mapping[str, Any]) -> bool:
        """Return whether a hyperparameter exists in a configuration, as far as is known."""
        return all(condition.holds(values) for condition in self.conditions(parameter))

    def walk(self, choose: Callable[[HyperParameter], Any]) -> dict[str, Any]:
        """Return the values of one configuration, by name.

        `choose` is called for each hyperparameter that exists, parents first.
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
        """Yield all configurations of a finite space."""
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
