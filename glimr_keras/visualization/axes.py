"""Axes of hyperparameters: labels and ticks that do not overlap. Runs anywhere."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from glimr_keras.visualization import style
from glimr_keras.visualization.dimensions import Dimension
from glimr_keras.visualization.picture import Axis

_LETTER = 0.08
"""The width of a letter, in inches."""
GOLDEN, SILVER = (math.sqrt(5) - 1) / 2, math.sqrt(2) - 1


def labels(dimensions: Sequence[Dimension], inches: float) -> list[str]:
    """Return the labels of hyperparameters for axes of this length.

    Names take at most two lines, or three if they cannot be told apart otherwise.
    """
    length = max(8, int(inches / _LETTER))
    names = style.shortened_all([each.name for each in dimensions], 2 * length - 4)
    return [style.wrapped(name, length) for name in names]


def horizontal(dimension: Dimension, label: str, inches: float, is_hidden: bool = False) -> Axis:
    """Return the x axis of a hyperparameter in a panel of this width.

    Labels that do not fit next to each other are rotated.
    """
    room = inches / max(1, len(dimension.options))
    fits = all((len(option) + 1) * _LETTER <= room for option in dimension.options)
    ticks = _ticks(dimension, inches / (0.15 if fits else 0.2), 12 if fits else 9)
    return _axis(dimension, label, ticks, 0 if fits else 35, is_hidden)


def vertical(dimension: Dimension, label: str, inches: float, is_hidden: bool = False) -> Axis:
    """Return the y axis of a hyperparameter in a panel of this height."""
    return _axis(dimension, label, _ticks(dimension, inches / 0.17, 9), 0, is_hidden)


def _axis(
    dimension: Dimension,
    label: str,
    ticks: list[tuple[float, str]] | None,
    angle: int,
    is_hidden: bool,
) -> Axis:
    low, high = dimension.ends
    ends = (10**low, 10**high) if dimension.is_log else (low, high)
    return Axis(
        label,
        ends,
        ticks,
        is_log=dimension.is_log,
        is_count=dimension.is_int,
        angle=angle,
        has_grid=not dimension.options,
        is_hidden=is_hidden,
    )


def _ticks(dimension: Dimension, most: float, length: int) -> list[tuple[float, str]] | None:
    """Return the labelled options: all of them, or every second, third, … one."""
    if not dimension.options:
        return None
    every = math.ceil(len(dimension.options) / max(1, int(most)))
    texts = style.shortened_all(dimension.options, length)
    return [(place, text) for place, text in enumerate(texts) if place % every == 0]


def jittered(dimension: Dimension, width: float = 0.5, irrational: float = GOLDEN) -> np.ndarray:
    """Return the trials' positions, with trials of the same option spread out. Shape (trials,)."""
    if not dimension.options:
        return dimension.positions
    return dimension.positions + width * spread(len(dimension.positions), irrational)


def spread(count: int, irrational: float = GOLDEN) -> np.ndarray:
    """Return numbers from -0.5 to 0.5 that look random but are reproducible. Shape (count,).

    Another irrational number gives other numbers.
    """
    return (np.arange(1, count + 1) * irrational) % 1 - 0.5


def round_ticks(
    low: float, high: float, is_log: bool = False, is_int: bool = False, most: int = 5
) -> list[float]:
    """Return round numbers between two ends, at least two if there are any.

    Args:
        low, high: The ends; on a log scale, their logarithms.
        is_log: Whether only powers of ten are round. Defaults to `False`.
        is_int: Whether only integers are round. Defaults to `False`.
        most: The maximum number of ticks. Defaults to `5`.
    """
    if is_log:
        step = float(max(1, math.ceil((high - low) / most)))
    else:
        raw = (high - low) / most
        power = 10 ** math.floor(math.log10(raw))
        step = next(power * part for part in (1, 2, 5, 10) if power * part >= raw * (1 - 1e-9))
        step = max(step, 1.0) if is_int else step
    found = np.arange(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1) * step
    return [float(each) for each in found]
