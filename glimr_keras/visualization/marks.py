"""Trials as marks: completed, stopped and failed ones always look different. Runs anywhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from glimr_keras.visualization import style
from glimr_keras.visualization.picture import Dots, Layer
from glimr_keras.visualization.scores import Scores

MARGIN = 0.015
"""The distance from the axis end of marks for values beyond it, as a fraction of the axis."""


def scored(
    scores: Scores,
    x: np.ndarray,
    ends: tuple[float, float],
    colour: str | np.ndarray = style.BLUE,
    name: str = "",
    about: Sequence[str] | None = None,
) -> list[Layer]:
    """Return a mark at the score of each trial with a score.

    Completed trials are dots. Trials that a scheduler stopped are rings. A triangle at the end of
    the axis stands for a score beyond it.

    Args:
        scores: The scores on the y axis.
        x: The x positions of the trials, NaN for those not shown. Shape (trials,).
        ends: The ends of the y axis.
        colour: The colour of completed trials, or a number for each trial, shape (trials,).
            Defaults to `style.BLUE`.
        name: The name of completed trials in the legend. Defaults to `""`, which means none.
        about: The hover text of each trial. Defaults to `None`, which means its number and score.
    """
    low, high = ends
    is_beyond = (scores.values < low) | (scores.values > high)
    margin = (high - low) * MARGIN
    y = np.clip(scores.values, low + margin, high - margin)
    look: dict[str, Any] = {
        "about": scores.about if about is None else about,
        "size": fitting(len(scores.trials)),
        "opacity": 0.85,
    }
    beyond = "up" if scores.is_min else "down"
    return [
        *chosen(scores.stopped & ~is_beyond, x, y, style.GREY, "stopped", symbol="ring", **look),
        *chosen(scores.completed & ~is_beyond, x, y, colour, name, **look),
        *chosen(is_beyond, x, y, style.GREY, "beyond the axis", symbol=beyond, **look),
    ]


def failed(scores: Scores, x: np.ndarray, ends: tuple[float, float]) -> list[Layer]:
    """Return a cross for each failed trial, at the bad end of the y axis.

    Args:
        scores: The scores on the y axis.
        x: The x positions of the trials, NaN for those not shown. Shape (trials,).
        ends: The ends of the y axis.
    """
    bad, good = reversed(ends) if scores.is_min else ends
    y = np.full(len(x), bad + (good - bad) * MARGIN)
    look: dict[str, Any] = {"symbol": "cross", "size": 4.5, "about": scores.about}
    return chosen(scores.failed, x, y, style.VERMILLION, "failed", **look)


def chosen(
    which: np.ndarray,
    x: np.ndarray,
    y: np.ndarray,
    colour: str | np.ndarray,
    name: str,
    about: Sequence[str],
    **look: Any,
) -> list[Layer]:
    """Return a layer of dots for some of the trials; no layer if there are none.

    Args:
        which: The trials to draw. Shape (trials,), booleans.
        x, y: The positions of the trials, NaN for those not shown. Shape (trials,).
        colour: The colour of all, or a number for each trial, shape (trials,).
        name: The name in the legend.
        about: The hover text of each trial.
        **look: See `Dots`.
    """
    places = np.flatnonzero(which & np.isfinite(x) & np.isfinite(y)).tolist()
    if not len(places):
        return []
    own = colour if isinstance(colour, str) else colour[places]
    texts = [about[int(place)] for place in places]
    return [Dots(x[places], y[places], name, own, about=texts, **look)]


def fitting(count: int, largest: float = 5.0) -> float:
    """Return the dot size for this number of dots in one panel; from 200 on, dots are smaller."""
    return float(np.clip(largest * (200 / max(count, 1)) ** 0.35, 2.0, largest))
