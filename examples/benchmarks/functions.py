"""The functions that search algorithms are compared on, each as a space that a configuration is
asked for. Half of them were looked at when the algorithms were made, and half were not.
"""

import csv
import dataclasses
import functools
import gzip
import math
import pathlib
from collections.abc import Callable
from typing import Any

import bbob
import numpy as np

Ask = Callable[[Any], float]
HERE = pathlib.Path(__file__).parent


@dataclasses.dataclass(frozen=True)
class Function:
    """A function to minimise.

    Attributes:
        ask: Asks a configuration for its values, and returns the function's value there.
        minimum: Its smallest value.
        is_known: Whether it was looked at when the algorithms were made.
        noise: The standard deviation of what is added to each value that an algorithm is told.
    """

    name: str
    ask: Ask
    minimum: float = 0.0
    is_known: bool = False
    noise: float = 0.0


def rotated(
    family: Callable[[np.ndarray, bbob.Instance], float], dimensions: int, seed: int
) -> Ask:
    """A function of the BBOB suite, in [-5, 5]^d."""
    instance = bbob.Instance.drawn(dimensions, seed)

    def ask(hp):
        x = [hp.Float(f"x{number}", bbob.LOW, bbob.HIGH) for number in range(dimensions)]
        return family(np.array(x), instance)

    return ask


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


def kinds(hp):
    """Three kinds of model with hyperparameters of their own: real, integer, logarithmic and
    categorical ones.
    """
    kind = hp.Choice("kind", ["smooth", "deep", "boosted"])
    with hp.conditional_scope("kind", ["smooth"]):
        if kind == "smooth":
            bandwidth, shift = hp.Float("bandwidth", 0.0, 1.0), hp.Float("shift", -1.0, 1.0)
            return 0.3 + (bandwidth - 0.3) ** 2 + (shift - 0.5) ** 2
    with hp.conditional_scope("kind", ["deep"]):
        if kind == "deep":
            layers = hp.Int("layers", 1, 8)
            rate = hp.Float("rate", 1e-5, 1e-1, sampling="log")
            activation = hp.Choice("activation", ["relu", "gelu", "tanh", "elu"])
            off = {"gelu": 0.0, "relu": 0.1, "elu": 0.2, "tanh": 0.4}[activation]
            return abs(layers - 5) / 7 + (math.log10(rate) + 3) ** 2 / 4 + off
    with hp.conditional_scope("kind", ["boosted"]):
        trees, depth = hp.Int("trees", 10, 500, step=10), hp.Int("depth", 1, 12)
        return 0.1 + abs(trees - 300) / 300 + abs(depth - 6) / 6


def layered(hp):
    """Like a network: widths that exist from a depth on, an optimizer whose rate depends on which
    it is, and a momentum that only one of them has.
    """
    depth = hp.Int("depth", 1, 4)
    cost = 0.08 * (depth - 3) ** 2
    for layer in range(depth):
        with hp.conditional_scope("depth", list(range(layer + 1, 5))):
            units = hp.Int(f"units_{layer}", 8, 512, sampling="log")
        cost += 0.05 * (math.log2(units) - (7.5 - 0.8 * layer)) ** 2 / depth
    optimizer = hp.Choice("optimizer", ["adam", "sgd", "rmsprop"])
    rate = hp.Float("learning_rate", 1e-5, 1.0, sampling="log")
    best = {"adam": -2.8, "sgd": -0.7, "rmsprop": -3.2}[optimizer]
    with hp.conditional_scope("optimizer", ["sgd"]):
        if optimizer == "sgd":
            momentum = hp.Float("momentum", 0.0, 0.99)
            best += math.log10(1 - 0.9 * momentum)
            cost += 0.3 * (momentum - 0.9) ** 2
    dropout = hp.Float("dropout", 0.0, 0.8)
    cost += (
        0.6 * (dropout - 0.08 * depth) ** 2 + {"adam": 0.02, "sgd": 0.0, "rmsprop": 0.06}[optimizer]
    )
    return cost + 0.25 * (math.log10(rate) - best) ** 2


