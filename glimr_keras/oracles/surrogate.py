"""Results in a search space, and the proposals of a Gaussian process from them.

NumPy; runs in the driver.
"""

from __future__ import annotations

import array
import dataclasses
import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from glimr_keras.oracles.acquisition import Gain
from glimr_keras.oracles.gaussian_process import GaussianProcess, Settings, drawn, learned
from glimr_keras.oracles.proposals import TOP, Model, Proposals
from glimr_keras.oracles.unit_cube import UnitCube
from glimr_keras.space.search_space import SearchSpace

_DRAWN = 7
"""With few results, this many settings of the process are used besides the most probable."""
_MAX_RESULTS = 300
_MAX_RUNNING = 100
_MAX_LEARNED = 100
"""The number of points that determine length scales and noise, which takes longest."""
_CUT = 4.0
"""Costs are limited to the median plus this many times its distance from the lower quartile."""


class Surrogate:
    """Propose configurations in which a Gaussian process expects low costs.

    A hyperparameter that does not exist in a configuration counts as being in the middle of its
    range. So configurations differ in it only if both have it. The proposals depend only on the
    results and their order.

    Args:
        space: The hyperparameters, and when each exists. It may grow.
    """

    def __init__(self, space: SearchSpace) -> None:
        self._space = space
        self._told: list[Mapping[str, Any]] = []
        self._costs = array.array("d")
        self._num_scored = array.array("l", [0])  # by the number of results
        self._cube = UnitCube(space)
        self._known_rows: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        self._learned: dict[int, list[Settings]] = {}

    def tell(self, values: Mapping[str, Any], cost: float) -> None:
        """Add a result.

        Args:
            values: Value by name, of a finished trial.
            cost: The cost; smaller is better, and infinite means a failed trial.
        """
        self._told.append(values)
        self._costs.append(cost)
        self._num_scored.append(self._num_scored[-1] + math.isfinite(cost))

    def num_scored(self, count: int | None = None) -> int:
        """Return the number of results of trials that did not fail.

        Args:
            count: Only the first `count` results are counted. Defaults to `None`, which means all.
        """
        return self._num_scored[-1 if count is None else count]

    def prepared(self, running: Sequence[Mapping[str, Any]], count: int | None = None) -> Prepared:
        """Return all that the proposals depend on now.

        Another thread may use it: later results make no difference.

        Args:
            running: Value by name, of trials without a result.
            count: Only the first `count` results are used. Defaults to `None`, which means all.

        Raises:
            ValueError: If there are no results, or nothing can be searched.
        """
        if not self._cube.is_of(self._space):
            before, self._cube = self._cube, UnitCube(self._space)
            if not self._cube.has_axes_of(before):
                self._known_rows, self._learned = {}, {}
        costs = np.array(self._costs[:count])
        if not len(costs) or not len(self._cube.groups):
            raise ValueError("A surrogate needs at least one result and one hyperparameter.")
        used = _most_telling(costs)
        rows, points = self._of(used)
        return Prepared(
            self._cube,
            points,
            _limited(costs)[used],
            rows[:TOP],
            self._cube.points(*self._cube.rows(running[-_MAX_RUNNING:])),
            self._lesson(costs),
        )

    def _of(self, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return rows and points of some of the results."""
        known = self._known_rows
        new = [number for number in numbers.tolist() if number not in known]
        found = zip(*self._cube.rows([self._told[number] for number in new]), strict=True)
        known |= dict(zip(new, found, strict=True))
        rows, existing = map(np.stack, zip(*(known[number] for number in numbers), strict=True))
        if len(known) > 4 * _MAX_RESULTS:
            self._known_rows = {number: known[number] for number in numbers.tolist()}
        return rows, self._cube.points(rows, existing)

    def _lesson(self, costs: np.ndarray) -> Callable[[], list[Settings]]:
        """Return a function that learns from results, less often as their number grows."""
        count = _last_learned(len(costs))
        known = self._learned
        if count in known:
            settings = known[count]
            return lambda: settings
        limited = _limited(costs[:count])
        few = np.sort(np.argsort(limited, kind="stable")[:: -(-count // _MAX_LEARNED)])
        data = self._of(few)[1], limited[few], self._cube.groups

        def lesson() -> list[Settings]:
            best = learned(*data)
            others = drawn(best, *data, _DRAWN) if count <= _MAX_LEARNED else []
            known.clear()
            known[count] = [best, *others]
            return [best, *others]

        return lesson


@dataclasses.dataclass(frozen=True)
class Prepared:
    """All that proposals depend on, at one point in time.

    Attributes:
        cube: The space.
        points: The points of the results, shape (points, columns).
        costs: The costs of the results, shape (points,).
        best_rows: The rows of the best results.
        running: The points of the running trials, shape (points, columns).
        lesson: A function that returns the settings of the model.
    """

    cube: UnitCube
    points: np.ndarray
    costs: np.ndarray
    best_rows: np.ndarray
    running: np.ndarray
    lesson: Callable[[], list[Settings]]

    def ranked(self, generator: np.random.Generator) -> Iterator[dict[str, Any]]:
        """Return configurations, the most promising first. They are computed at once.

        Args:
            generator: The source of the random candidates.
        """
        rows = Proposals(self.cube, self.model(), generator).ranked()
        return map(self.cube.configuration, rows)

    def several(self, generator: np.random.Generator, count: int) -> Several:
        """Return configurations for consecutive trials, computed now.

        Args:
            generator: As for `ranked`.
            count: The number of trials.
        """
        return Several(self.cube, *Proposals(self.cube, self.model(), generator).several(count))

    def model(self) -> Model:
        """Return the model."""
        groups = self.cube.groups
        processes = [
            GaussianProcess(self.points, self.costs, groups, settings) for settings in self.lesson()
        ]
        for process in processes:
            process.fantasize(self.running)
        bests = [process.lowest for process in processes]
        return Model(Gain(processes, bests), self.best_rows, self.running)


@dataclasses.dataclass(frozen=True)
class Several:
    """Proposals for several trials.

    Attributes:
        cube: The space.
        rows: One row for each trial, apart from each other; the last trials may have none.
        ranked: All candidates, the most promising first.
    """

    cube: UnitCube
    rows: np.ndarray
    ranked: np.ndarray

    def of(self, number: int) -> Iterator[dict[str, Any]]:
        """Return configurations for one of the trials, the most promising first.

        Args:
            number: The number of the trial, counted from 0.
        """
        own = self.rows[number : number + 1]
        return map(self.cube.configuration, itertools.chain(own, self.ranked))


def _last_learned(count: int) -> int:
    """Return at which of `count` results it learned last: from 30 on, at growing intervals."""
    last = min(count, 30)
    while (following := last + max(1, last // 10)) <= count:
        last = following
    return last


def _most_telling(costs: np.ndarray) -> np.ndarray:
    """Return the numbers of the results to use, the best ones first.

    If they exceed the limit, half of it is for the best results, and half for the latest others.
    """
    order = np.argsort(costs, kind="stable")
    if len(costs) <= _MAX_RESULTS:
        return order
    best = order[: _MAX_RESULTS // 2]
    others = np.sort(order[_MAX_RESULTS // 2 :])
    return np.append(best, others[-(_MAX_RESULTS - len(best)) :])


def _limited(costs: np.ndarray) -> np.ndarray:
    """Return costs with extreme ones limited.

    Next to them, such as from trainings that diverged, all others would look alike.
    """
    finite = costs[np.isfinite(costs)]
    costs = np.where(np.isfinite(costs), costs, finite.max() if len(finite) else 0.0)
    lower, median = np.quantile(costs, (0.25, 0.5))
    return np.minimum(costs, median + _CUT * (median - lower)) if median > lower else costs
