"""The expected gain of a point, and where it is highest. NumPy; runs in the driver."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from glimr_keras.oracles.ascent import ascend
from glimr_keras.oracles.gaussian_process import GaussianProcess

_FAR = -25.0
"""Beyond this many deviations above the best, an expansion replaces the formula."""


@dataclasses.dataclass
class Gain:
    """The logarithm of the expected improvement, accurate also if it is close to 0.

    For several processes, it is the logarithm of the mean (Snoek et al.).

    Args:
        processes: Processes of the same points and costs, with different settings.
        bests: The lowest cost so far for each process, in its unit.

    References:
        Ament et al., "Unexpected Improvements to Expected Improvement for Bayesian Optimization",
        NeurIPS 2023.
        Snoek et al., "Practical Bayesian Optimization of Machine Learning Algorithms", NeurIPS
        2012.
    """

    processes: Sequence[GaussianProcess]
    bests: list[float]

    def at(self, points: np.ndarray) -> np.ndarray:
        """Return the gain at each of `points`, shape (points, columns)."""
        gains = [
            _gain(best, mean, deviation)
            for best, (mean, deviation) in zip(
                self.bests, (process.predict(points) for process in self.processes), strict=True
            )
        ]
        return _log_mean(np.stack(gains))[0]

    def several(self, points: np.ndarray, count: int, apart: float) -> list[int]:
        """Return the numbers of the points with the highest gain, chosen one after the other.

        The points chosen before count as if they had their expected costs.

        Args:
            points: Shape (points, columns).
            count: The number of points to choose; fewer if there are no others far enough apart.
            apart: The minimum distance between them in some column.
        """
        expected = [
            _Expected(*process.joint(points), process.noise, best, count)
            for process, best in zip(self.processes, self.bests, strict=True)
        ]
        chosen: list[int] = []
        is_left = np.ones(len(points), bool)
        while len(chosen) < count and is_left.any():
            gains = _log_mean(np.stack([each.gain for each in expected]))[0]
            chosen.append(int(np.argmax(np.where(is_left, gains, -np.inf))))
            is_left &= np.abs(points - points[chosen[-1]]).max(axis=1) >= apart
            is_left[chosen[-1]] = False
            for each in expected:
                each.take(chosen[-1])
        return chosen

    def climb(
        self, points: np.ndarray, free: np.ndarray, steps: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Move points to where the gain is highest nearby.

        Args:
            points: Shape (points, columns), each from 0 to 1.
            free: Which columns may change, shape (points, columns).
            steps: The maximum number of steps.

        Returns:
            The points, and the gain at each.
        """
        low = np.zeros(points.shape[1])
        return ascend(self._slopes, points, low, low + 1, free, steps, tolerance=1e-4)

    def _slopes(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        gains, slopes = [], []
        for process, best in zip(self.processes, self.bests, strict=True):
            mean, deviation, mean_slope, deviation_slope = process.slopes(points)
            gain = (best - mean) / deviation
            value, slope = _log_gain(gain)
            by_deviation = (1 - slope * gain) / deviation
            by_mean = -slope / deviation
            gains.append(np.log(deviation) + value)
            slopes.append(by_mean[:, None] * mean_slope + by_deviation[:, None] * deviation_slope)
        value, shares = _log_mean(np.stack(gains))
        return value, np.einsum("kp,kpc->pc", shares, np.stack(slopes))


class _Expected:
    """The expectations of one process for some points, as some of them are taken.

    Args:
        mean: Shape (points,).
        covariance: Shape (points, points).
        noise: The variance of a cost at one place.
        best: The lowest cost.
        count: The maximum number of points to take.
    """

    def __init__(
        self, mean: np.ndarray, covariance: np.ndarray, noise: float, best: float, count: int
    ) -> None:
        self._mean, self._covariance, self._noise, self._best = mean, covariance, noise, best
        self._variance = np.diag(covariance).copy()
        self._factors = np.zeros((count, len(mean)))  # the knowledge from the taken points
        self._taken = 0

    @property
    def gain(self) -> np.ndarray:
        """Return the present gain of each of the points."""
        return _gain(self._best, self._mean, np.sqrt(np.maximum(self._variance, 1e-14)))

    def take(self, number: int) -> None:
        """Count a point as if it had its expected cost."""
        known = self._factors[: self._taken]
        shared = self._covariance[number] - known[:, number] @ known
        factor = shared / np.sqrt(max(self._variance[number], 0.0) + self._noise)
        self._factors[self._taken] = factor
        self._variance -= factor**2
        self._best = min(self._best, float(self._mean[number]))
        self._taken += 1


def _gain(best: float, mean: np.ndarray, deviation: np.ndarray) -> np.ndarray:
    """Return the logarithm of the expected improvement of one process."""
    return np.log(deviation) + _log_gain((best - mean) / deviation)[0]


def _log_mean(logarithms: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the logarithm of a mean over the first axis, and its slopes by the inputs."""
    highest = logarithms.max(axis=0)
    powers = np.exp(logarithms - highest)
    total = powers.sum(axis=0)
    return highest + np.log(total / len(logarithms)), powers / total


def _log_gain(gain: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the logarithm of the expected improvement in deviations, and its slope by `gain`."""
    density = np.exp(-0.5 * gain**2) / math.sqrt(2 * math.pi)
    below = (-gain / math.sqrt(2)).tolist()  # faster than item by item, and bitwise the same
    share = 0.5 * np.array(list(map(math.erfc, below)))
    near = np.maximum(gain * share + density, 1e-300)
    far = np.minimum(gain, _FAR)
    log_far = -0.5 * far**2 - 0.5 * math.log(2 * math.pi) - 2 * np.log(-far) + np.log1p(-3 / far**2)
    # the slope of the logarithm is the share over the gain: by their expansions -far (1 + 2 / far²)
    slope = np.where(gain > _FAR, share / near, -far - 2 / far)
    return np.where(gain > _FAR, np.log(near), log_far), slope
