"""A Gaussian process of costs: the model of Bayesian optimisation. NumPy; runs in the driver.

The kernel is a Matérn 5/2 with a length scale for each hyperparameter (Snoek et al., "Practical
Bayesian Optimization of Machine Learning Algorithms", NeurIPS 2012). The prior of the length scales
grows with the square root of their number (Hvarfner et al., "Vanilla Bayesian Optimization Performs
Great in High Dimensions", ICML 2024). Costs may be on a logarithmic scale from the lowest (Snelson
et al., "Warped Gaussian Processes", NeurIPS 2003). Length scales, noise and cost scale are the most
probable ones.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from glimr_keras.oracles.ascent import ascend

_NOISE, _NOISE_DEVIATION = math.log(1e-4), 2.0
_NOISE_BOUNDS = (math.log(1e-8), 0.0)
_SCALE_BOUNDS = (math.log(0.01), math.log(100))
_JITTER = 1e-10
_ROOT_5 = math.sqrt(5)
_STEPS = 30
_STEP = 0.1
"""The step in the logarithms of length scales and noise for measuring curvature."""
_SOFTNESS = (1.0, 0.1, 0.01)
"""Distances above the lowest cost, in quartile ranges, at which the scale becomes logarithmic."""


@dataclasses.dataclass(frozen=True)
class CostScale:
    """The scale on which a model sees costs: linear, or logarithmic from the lowest.

    Attributes:
        lowest: The lowest cost.
        softness: The distance above it at which the scale becomes logarithmic, in the unit of
            costs; `inf` for a linear scale.
    """

    lowest: float
    softness: float

    def seen(self, costs: np.ndarray) -> np.ndarray:
        if math.isinf(self.softness):
            return costs
        return np.log((costs - self.lowest) / self.softness + 1)

    def log_slope(self, costs: np.ndarray) -> float:
        """Return the sum over costs of the logarithm of the scale's slope."""
        if math.isinf(self.softness):
            return 0.0
        return -float(np.log(costs - self.lowest + self.softness).sum())


@dataclasses.dataclass(frozen=True)
class Settings:
    """The settings that a Gaussian process has learned besides its data.

    Attributes:
        scales: The length scale of each hyperparameter, shape (groups,).
        noise: The variance of the noise, relative to the variance of the costs.
        softness: The softness of its cost scale, above the lowest cost it knows.
    """

    scales: np.ndarray
    noise: float
    softness: float


def learned(points: np.ndarray, costs: np.ndarray, groups: np.ndarray) -> Settings:
    """Return the most probable settings.

    Args:
        points: Shape (points, columns), each from 0 to 1.
        costs: Shape (points,).
        groups: The number of the length scale of each column, shape (columns,), from 0.
    """
    fit = _Fit(points, groups)
    lowest = float(costs.min())
    low, high = np.quantile(costs, (0.25, 0.75))
    spread = float(high - low) or float(costs.max() - lowest)
    softnesses = [math.inf, *(share * spread for share in _SOFTNESS)] if spread else [math.inf]
    found: list[tuple[float, int, np.ndarray, float]] = []
    for softness in softnesses:
        scale = CostScale(lowest, softness)
        seen, _, deviation = _standardized(scale.seen(costs))
        probability, at = fit.best(seen)
        # scaled costs are divided by their deviation, which is a part of the slope
        evidence = probability + scale.log_slope(costs) - len(costs) * math.log(deviation)
        found.append((evidence, -len(found), at, softness))
    _, _, at, softness = max(found, key=lambda entry: entry[:2])
    return Settings(np.exp(at[:-1]), math.exp(at[-1]), softness)


def drawn(
    settings: Settings, points: np.ndarray, costs: np.ndarray, groups: np.ndarray, count: int
) -> list[Settings]:
    """Draw other settings by their probability.

    They differ where few results leave them open. The probability is taken to be normal near its
    maximum (MacKay, "Information Theory, Inference, and Learning Algorithms", 2003, chapter 27).

    Args:
        settings: The settings learned from these points.
        points, costs, groups: As for `learned`.
        count: The number of settings to draw.
    """
    at = np.log(np.append(settings.scales, settings.noise))
    seen = _standardized(CostScale(float(costs.min()), settings.softness).seen(costs))[0]
    return [
        Settings(np.exp(other[:-1]), math.exp(other[-1]), settings.softness)
        for other in _Fit(points, groups).drawn(seen, at, count)
    ]


