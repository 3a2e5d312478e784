"""Functions with a known minimum, as spaces for both libraries: `ask(hp)` draws the values, `cost`
of them is minimised.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True)
class Function:
    """A function to minimise.

    Attributes:
        ask: Asks a configuration for its values, and returns the function's value.
        minimum: Its smallest value.
    """

    name: str
    ask: Callable[[Any], float]
    minimum: float


def branin(hp):
    x, y = hp.Float("x", -5.0, 10.0), hp.Float("y", 0.0, 15.0)
    return (
        (y - 5.1 / (4 * math.pi**2) * x**2 + 5 / math.pi * x - 6) ** 2
        + 10 * (1 - 1 / (8 * math.pi)) * math.cos(x)
        + 10
    )


A = np.array(
    [
        [10, 3, 17, 3.5, 1.7, 8],
        [0.05, 10, 17, 0.1, 8, 14],
        [3, 3.5, 1.7, 10, 17, 8],
        [17, 8, 0.05, 10, 0.1, 14],
    ]
)
P = 1e-4 * np.array(
    [
        [1312, 1696, 5569, 124, 8283, 5886],
        [2329, 4135, 8307, 3736, 1004, 9991],
        [2348, 1451, 3522, 2883, 3047, 6650],
        [4047, 8828, 8732, 5743, 1091, 381],
    ]
)
C = np.array([1.0, 1.2, 3.0, 3.2])


def hartmann6(hp):
    x = np.array([hp.Float(f"x{number}", 0.0, 1.0) for number in range(6)])
    return float(-C @ np.exp(-(A * (x - P) ** 2).sum(axis=1)))


def conditional(hp):
    """Three kinds of model with hyperparameters of their own: real, integer, logarithmic and
    categorical ones.
    """
    kind = hp.Choice("kind", ["smooth", "deep", "boosted"])
    with hp.conditional_scope("kind", ["smooth"]):
        if kind == "smooth":
            return (
                0.3
                + (hp.Float("bandwidth", 0.0, 1.0) - 0.3) ** 2
                + (hp.Float("shift", -1.0, 1.0) - 0.5) ** 2
            )
        hp.Float("bandwidth", 0.0, 1.0)
        hp.Float("shift", -1.0, 1.0)
    with hp.conditional_scope("kind", ["deep"]):
        layers = hp.Int("layers", 1, 8)
        rate = hp.Float("rate", 1e-5, 1e-1, sampling="log")
        activation = hp.Choice("activation", ["relu", "gelu", "tanh", "elu"])
        if kind == "deep":
            off = {"gelu": 0.0, "relu": 0.1, "elu": 0.2, "tanh": 0.4}[activation]
            return abs(layers - 5) / 7 + (math.log10(rate) + 3) ** 2 / 4 + off
    with hp.conditional_scope("kind", ["boosted"]):
        trees, depth = hp.Int("trees", 10, 500, step=10), hp.Int("depth", 1, 12)
        if kind == "boosted":
            return 0.1 + abs(trees - 300) / 300 + abs(depth - 6) / 6
    raise AssertionError(kind)


FUNCTIONS = (
    Function("Branin", branin, 0.39788735772973816),
    Function("Hartmann-6", hartmann6, -3.32236801141551),
    Function("conditional, mixed", conditional, 0.0),
)
