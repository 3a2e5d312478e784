"""Noiseless functions of the BBOB suite, rotated and shifted, to minimise in [-5, 5]^d.

Written from the definitions in Hansen, Finck, Ros and Auger, "Real-Parameter Black-Box Optimization
Benchmarking 2009: Noiseless Functions Definitions" (INRIA RR-6829). Minima are 0; they and the
rotations are drawn from a seed, not those of the suite's own instances.
"""

import dataclasses
import math

import numpy as np

LOW, HIGH = -5.0, 5.0


@dataclasses.dataclass(frozen=True)
class Instance:
    """Where a function has its minimum, and how it is turned.

    Attributes:
        optimum: Shape (d,), within [-4, 4].
        rotation, second: Orthogonal, shape (d, d).
    """

    optimum: np.ndarray
    rotation: np.ndarray
    second: np.ndarray

    @classmethod
    def drawn(cls, dimensions: int, seed: int) -> "Instance":
        generator = np.random.default_rng(seed)
        optimum = generator.uniform(-4, 4, dimensions)
        return cls(optimum, _orthogonal(generator, dimensions), _orthogonal(generator, dimensions))


def ellipsoid(x: np.ndarray, at: Instance) -> float:
    """f10: ill-conditioned, 1 to 10^6."""
    z = _oscillated(at.rotation @ (x - at.optimum))
    return float((10 ** (6 * _ramp(len(x))) * z**2).sum())


def attractive_sector(x: np.ndarray, at: Instance) -> float:
    """f6: one sector of the space is flat, the rest is steep."""
    z = at.second @ (_conditioning(10, len(x)) * (at.rotation @ (x - at.optimum)))
    slopes = np.where(z * at.optimum > 0, 100.0, 1.0)
    return float(_oscillated(np.array([((slopes * z) ** 2).sum()]))[0] ** 0.9)


def rosenbrock(x: np.ndarray, at: Instance) -> float:
    """f8: a bent valley. Its optimum is within [-3, 3]."""
    return _valley(max(1.0, math.sqrt(len(x)) / 8) * (x - 0.75 * at.optimum) + 1)


def rotated_rosenbrock(x: np.ndarray, at: Instance) -> float:
    """f9: a bent valley that no axis follows. Its optimum is where the rotation puts it."""
    return _valley(max(1.0, math.sqrt(len(x)) / 8) * (at.rotation @ x) + 0.5)


def sharp_ridge(x: np.ndarray, at: Instance) -> float:
    """f13: a ridge along which the function hardly falls, with a kink across it."""
    z = at.second @ (_conditioning(10, len(x)) * (at.rotation @ (x - at.optimum)))
    return float(z[0] ** 2 + 100 * math.sqrt((z[1:] ** 2).sum()))


def different_powers(x: np.ndarray, at: Instance) -> float:
    """f14: ever more sensitive to some directions near the optimum."""
    z = np.abs(at.rotation @ (x - at.optimum))
    return float(math.sqrt((z ** (2 + 4 * _ramp(len(x)))).sum()))


def rastrigin(x: np.ndarray, at: Instance) -> float:
    """f15: about 10^d local minima on a bowl."""
    bent = _skewed(_oscillated(at.rotation @ (x - at.optimum)), 0.2)
    z = at.rotation @ (_conditioning(10, len(x)) * (at.second @ bent))
    return float(10 * (len(x) - np.cos(2 * np.pi * z).sum()) + (z**2).sum())


def schaffers(x: np.ndarray, at: Instance) -> float:
    """f17: waves that become higher and more frequent away from the optimum."""
    bent = _skewed(at.rotation @ (x - at.optimum), 0.5)
    z = _conditioning(10, len(x)) * (at.second @ bent)
    s = np.sqrt(z[:-1] ** 2 + z[1:] ** 2)
    waves = np.sqrt(s) + np.sqrt(s) * np.sin(50 * s**0.2) ** 2
    return float(waves.mean() ** 2) + 10 * _outside(x)


def griewank_rosenbrock(x: np.ndarray, at: Instance) -> float:
    """f19: a bent valley full of local minima. Its optimum is where the rotation puts it."""
    z = max(1.0, math.sqrt(len(x)) / 8) * (at.rotation @ x) + 0.5
    s = 100 * (z[:-1] ** 2 - z[1:]) ** 2 + (z[:-1] - 1) ** 2
    return float(10 / (len(x) - 1) * (s / 4000 - np.cos(s)).sum() + 10)


def gallagher(x: np.ndarray, at: Instance) -> float:
    """f21: 101 peaks of random places, heights and forms; the highest is 10, at the optimum."""
    peaks, dimensions = 101, len(x)
    generator = np.random.default_rng(abs(hash_of(at.optimum)))
    places = generator.uniform(LOW, HIGH, (peaks, dimensions))
    places[0] = at.optimum
    heights = np.append(10.0, 1.1 + 8 * np.arange(peaks - 1) / (peaks - 2))
    conditions = np.append(1000.0, 1000 ** (2 * generator.permutation(peaks - 1) / (peaks - 2)))
    values = np.empty(peaks)
    for number in range(peaks):
        scales = _conditioning(conditions[number], dimensions)
        scales = generator.permutation(scales) / conditions[number] ** 0.25
        away = at.rotation @ (x - places[number])
        values[number] = heights[number] * math.exp(-0.5 / dimensions * (scales * away) @ away)
    rest = _oscillated(np.array([10 - values.max()]))[0]
    return float(rest**2) + _outside(x)


def hash_of(values: np.ndarray) -> int:
    """The same for the same numbers, on every machine."""
    return int(np.abs(values * 1e6).astype(np.int64).sum())


def _valley(z: np.ndarray) -> float:
    return float((100 * (z[:-1] ** 2 - z[1:]) ** 2 + (z[:-1] - 1) ** 2).sum())


def _orthogonal(generator: np.random.Generator, dimensions: int) -> np.ndarray:
    matrix, triangle = np.linalg.qr(generator.normal(size=(dimensions, dimensions)))
    return matrix * np.sign(np.diag(triangle))


def _ramp(dimensions: int) -> np.ndarray:
    """From 0 to 1, shape (d,)."""
    return np.arange(dimensions) / max(dimensions - 1, 1)


def _conditioning(condition: float, dimensions: int) -> np.ndarray:
    """The diagonal of the suite's matrix that makes a function ill-conditioned."""
    return condition ** (0.5 * _ramp(dimensions))


def _oscillated(x: np.ndarray) -> np.ndarray:
    """Small smooth irregularities: T_osz."""
    log = np.log(np.abs(np.where(x == 0, 1, x)))
    first, second = np.where(x > 0, 10, 5.5), np.where(x > 0, 7.9, 3.1)
    bent = np.exp(log + 0.049 * (np.sin(first * log) + np.sin(second * log)))
    return np.sign(x) * bent


def _skewed(x: np.ndarray, strength: float) -> np.ndarray:
    """Breaks the symmetry: T_asy."""
    positive = np.maximum(x, 0)
    return np.where(x > 0, positive ** (1 + strength * _ramp(len(x)) * np.sqrt(positive)), x)


def _outside(x: np.ndarray) -> float:
    """The penalty beyond [-5, 5]."""
    return float((np.maximum(np.abs(x) - HIGH, 0) ** 2).sum())
