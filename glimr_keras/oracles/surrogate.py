"""What a Gaussian process proposes in a search space with conditions. NumPy; runs in the driver."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from glimr_keras.oracles.encodings import encoding_of
from glimr_keras.oracles.gaussian_process import GaussianProcess, log_expected_improvement
from glimr_keras.space.hp_types import HyperParameter
from glimr_keras.space.search_space import SearchSpace

_RANDOM = 256
_TOP = 10
_CHANGED = 12
"""So many neighbours of each of the best configurations are looked at."""
_SHIFTED = 20
_SHIFTS = (0.1, 0.03, 0.01, 0.003)
"""The numbers of the most promising configurations are then shifted by so much, ever less."""
_MAX_RESULTS = 500
_CUT = 4.0
"""Costs that are so many times further above the median than the lower quartile is below it count
as that much.
"""


@dataclasses.dataclass(frozen=True)
class _Columns:
    """Where in a point a hyperparameter is: a column of its own, or one for each option.

    Attributes:
        options: The options of a category; empty for numbers.
    """

    parameter: HyperParameter
    first: int
    options: tuple[Any, ...]

    @property
    def width(self) -> int:
        return max(1, len(self.options))


class Surrogate:
    """Proposes configurations of a space in which a Gaussian process expects low costs.

    A hyperparameter that does not exist in a configuration counts as being in the middle of its
    range, so configurations differ in it only where both have it.

    Args:
        space: The hyperparameters, and where each exists.
        configurations: Value by name, of finished trials; at least one.
        costs: Of each; smaller is better.
        running: Value by name, of trials without a result.
    """

    def __init__(
        self,
        space: SearchSpace,
        configurations: Sequence[Mapping[str, Any]],
        costs: Sequence[float],
        running: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        self._space = space
        self._columns: dict[Any, _Columns] = {}
        width = 0
        for parameter in space.parameters:
            if parameter.count != 1:
                options = (
                    tuple(parameter.every_value())
                    if encoding_of(parameter).kind == "category"
                    else ()
                )
                self._columns[parameter.key] = _Columns(parameter, width, options)
                width += self._columns[parameter.key].width
        groups = np.repeat(
            np.arange(len(self._columns)), [columns.width for columns in self._columns.values()]
        )
        recent = _most_telling(np.asarray(costs, float))
        self._best = [configurations[number] for number in recent[:_TOP]]
        points = np.stack([self._point(configurations[number])[0] for number in recent])
        limited = _limited(np.asarray(costs, float)[recent])
        self._lowest = float(limited.min())
        self._process = GaussianProcess(points, limited, groups)
        if running:
            self._process.fantasize(np.stack([self._point(values)[0] for values in running]))

    def proposals(self, generator: np.random.Generator) -> Iterator[dict[str, Any]]:
        """Configurations, the most promising first."""
        pool = [self._drawn(generator) for _ in range(_RANDOM)]
        pool += [self._changed(values, generator) for values in self._best for _ in range(_CHANGED)]
        points = np.stack([self._point(values)[0] for values in pool])
        gains = self._gains(points)
        order = np.argsort(-gains, kind="stable")
        yield from self._shifted(
            [pool[number] for number in order[:_TOP]],
            points[order[:_TOP]],
            gains[order[:_TOP]],
            generator,
        )
        yield from (pool[number] for number in order)

    def _shifted(
        self,
        pool: list[dict[str, Any]],
        points: np.ndarray,
        gains: np.ndarray,
        generator: np.random.Generator,
    ) -> Iterator[dict[str, Any]]:
        """The most promising configurations with numbers that are more so."""
        numbers = np.stack([self._point(values)[1] for values in pool])
        origins = np.arange(len(pool))
        for shift in _SHIFTS:
            new_origins = np.repeat(origins, _SHIFTED)
            moves = (
                shift
                * generator.normal(size=(len(new_origins), points.shape[1]))
                * numbers[new_origins]
            )
            moved = np.clip(np.repeat(points, _SHIFTED, axis=0) + moves, 0, 1)
            points, gains = np.vstack([points, moved]), np.append(gains, self._gains(moved))
            origins = np.append(origins, new_origins)
            best = np.argsort(-gains, kind="stable")[:_TOP]
            points, gains, origins = points[best], gains[best], origins[best]
        for point, origin in zip(points, origins, strict=True):
            yield self._configuration(point, pool[origin], generator)

    def _gains(self, points: np.ndarray) -> np.ndarray:
        return log_expected_improvement(*self._process.predict(points), self._lowest)

    def _point(self, values: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
        """A configuration as a point, shape (columns,), and which of the columns are numbers that
        it has.
        """
        width = sum(columns.width for columns in self._columns.values())
        point, is_number = np.full(width, 0.5), np.zeros(width, bool)
        for columns in self._columns.values():
            parameter, first = columns.parameter, columns.first
            has = (
                parameter.name in values
                and parameter.exists(values)
                and parameter.allows(values[parameter.name])
            )
            if columns.options:
                point[first : first + columns.width] = 0.0
                if has:
                    point[first + columns.options.index(values[parameter.name])] = 1.0
            elif has:
                point[first], is_number[first] = (
                    parameter.value_to_prob(values[parameter.name]),
                    True,
                )
        return point, is_number

    def _configuration(
        self, point: np.ndarray, values: Mapping[str, Any], generator: np.random.Generator
    ) -> dict[str, Any]:
        """The configuration with the numbers of a point, and the rest of `values`."""

        def choose(parameter: HyperParameter) -> Any:
            columns = self._columns.get(parameter.key)
            if parameter.name not in values:
                return parameter.prob_to_value(generator.random())
            if columns is None or columns.options:
                return values[parameter.name]
            return parameter.prob_to_value(min(float(point[columns.first]), 1 - 1e-12))

        return self._space.walk(choose)

    def _drawn(self, generator: np.random.Generator) -> dict[str, Any]:
        return self._space.walk(lambda parameter: parameter.prob_to_value(generator.random()))

    def _changed(self, values: Mapping[str, Any], generator: np.random.Generator) -> dict[str, Any]:
        """A neighbour of a configuration: some numbers are near, and some options others."""
        share = max(0.3, 1 / max(1, len(values)))

        def choose(parameter: HyperParameter) -> Any:
            value = values.get(parameter.name)
            if parameter.name not in values or not parameter.allows(value):
                return parameter.prob_to_value(generator.random())
            if parameter.count == 1 or generator.random() > share:
                return value
            if self._columns[parameter.key].options:
                return parameter.prob_to_value(generator.random())
            near = np.clip(parameter.value_to_prob(value) + 0.15 * generator.normal(), 0, 1 - 1e-12)
            return parameter.prob_to_value(float(near))

        return self._space.walk(choose)


def _most_telling(costs: np.ndarray) -> np.ndarray:
    """The numbers of the results that are used, the best first: all, or the better half of the room
    and the last ones.
    """
    order = np.argsort(costs, kind="stable")
    if len(costs) <= _MAX_RESULTS:
        return order
    best = order[: _MAX_RESULTS // 2]
    others = np.sort(order[_MAX_RESULTS // 2 :])
    return np.append(best, others[-(_MAX_RESULTS - len(best)) :])


def _limited(costs: np.ndarray) -> np.ndarray:
    """Costs without the extreme ones, as of trainings that diverged, beside which all others would
    look alike.
    """
    finite = costs[np.isfinite(costs)]
    costs = np.where(np.isfinite(costs), costs, finite.max() if len(finite) else 0.0)
    lower, median = np.quantile(costs, (0.25, 0.5))
    return np.minimum(costs, median + _CUT * (median - lower)) if median > lower else costs
