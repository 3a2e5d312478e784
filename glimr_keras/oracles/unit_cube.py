"""A search space with conditions as the unit cube, in arrays. NumPy; runs in the driver.

A configuration is a row: a number from 0 to 1 for each hyperparameter, even for those that do not
exist in it. A model sees it as a point, in which hyperparameters that do not exist have a fixed
value.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from glimr_keras.oracles.encodings import encoding_of
from glimr_keras.space.hp_types import Choice, Condition, HyperParameter
from glimr_keras.space.search_space import SearchSpace

_MAX_CODES = 10_000
"""Numbers with more values count as real."""
_MAX_COLUMNS = 32
"""Options of larger categories are directions, all about equally far from each other."""


@dataclasses.dataclass(frozen=True)
class Axis:
    """A hyperparameter in rows and points.

    Attributes:
        parameter: The hyperparameter.
        values: All its values, in the order of `codes`; empty for a real number.
        codes: The position of each value in a row, ascending; `None` for a real number.
        column: The first of its columns in a point; `None` if it has only one value.
        directions: For a category, its values in a point, shape (values, columns): each has its own
            column, or if there are many, a direction. `None` for a number, which has one column.
    """

    parameter: HyperParameter
    values: tuple[Any, ...]
    codes: np.ndarray | None
    column: int | None
    directions: np.ndarray | None

    @property
    def is_category(self) -> bool:
        """Return whether its values have no order."""
        return self.directions is not None

    @property
    def width(self) -> int:
        """Return the number of its columns in a point."""
        if self.column is None:
            return 0
        return 1 if self.directions is None else self.directions.shape[1]

    def encode(self, value: Any) -> float:
        """Return the position of a value in a row."""
        if self.codes is None:
            return self.parameter.value_to_prob(value)
        code = self.parameter.value_to_prob(value)
        if self.is_ranked:
            return float(self.codes[self.values.index(self.parameter.prob_to_value(code))])
        return code

    def decode(self, place: float) -> Any:
        """Return the value at a position in a row."""
        if self.codes is None:
            return self.parameter.prob_to_value(min(float(place), 1 - 1e-12))
        return self.values[int(self.index(np.array([place]))[0])]

    @property
    def is_ranked(self) -> bool:
        """Return whether its values are sorted instead of in their listed order."""
        return isinstance(self.parameter, Choice) and not self.is_category

    def index(self, row: np.ndarray) -> np.ndarray:
        """Return the number of the value at each position, for an axis with codes."""
        codes = np.empty(0) if self.codes is None else self.codes
        return np.searchsorted((codes[1:] + codes[:-1]) / 2, row, side="right")


class UnitCube:
    """The hyperparameters of a space as axes of the unit cube.

    Args:
        space: The space as known now; later hyperparameters need another cube.

    Attributes:
        axes: One axis for each hyperparameter, in the space's order.
        groups: For each column of a point, the number of its hyperparameter among those with
            columns.
    """

    def __init__(self, space: SearchSpace) -> None:
        self.axes: list[Axis] = []
        groups: list[int] = []
        for parameter in space.parameters:
            axis = _axis(parameter, len(groups))
            groups += [max(groups, default=-1) + 1] * axis.width
            self.axes.append(axis)
        self.groups = np.array(groups, int)
        self._conditions = conditions_in(space)
        self._tests = [
            [self._tests_of(condition, number) for condition in conditions]
            for number, (_, conditions) in enumerate(self._conditions)
        ]

    def is_of(self, space: SearchSpace) -> bool:
        """Return whether the cube covers all that is known of a space."""
        return self._conditions == conditions_in(space)

    def has_axes_of(self, other: UnitCube) -> bool:
        """Return whether another cube has the same rows and points."""
        return [axis.parameter for axis in self.axes] == [axis.parameter for axis in other.axes]

    def snapped(self, rows: np.ndarray) -> np.ndarray:
        """Return the rows of the nearest configurations.

        Args:
            rows: Shape (rows, axes).
        """
        snapped = np.clip(rows, 0.0, 1 - 1e-12)
        for number, axis in enumerate(self.axes):
            if axis.codes is not None:
                snapped[:, number] = axis.codes[axis.index(rows[:, number])]
        return snapped

    def existing(self, rows: np.ndarray) -> np.ndarray:
        """Return which hyperparameters exist in each configuration, shape (rows, axes)."""
        existing = np.zeros(rows.shape, bool)
        taken: dict[str, np.ndarray] = {}  # the names that a configuration already has
        for number, axis in enumerate(self.axes):
            exists = np.ones(len(rows), bool)
            for condition in self._tests[number]:
                holds = np.zeros(len(rows), bool)
                for test in condition:
                    holds |= existing[:, test.number] & test.holds(rows[:, test.number])
                exists &= holds
            if axis.parameter.name in taken:
                exists &= ~taken[axis.parameter.name]
            taken[axis.parameter.name] = taken.get(axis.parameter.name, False) | exists
            existing[:, number] = exists
        return existing

    def points(self, rows: np.ndarray, existing: np.ndarray) -> np.ndarray:
        """Return rows as a model sees them, shape (rows, columns).

        A number that does not exist is in the middle of its range; a category that does not exist
        is 0 everywhere.
        """
        points = np.empty((len(rows), len(self.groups)))
        for number, axis in enumerate(self.axes):
            if axis.column is None:
                continue
            if axis.directions is not None:
                options = axis.directions[axis.index(rows[:, number])]
                columns = slice(axis.column, axis.column + axis.width)
                points[:, columns] = options * existing[:, number, None]
            else:
                points[:, axis.column] = np.where(existing[:, number], rows[:, number], 0.5)
        return points

    def rows(self, configurations: Sequence[Mapping[str, Any]]) -> tuple[np.ndarray, np.ndarray]:
        """Return rows and which hyperparameters exist, both of shape (configurations, axes).

        Args:
            configurations: Value by name. A value that the space does not have counts as not
                existing.
        """
        rows = np.full((len(configurations), len(self.axes)), 0.5)
        existing = np.zeros(rows.shape, bool)
        for place, values in enumerate(configurations):
            taken = set()
            for number, axis in enumerate(self.axes):
                parameter = axis.parameter
                name = parameter.name
                if name not in values or name in taken or not parameter.exists(values):
                    continue
                taken.add(name)
                if parameter.allows(values[name]):
                    rows[place, number] = axis.encode(values[name])
                    existing[place, number] = True
        return rows, existing

    def configuration(self, row: np.ndarray) -> dict[str, Any]:
        """Return value by name, for the hyperparameters that exist.

        Args:
            row: Shape (axes,).
        """
        return {
            axis.parameter.name: axis.decode(place)
            for axis, place, exists in zip(self.axes, row, self.existing(row[None])[0], strict=True)
            if exists
        }

    def _tests_of(self, condition: Condition, before: int) -> list[_Test]:
        """Return tests on the axes that a condition depends on."""
        return [
            _Test(condition, number, axis)
            for number, axis in enumerate(self.axes[:before])
            if axis.parameter.name == condition.name
        ]


class _Test:
    """Test at which positions of an axis a condition on its value holds.

    Attributes:
        number: The number of the axis.
    """

    def __init__(self, condition: Condition, number: int, axis: Axis) -> None:
        self._condition, self.number, self._axis = condition, number, axis
        self._fits = None if axis.codes is None else self._of(axis.values)

    def holds(self, places: np.ndarray) -> np.ndarray:
        if self._fits is None:
            return self._of(map(self._axis.decode, places))
        return self._fits[self._axis.index(places)]

    def _of(self, values: Iterable[Any]) -> np.ndarray:
        name = self._condition.name
        return np.array([self._condition.holds({name: value}) for value in values], bool)


def conditions_in(space: SearchSpace) -> tuple[tuple[Any, tuple[Condition, ...]], ...]:
    """Return what is known of when each hyperparameter exists.

    Spaces for which it is equal have the same cube.
    """
    return tuple((parameter.key, space.conditions(parameter)) for parameter in space.parameters)


def _axis(parameter: HyperParameter, column: int) -> Axis:
    count = parameter.count
    is_choice = isinstance(parameter, Choice)
    if count is None or (count > _MAX_CODES and not is_choice):
        return Axis(parameter, (), None, column, None)
    is_category = encoding_of(parameter).kind == "category"
    values = tuple(parameter.every_value())
    if is_choice:
        values = values if is_category else tuple(sorted(values))
        codes = (np.arange(count) + 0.5) / count
    else:
        values = tuple(sorted(values, key=parameter.value_to_prob))
        codes = np.array([parameter.value_to_prob(value) for value in values])
    directions = _directions(count) if is_category else None
    return Axis(parameter, values, codes, None if count == 1 else column, directions)


def _directions(count: int) -> np.ndarray:
    """Return vectors of unit length, shape (count, columns)."""
    if count <= _MAX_COLUMNS:
        return np.eye(count)
    drawn = np.random.default_rng(0).normal(size=(count, _MAX_COLUMNS))
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)