def mixed(hp):
    """Real, logarithmic, integer and categorical hyperparameters that all depend on each other."""
    rate = math.log10(hp.Float("rate", 1e-4, 1e2, sampling="log"))
    width = hp.Int("width", 1, 64)
    share = hp.Float("share", 0.0, 1.0)
    form = hp.Choice("form", ["round", "flat", "steep", "wavy", "rough"])
    is_scaled = hp.Boolean("scaled")
    turn = {"round": 0.0, "flat": 0.5, "steep": -0.5, "wavy": 1.0, "rough": -1.0}[form]
    level = {"round": 0.15, "flat": 0.3, "steep": 0.0, "wavy": 0.1, "rough": 0.5}[form]
    first = rate - turn - (0.5 if is_scaled else -0.5) - (share - 0.7)
    second = math.log2(width) - 4 + 2 * (share - 0.7)
    waves = 0.1 * (1 - math.cos(6 * first)) if form == "wavy" else 0.0
    return (
        level
        + waves
        + 0.2 * first**2
        + 0.08 * second**2
        + (share - 0.7) ** 2
        + 0.1 * (not is_scaled)
    )


@functools.cache
def curves() -> tuple[dict[str, list[Any]], dict[tuple[Any, ...], list[float]]]:
    """The options of each hyperparameter, and the validation loss of each configuration after each
    epoch, of a grid of networks on digits that was trained once (`networks.py`).
    """
    with gzip.open(HERE / "digits.csv.gz", "rt", newline="") as file:
        names, *lines = csv.reader(file)
    count = names.index("1")  # the columns of epochs follow those of hyperparameters
    parsed = [tuple(map(_parsed, line)) for line in lines]
    options = {
        key: sorted({line[number] for line in parsed}) for number, key in enumerate(names[:count])
    }
    return options, {line[:count]: list(map(float, line[count:])) for line in parsed}


def _parsed(text: str) -> Any:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return text


def trained(hp) -> list[float]:
    """The learning curve of the configuration of the grid that `hp` chooses."""
    options, known = curves()
    return known[tuple(hp.Choice(key, values) for key, values in options.items())]


def networks(hp):
    """Networks on digits, by their best epochs."""
    return min(trained(hp))


def least_loss() -> float:
    """That of the best network."""
    return min(map(min, curves()[1].values()))


FUNCTIONS = (
    Function("Branin (2)", branin, 0.39788735772973816, is_known=True),
    Function("Rastrigin (3)", rotated(bbob.rastrigin, 3, 3), is_known=True),
    Function("rotated Rosenbrock (4)", rotated(bbob.rotated_rosenbrock, 4, 4), is_known=True),
    Function("sharp ridge (5)", rotated(bbob.sharp_ridge, 5, 5), is_known=True),
    Function("Griewank-Rosenbrock (3)", rotated(bbob.griewank_rosenbrock, 3, 6), is_known=True),
    Function("noisy Hartmann (6)", hartmann6, -3.32236801141551, is_known=True, noise=0.1),
    Function("kinds of models (8, conditional)", kinds, is_known=True),
    Function("Hartmann (6)", hartmann6, -3.32236801141551, is_known=True),
    Function("Schaffers (4)", rotated(bbob.schaffers, 4, 14)),
    Function("Rosenbrock (5)", rotated(bbob.rosenbrock, 5, 15)),
    Function("different powers (6)", rotated(bbob.different_powers, 6, 16)),
    Function("Gallagher (3)", rotated(bbob.gallagher, 3, 13)),
    Function("attractive sector (4)", rotated(bbob.attractive_sector, 4, 17)),
    Function("ellipsoid (10)", rotated(bbob.ellipsoid, 10, 20)),
    Function("noisy Rastrigin (2)", rotated(bbob.rastrigin, 2, 12), noise=2.0),
    Function("layers (10, conditional)", layered),
    Function("mixed (5)", mixed),
    Function("networks on digits (6)", networks, least_loss()),
)
