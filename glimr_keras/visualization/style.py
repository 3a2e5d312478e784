"""How figures look: colours that colour-blind readers tell apart, sizes, names that fit, and the
ends of axes. Runs anywhere.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

BLUE, ORANGE, GREEN, VERMILLION = "#0072B2", "#E69F00", "#009E73", "#D55E00"
PURPLE, SKY, YELLOW = "#CC79A7", "#56B4E9", "#F0E442"
INK = "ink"
"""The colour of texts: dark on light paper and light on dark."""
COLOURS = (BLUE, ORANGE, GREEN, PURPLE, SKY, VERMILLION, YELLOW, INK)
"""Of Okabe and Ito ("Color Universal Design", 2008), in the order in which they are used."""
GREY, LIGHT_GREY = "#999999", "#C8C8C8"
SCALE = "viridis"
"""Of colours for numbers: dark for the lowest, and even, also for those who cannot tell red from
green.
"""
WIDTH = 8.5
"""Of a figure, in inches: what a notebook shows without scrolling."""
DPI, FILE_DPI = 100, 150
"""Dots of an inch, on the screen and in files."""


def shortened(name: Any, length: int = 24) -> str:
    """Return a name of at most `length` characters; a longer one loses its middle."""
    text = str(name)
    if len(text) <= length:
        return text
    kept = length - 1
    return f"{text[: kept // 2]}…{text[len(text) - (kept - kept // 2) :]}"


def shortened_all(names: Iterable[Any], length: int = 24) -> list[str]:
    """Return shortened names; those that would be the same are as long as it takes to tell them
    apart.
    """
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
    """Return a text in lines of at most `length` characters, broken after `/`, else after `_`,
    where that is possible.
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
        values: With at least one finite number; others are left out.
        is_min: Whether they are scores of which the lowest is the best. Very bad ones may then be
            beyond the end, so that the others can be told apart. Defaults to no scores.
    """
    finite = np.asarray(values, float)[np.isfinite(values)]
    low, high = float(finite.min()), float(finite.max())
    if is_min is not None:
        worst = _worst_shown(finite if is_min else -finite)
        low, high = (low, min(high, worst)) if is_min else (max(low, -worst), high)
    margin = (high - low) * 0.05 or abs(high) * 0.05 or 0.5
    return low - margin, high + margin


def _worst_shown(costs: np.ndarray) -> float:
    """Return the highest cost that is worth its room: much higher ones leave none to the others."""
    best, median, upper = np.quantile(costs, [0.0, 0.5, 0.75])
    bound = float(upper + 4 * max(upper - median, median - best))
    worst = float(costs.max())
    return bound if bound > best and worst - best > 3 * (bound - best) else worst
