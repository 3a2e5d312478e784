"""Trials as dots: completed, stopped and failed ones never look the same. Runs anywhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from glimr_keras.visualization import style
from glimr_keras.visualization.picture import Dots, Layer
from glimr_keras.visualization.scores import Scores

MARGIN = 0.015
"""How far from its end marks are that stand for what is beyond an axis, as a part of it."""


def scored(
    scores: Scores,
    x: np.ndarray,
    ends: tuple[float, float],
    colour: str | np.ndarray = style.BLUE,
    name: str = "",
    about: Sequence[str] | None = None,
) -> list[Layer]:
    """Return a dot for each trial with a score, at its score: a ring where a scheduler stopped it,
    a triangle at the end of the axis where the score is beyond it.

    Args:
        scores: On the y axis.
        x: Where trials are on the x axis; nan where they are not. Shape (trials,).
        ends: Of the y axis.
        colour: Of the completed ones, or a number for each trial. Shape (trials,).
        name: Of the completed ones, in the legend. Defaults to none.
        about: What is said of each where a pointer is. Defaults to its number and its score.
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
    """Return a cross for each trial that failed, at the bad end of the y axis.

    Args:
        scores: On the y axis.
        x: Where trials are on the x axis; nan where they are not. Shape (trials,).
        ends: Of the y axis.
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
    """Return dots for some of the trials; no layer for none.

    Args:
        which: Shape (trials,), booleans.
        x, y: Where the trials are; nan where they are not. Shape (trials,).
        colour: Of all, or a number for each trial. Shape (trials,).
        name: In the legend.
        about: What is said of each where a pointer is, for each trial.
        **look: As for `Dots`.
    """
    places = np.flatnonzero(which & np.isfinite(x) & np.isfinite(y)).tolist()
    if not len(places):
        return []
    own = colour if isinstance(colour, str) else colour[places]
    texts = [about[int(place)] for place in places]
    return [Dots(x[places], y[places], name, own, about=texts, **look)]


def fitting(count: int, largest: float = 5.0) -> float:
    """Return the size of so many dots in one panel: from 200 on they are smaller."""
    return float(np.clip(largest * (200 / max(count, 1)) ** 0.35, 2.0, largest))
