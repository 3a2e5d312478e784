"""A Gaussian process and what it expects to gain: the model of Bayesian optimisation. NumPy; runs
in the driver.

The kernel is a Matérn 5/2 with a length scale for each hyperparameter (Snoek et al., "Practical
Bayesian Optimization of Machine Learning Algorithms", NeurIPS 2012), whose prior grows with the
square root of their number (Hvarfner et al., "Vanilla Bayesian Optimization Performs Great in High
Dimensions", ICML 2024). Length scales and noise are those that are most probable.
"""

from __future__ import annotations

import math

import numpy as np

_STEPS = 60
_RATE = 0.1
_NOISE = math.log(1e-3)
_NOISE_BOUNDS = (math.log(1e-6), 0.0)
_JITTER = 1e-9
_ROOT_5 = math.sqrt(5)
_MAX_FITTED = 100
"""So many points decide on length scales and noise, which takes longest."""


class GaussianProcess:
    """A model of costs at points of the unit cube.

    Args:
        points: Shape (points, columns), each from 0 to 1.
        costs: Shape (points,). What is expected is in the same unit.
        groups: The number of the length scale of each column, shape (columns,), from 0.
    """

    def __init__(self, points: np.ndarray, costs: np.ndarray, groups: np.ndarray) -> None:
        self._points, self._groups = points, groups
        self._mean = float(costs.mean())
        self._deviation = float(costs.std()) or 1.0
        self._costs = (costs - self._mean) / self._deviation
        few = np.sort(np.argsort(costs, kind="stable")[:: max(1, -(-len(costs) // _MAX_FITTED))])
        self._scales, self._noise = _fitted(points[few], self._costs[few], groups)
        self._condition()

    def fantasize(self, points: np.ndarray) -> None:
        """Takes in points whose costs are not known yet, as if they were those that are expected.

        Args:
            points: Shape (points, columns).
        """
        expected = (self.predict(points)[0] - self._mean) / self._deviation
        self._points, self._costs = (
            np.vstack([self._points, points]),
            np.append(self._costs, expected),
        )
        self._condition()

    def predict(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation of the cost at each of `points`, shape (points, columns)."""
        covariance = _matern(points, self._points, self._scales[self._groups])[0]
        variance = self._variance * (
            1 - np.einsum("ij,jk,ik->i", covariance, self._inverse, covariance)
        )
        mean = covariance @ self._weights
        return self._mean + self._deviation * mean, self._deviation * np.sqrt(
            np.maximum(variance, 1e-12)
        )

    def _condition(self) -> None:
        covariance = _matern(self._points, self._points, self._scales[self._groups])[0]
        self._inverse = np.linalg.inv(
            covariance + (self._noise + _JITTER) * np.eye(len(covariance))
        )
        self._weights = self._inverse @ self._costs
        self._variance = max(float(self._costs @ self._weights) / len(self._costs), 1e-12)


def log_expected_improvement(mean: np.ndarray, deviation: np.ndarray, best: float) -> np.ndarray:
    """The logarithm of how much less than `best` the cost is expected to be, also where that is
    next to nothing.

    (Ament et al., "Unexpected Improvements to Expected Improvement for Bayesian Optimization",
    NeurIPS 2023.)
    """
    gain = (best - mean) / deviation
    density = np.exp(-0.5 * gain**2) / math.sqrt(2 * math.pi)
    share = 0.5 * np.array([math.erfc(-value / math.sqrt(2)) for value in gain])
    near = np.log(np.maximum(gain * share + density, 1e-300))
    with np.errstate(divide="ignore", invalid="ignore"):
        far = -0.5 * gain**2 - 0.5 * math.log(2 * math.pi) - 2 * np.log(-gain)
    return np.log(deviation) + np.where(gain > -5, near, far)


def _fitted(points: np.ndarray, costs: np.ndarray, groups: np.ndarray) -> tuple[np.ndarray, float]:
    """The length scale of each group and the noise that are most probable, found by gradient ascent
    (Adam).
    """
    count, groups_count = len(points), int(groups.max()) + 1
    prior_mean = np.append(np.full(groups_count, math.log(0.5 * math.sqrt(groups_count))), _NOISE)
    prior_deviation = np.append(np.ones(groups_count), 2.0)
    found, best, best_found = prior_mean.copy(), -math.inf, prior_mean
    first, second = np.zeros_like(found), np.zeros_like(found)
    for step in range(1, _STEPS + 1):
        noise = math.exp(found[-1])
        covariance, squares, slope = _matern(points, points, np.exp(found[:-1])[groups])
        inverse = np.linalg.inv(covariance + (noise + _JITTER) * np.eye(count))
        weights = inverse @ costs
        variance = max(float(costs @ weights) / count, 1e-12)
        probability = 0.5 * (np.linalg.slogdet(inverse)[1] - count * math.log(variance))
        probability -= 0.5 * (((found - prior_mean) / prior_deviation) ** 2).sum()
        if probability > best:
            best, best_found = probability, found.copy()
        covariance_gradient = 0.5 * (np.outer(weights, weights) / variance - inverse)
        columns = np.einsum("ij,ijk->k", covariance_gradient * slope, squares)
        gradient = (
            np.append(
                np.bincount(groups, columns, groups_count), noise * np.trace(covariance_gradient)
            )
            - (found - prior_mean) / prior_deviation**2
        )
        first, second = 0.9 * first + 0.1 * gradient, 0.99 * second + 0.01 * gradient**2
        found = found + _RATE * (first / (1 - 0.9**step)) / (
            np.sqrt(second / (1 - 0.99**step)) + 1e-9
        )
        found[-1] = np.clip(found[-1], *_NOISE_BOUNDS)
    return np.exp(best_found[:-1]), math.exp(best_found[-1])


def _matern(
    left: np.ndarray, right: np.ndarray, scales: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The kernel, the squared scaled differences by column, and the kernel's slope for those by the
    logarithm of a scale.
    """
    squares = ((left[:, None, :] - right[None, :, :]) / scales) ** 2
    distance = np.sqrt(squares.sum(axis=-1) + 1e-12)
    decay = np.exp(-_ROOT_5 * distance)
    kernel = (1 + _ROOT_5 * distance + 5 / 3 * distance**2) * decay
    return kernel, squares, 5 / 3 * (1 + _ROOT_5 * distance) * decay