class GaussianProcess:
    """A model of costs at points of the unit cube.

    Args:
        points: Shape (points, columns), each from 0 to 1.
        costs: Shape (points,).
        groups: The number of the length scale of each column, shape (columns,), from 0.
        settings: The settings learned from these points, or from some of them.

    Attributes:
        settings: The argument.
    """

    def __init__(
        self, points: np.ndarray, costs: np.ndarray, groups: np.ndarray, settings: Settings
    ) -> None:
        self.settings = settings
        self._cost_scale = CostScale(float(costs.min()), settings.softness)
        self._scales = settings.scales[groups]
        self._points = points / self._scales
        standardized, mean, self._deviation = _standardized(self._cost_scale.seen(costs))
        covariance = _matern(_squares(self._points, self._points))[0]
        covariance[np.diag_indices(len(points))] = 1 + settings.noise + _JITTER
        self._whitening = np.linalg.inv(np.linalg.cholesky(covariance))
        self._costs, level = _centred(standardized, self._whitening)
        self._mean = mean + level * self._deviation
        self._weights = self._whitening.T @ (self._whitening @ self._costs)
        self._variance = max(float(self._costs @ self._weights) / len(costs), 1e-12)

    def seen(self, costs: np.ndarray) -> np.ndarray:
        """Return costs in the unit of predictions."""
        return (self._cost_scale.seen(costs) - self._mean) / self._deviation

    @property
    def lowest(self) -> float:
        """Return the lowest cost that it knows or fantasizes, in the unit of `seen`."""
        return float(self._costs.min())

    def fantasize(self, points: np.ndarray) -> None:
        """Add points with unknown costs, as if they had their expected costs.

        Args:
            points: Shape (points, columns).
        """
        if not len(points):
            return
        scaled = points / self._scales
        covariance = _matern(_squares(scaled, self._points))[0]
        half = covariance @ self._whitening.T
        rest = _matern(_squares(scaled, scaled))[0] - half @ half.T
        rest[np.diag_indices(len(points))] += self.settings.noise + _JITTER
        whitened = np.linalg.inv(np.linalg.cholesky(rest))
        size, total = len(self._points), len(self._points) + len(points)
        whitening = np.zeros((total, total))
        whitening[:size, :size] = self._whitening
        whitening[size:, :size] = -whitened @ half @ self._whitening
        whitening[size:, size:] = whitened
        expected = covariance @ self._weights
        self._whitening, self._points = whitening, np.vstack([self._points, scaled])
        self._costs = np.append(self._costs, expected)
        self._weights = whitening.T @ (whitening @ self._costs)

    def predict(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and standard deviation at each of `points`, in the unit of `seen`.

        Args:
            points: Shape (points, columns).
        """
        covariance = _matern(_squares(points / self._scales, self._points))[0]
        half = covariance @ self._whitening.T
        variance = self._variance * (1 - np.einsum("ij,ij->i", half, half))
        return covariance @ self._weights, np.sqrt(np.maximum(variance, 1e-14))

    def joint(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the mean of `predict`, and the covariance of `points`, shape (points, points)."""
        scaled = points / self._scales
        covariance = _matern(_squares(scaled, self._points))[0]
        half = covariance @ self._whitening.T
        between = _matern(_squares(scaled, scaled))[0] - half @ half.T
        return covariance @ self._weights, self._variance * between

    @property
    def noise(self) -> float:
        """Return the variance of a cost at one place, in the unit of `seen`."""
        return self._variance * (self.settings.noise + _JITTER)

    def slopes(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Return the results of `predict` and their slopes, shape (points, columns) each."""
        scaled = points / self._scales
        covariance, slope = _matern(_squares(scaled, self._points))
        half = covariance @ self._whitening.T
        mean = covariance @ self._weights
        variance = self._variance * (1 - np.einsum("ij,ij->i", half, half))
        deviation = np.sqrt(np.maximum(variance, 1e-14))
        by_mean = slope * self._weights
        by_variance = slope * (half @ self._whitening)
        mean_slope = self._against(by_mean, scaled)
        deviation_slope = -self._variance * self._against(by_variance, scaled) / deviation[:, None]
        return mean, deviation, mean_slope, deviation_slope

    def _against(self, weights: np.ndarray, scaled: np.ndarray) -> np.ndarray:
        """Return the slope of the sum over known points of the kernel times weights."""
        return -(weights.sum(axis=1)[:, None] * scaled - weights @ self._points) / self._scales


class _Fit:
    """The search for the most probable length scales and noise at the same points."""

    def __init__(self, points: np.ndarray, groups: np.ndarray) -> None:
        self._count, self._groups_count = len(points), int(groups.max()) + 1
        self._squares = np.zeros((self._groups_count, self._count**2))
        for column, group in enumerate(groups):
            difference = points[:, None, column] - points[None, :, column]
            self._squares[group] += (difference**2).ravel()
        scale = math.log(0.25 * math.sqrt(self._groups_count))
        self._prior = np.append(np.full(self._groups_count, scale), _NOISE)
        self._deviations = np.append(np.ones(self._groups_count), _NOISE_DEVIATION)
        self._bounds = np.array([_SCALE_BOUNDS] * self._groups_count + [_NOISE_BOUNDS]).T

    def best(self, costs: np.ndarray) -> tuple[float, np.ndarray]:
        """Return the logarithms of the probability, and of length scales and noise.

        Args:
            costs: Shape (points,), with mean 0 and deviation 1.
        """

        def probability(at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            value, slope = self._probability(at[0], costs)
            return np.array([value]), slope[None]

        low, high = self._bounds
        at, values = ascend(probability, self._prior[None], low, high, steps=_STEPS)
        return float(values[0]), at[0]

    def drawn(self, costs: np.ndarray, at: np.ndarray, count: int) -> np.ndarray:
        """Draw logarithms of length scales and noise, shape (count, groups + 1).

        Args:
            costs: As for `best`.
            at: The result of `best`.
            count: The number to draw.
        """
        size = len(at)
        curvature = np.empty((size, size))
        for number in range(size):
            step = np.zeros(size)
            step[number] = _STEP
            below, above = (self._probability(at + side, costs)[1] for side in (-step, step))
            curvature[number] = (below - above) / (2 * _STEP)
        values, vectors = np.linalg.eigh((curvature + curvature.T) / 2)
        widths = 1 / np.sqrt(np.maximum(values, 1 / self._deviations.max() ** 2))
        normal = np.random.default_rng(0).normal(size=(count, size))
        return np.clip(at + (normal * widths) @ vectors.T, *self._bounds)

    def _probability(self, at: np.ndarray, costs: np.ndarray) -> tuple[float, np.ndarray]:
        count, noise = self._count, math.exp(at[-1])
        shares = np.exp(-2 * at[:-1])
        covariance, slope = _matern((shares @ self._squares).reshape(count, count))
        covariance[np.diag_indices(count)] = 1 + noise + _JITTER
        whitening = np.linalg.inv(np.linalg.cholesky(covariance))
        inverse = whitening.T @ whitening
        costs = _centred(costs, whitening)[0]
        weights = inverse @ costs
        variance = max(float(costs @ weights) / count, 1e-12)
        away = (at - self._prior) / self._deviations
        value = (
            float(np.log(np.diag(whitening)).sum())
            - 0.5 * count * math.log(variance)
            - 0.5 * float(away @ away)
        )
        by_covariance = 0.5 * (np.outer(weights, weights) / variance - inverse)
        by_scale = shares * (self._squares @ (by_covariance * slope).ravel())
        by_noise = noise * float(np.trace(by_covariance))
        return value, np.append(by_scale, by_noise) - away / self._deviations


def _standardized(costs: np.ndarray) -> tuple[np.ndarray, float, float]:
    """Return costs with mean 0 and deviation 1, and their mean and deviation."""
    mean, deviation = float(costs.mean()), float(costs.std()) or 1.0
    return (costs - mean) / deviation, mean, deviation


def _centred(costs: np.ndarray, whitening: np.ndarray) -> tuple[np.ndarray, float]:
    """Return costs minus their level, and that level.

    The process returns to this level far from all points. It is the most probable one; many results
    close together add no more to it than one.
    """
    ones = whitening.sum(axis=1)
    level = float(ones @ (whitening @ costs) / (ones @ ones))
    return costs - level, level


def _squares(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return the squared distances between two sets of points."""
    squares = (left**2).sum(axis=1)[:, None] + (right**2).sum(axis=1) - 2 * (left @ right.T)
    return np.maximum(squares, 0.0)


def _matern(squares: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the kernel, and its slope by half of the squared distance, without the sign."""
    distance = _ROOT_5 * np.sqrt(squares)
    decay = np.exp(-distance)
    return (1 + distance + distance**2 / 3) * decay, 5 / 3 * (1 + distance) * decay
