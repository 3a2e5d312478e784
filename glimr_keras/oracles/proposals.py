"""The search for configurations with the highest expected gain. NumPy; runs in the driver."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import numpy as np

from glimr_keras.oracles.acquisition import Gain
from glimr_keras.oracles.unit_cube import Axis, UnitCube

_RANDOM = 1000
TOP = 10
"""The number of points to climb from, and of best results whose neighbours are considered."""
_CHANGED = 40
"""The number of neighbours of each of the best results."""
_SHIFTS = 0.3, 0.1, 0.03, 0.01
_STEPS = 20
_ROUNDS = 3
_MAX_OPTIONS = 20
"""The number of options that are tried in place of one."""
_FEW = 5
"""Numbers with fewer values are not climbed, but stepped through."""
_CANDIDATES = 500
"""Several simultaneous proposals are chosen from this many of the most promising ones."""
_APART = 0.01
"""The minimum distance of concurrent trials in some hyperparameter, if possible; anything nearer is
practically the same.
"""


@dataclasses.dataclass
class Model:
    """The expected results of configurations.

    Attributes:
        gain: The expected gain of a point.
        best_rows: The best configurations so far, whose neighbours are considered.
        running: The points of the running trials, shape (points, columns).
    """

    gain: Gain
    best_rows: np.ndarray
    running: np.ndarray


class Proposals:
    """The search for configurations with the highest expected gain.

    Args:
        cube: The space.
        model: The model of the results.
        generator: The source of the random candidates.
    """

    def __init__(self, cube: UnitCube, model: Model, generator: np.random.Generator) -> None:
        self._cube, self._model, self._generator = cube, model, generator

    def ranked(self) -> np.ndarray:
        """Return rows, the most promising first, and those near running trials last."""
        drawn = self._generator.random((_RANDOM, len(self._cube.axes)))
        pool = self._cube.snapped(np.vstack([drawn, self._changed(self._model.best_rows)]))
        order = np.argsort(-self._gains(pool), kind="stable")
        best = pool[order[:TOP]]
        for _ in range(_ROUNDS):
            best = self._stepped(self._climbed(best))
        best = np.vstack([best[np.argsort(-self._gains(best), kind="stable")], pool[order]])
        is_near = self._is_near(best)
        return np.vstack([best[~is_near], best[is_near]])

    def several(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Return rows to propose at once, the most promising first, and all rows as `ranked`.

        Args:
            count: The number of proposals; fewer if there are no others far enough apart.
        """
        ranked = self.ranked()
        best = ranked[:_CANDIDATES]
        points = self._cube.points(best, self._cube.existing(best))
        return best[self._model.gain.several(points, count, _APART)], ranked

    def _is_near(self, rows: np.ndarray) -> np.ndarray:
        """Return which rows are near a running trial, shape (rows,)."""
        points = self._cube.points(rows, self._cube.existing(rows))
        is_near = np.zeros(len(points), bool)
        for point in self._model.running:
            is_near |= np.abs(points - point).max(axis=1) < _APART
        return is_near

    def _gains(self, rows: np.ndarray) -> np.ndarray:
        points = self._cube.points(rows, self._cube.existing(rows))
        return self._model.gain.at(points)

    def _changed(self, best_rows: np.ndarray) -> np.ndarray:
        """Return neighbours of the best rows, with some numbers moved and options replaced."""
        generator = self._generator
        rows = np.repeat(best_rows, _CHANGED, axis=0)
        existing = self._cube.existing(rows)
        share = np.maximum(0.3, 1 / np.maximum(1, existing.sum(axis=1)))[:, None]
        moves = generator.choice(_SHIFTS, (len(rows), 1)) * generator.normal(size=rows.shape)
        others = generator.random(rows.shape)
        is_category = np.array([axis.is_category for axis in self._cube.axes])
        changed = np.where(is_category, others, np.clip(rows + moves, 0, 1))
        is_changed = generator.random(rows.shape) < share
        return np.where(existing, np.where(is_changed, changed, rows), others)

    def _climbed(self, rows: np.ndarray) -> np.ndarray:
        """Return rows whose numbers are moved to a higher expected gain."""
        existing = self._cube.existing(rows)
        points = self._cube.points(rows, existing)
        axes = self._cube.axes
        numbers = [
            number
            for number, axis in enumerate(axes)
            if axis.column is not None
            and not axis.is_category
            and (axis.codes is None or len(axis.codes) >= _FEW)
        ]
        columns = np.array([axes[number].column for number in numbers], int)
        free = np.zeros(points.shape, bool)
        free[:, columns] = existing[:, numbers]
        if not free.any():
            return rows
        moved, _ = self._model.gain.climb(points, free, _STEPS)
        climbed = rows.copy()
        climbed[:, numbers] = np.where(existing[:, numbers], moved[:, columns], rows[:, numbers])
        return self._cube.snapped(climbed)

    def _stepped(self, rows: np.ndarray) -> np.ndarray:
        """Return rows with one option or integer replaced, if the expected gain grows."""
        origins, neighbours = [], []
        for origin, row in enumerate(rows):
            for number, axis in enumerate(self._cube.axes):
                if axis.column is None or axis.codes is None:
                    continue
                at = int(axis.index(row[number : number + 1])[0])
                for step in self._steps(axis, at):
                    if 0 <= step < len(axis.codes) and step != at:
                        neighbour = row.copy()
                        neighbour[number] = axis.codes[step]
                        neighbours.append(neighbour)
                        origins.append(origin)
        if not neighbours:
            return rows
        gains = self._gains(np.vstack([rows, neighbours]))
        best, best_gains = rows.copy(), gains[: len(rows)].copy()
        for origin, neighbour, gain in zip(origins, neighbours, gains[len(rows) :], strict=True):
            if gain > best_gains[origin]:
                best[origin], best_gains[origin] = neighbour, gain
        return best

    def _steps(self, axis: Axis, at: int) -> Iterable[int]:
        """Return the values of an axis to try in place of one.

        They are its neighbours for numbers; all options, or some if there are many.
        """
        if not axis.is_category:
            return at - 1, at + 1
        count = len(axis.values)
        if count <= _MAX_OPTIONS:
            return range(count)
        return self._generator.choice(count, _MAX_OPTIONS, replace=False).tolist()
