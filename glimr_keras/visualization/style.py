"""The style of figures: colours safe for colour-blind readers, sizes, shortened names, and axis
limits. Runs anywhere.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

BLUE, ORANGE, GREEN, VERMILLION = "#0072B2", "#E69F00", "#009E73", "#D55E00"
PURPLE, SKY, YELLOW = "#CC79A7", "#56B4E9", "#F0E442"
INK = "ink"
"""The colour of text: dark on a light background and light on a dark one."""
COLOURS = (BLUE, ORANGE, GREEN, PURPLE, SKY, VERMILLION, YELLOW, INK)
"""The palette of Okabe and Ito ("Color Universal Design", 2008), in order of use."""
GREY, LIGHT_GREY = "#999999", "#C8C8C8"
SCALE = "viridis"
"""The colour scale for numbers: perceptually uniform, dark for the lowest, and safe for red-green
colour blindness.
"""
WIDTH = 8.5
"""The width of a figure, in inches; a notebook shows it without scrolling."""
DPI, FILE_DPI = 100, 150
"""Dots per inch, on the screen and in files."""


def shortened(name: Any, length: int = 24) -> str:
    """Return a name of at most `length` characters; the middle of a longer name is cut out."""
    text = str(name)
    if len(text) <= length:
        return text
    kept = length - 1
    return f"{text[: kept // 2]}…{text[len(text) - (kept - kept // 2) :]}"


def shortened_all(names: Iterable[Any], length: int = 24) -> list[str]:
    """Return shortened names, each long enough to be told apart from the others."""
    full = list(map(str, names))
    short = [shortened(name, length) for name in full]
    while len(set(short)) < len(set(full)):
        length += 4
        clash = {name for name in short if short.count(name) > 1}
        short = [
            shortened(name, length) if mine in clash else mine
            for name, mine in zip(full, short, strict=True)
        ]
    return short


def wrapped(text: str, length: int) -> str:
    """Return a text in lines of at most `length` characters where possible.

    Lines are broken after `/`, or else after `_`.
    """
    lines: list[str] = []
    while len(text) > length:
        cuts = (text.rfind(mark, 0, length) + 1 for mark in "/_")
        cut = next((cut for cut in cuts if cut > length // 3), length)
        lines.append(text[:cut])
        text = text[cut:]
    return "\n".join([*lines, text])


def number(value: float, digits: int = 3) -> str:
    """Return a number in a few digits, such as `0.954`, `128`, `1.2e-05` or `inf`."""
    if not math.isfinite(value):
        return str(value)
    return str(int(value)) if value == int(value) < 1e6 else f"{value:.{digits}g}"


def limits(values: Sequence[float] | np.ndarray, is_min: bool | None = None) -> tuple[float, float]:
    """Return the ends of an axis for some values, with a margin.

    Args:
        values: The values, at least one of them finite; others are ignored.
        is_min: Whether the lowest score is the best. Very bad scores may then be beyond the end, so
            that the others can be told apart. Defaults to `None`, which means that the values are
            not scores.
    """
    finite = np.asarray(values, float)[np.isfinite(values)]
    low, high = float(finite.min()), float(finite.max())
    if is_min is not None:
        worst = _worst_shown(finite if is_min else -finite)
        low, high = (low, min(high, worst)) if is_min else (max(low, -worst), high)
    margin = (high - low) * 0.05 or abs(high) * 0.05 or 0.5
    return low - margin, high + margin


def _worst_shown(costs: np.ndarray) -> float:
    """Return the highest cost that is worth showing; much higher ones would squeeze the others."""
    best, median, upper = np.quantile(costs, [0.0, 0.5, 0.75])
    bound = float(upper + 4 * max(upper - median, median - best))
    worst = float(costs.max())
    return bound if bound > best and worst - best > 3 * (bound - best) else worst
