"""All hyperparameters of a trial as one line across parallel axes. Runs anywhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from glimr_keras.project.journal import Project
from glimr_keras.results.sources import Source
from glimr_keras.trials.objective import Goal
from glimr_keras.visualization import axes, backends, style
from glimr_keras.visualization.dimensions import Dimension
from glimr_keras.visualization.importances import chosen, varied
from glimr_keras.visualization.picture import Axis, Layer, Lines, Panel, Picture, Scale, Texts
from glimr_keras.visualization.scores import Scores, scores_of

if TYPE_CHECKING:
    from glimr_keras.visualization.backends import Drawing

MOST = 8
_SHADES = 16
_ABSENT = -0.12
"""The height at which a line passes the axis of a hyperparameter that its trial lacks."""


def plot_parallel_coordinate(
    source: Source | Project,
    params: Sequence[str] | None = None,
    *,
    objective: Goal = None,
    backend: str = "matplotlib",
) -> Drawing:
    """Plot each completed trial as a line across axes for its score and its hyperparameters, good
    trials dark and on top.

    Args:
        source: A tuner or the results that `open` returns, a project's directory or URI, or a
            table.
        params: The names of hyperparameters, from left to right. Defaults to `None`, which means
            those that were varied; if there are more than 8, the 8 most important (see
            `plot_param_importances`).
        objective: The metric to use instead of the optimised objective, with its values at the
            epoch of the score. Defaults to `None`, which means the optimised objective.
        backend: `"matplotlib"` or `"plotly"`. Defaults to `"matplotlib"`.

    Returns:
        Matplotlib axes or a Plotly figure.

    Raises:
        ProjectError: If there is nothing to plot yet.
        ValueError: If there is no such hyperparameter or backend.

    Example:
        >>> glimr_keras.visualization.plot_parallel_coordinate(tuner)
    """
    backends.check_backend(backend)
    scores = scores_of(source, objective)
    scores.needs_completed()
    return backends.drawn(_parallel(scores, chosen(scores, params, MOST)), backend)


def check_parallel_coordinate(scores: Scores) -> None:
    """Check that a trial has completed, and that a hyperparameter was varied."""
    scores.needs_completed()
    varied(scores)


def _parallel(scores: Scores, dimensions: Sequence[Dimension]) -> Picture:
    ends = style.limits(scores.values[scores.completed], scores.is_min)
    shown = np.clip(scores.values, *ends)
    score = Dimension(scores.metric, np.where(scores.completed, shown, np.nan))
    across = [score, *dimensions]
    heights = np.array([_heights(each) for each in across])  # (axes, trials)
    is_missed = bool((heights[:, scores.completed] == _ABSENT).any())
    layers: list[Layer] = _shaded(scores, heights, shown)
    for place, dimension in enumerate(across):
        layers.append(Lines([place, place], [0, 1], colour=style.INK, width=1.0))
        positions, texts = _written(dimension)
        layers.append(Texts([place] * len(texts), positions, texts))
    names = style.shortened_all([each.name for each in across], 18)
    x = Axis("", (-0.1, len(across) - 0.4), list(enumerate(names)), angle=25, has_grid=False)
    low = _ABSENT - 0.05 if is_missed else -0.03
    y = Axis("", (low, 1.03), [(_ABSENT, "not used")] if is_missed else [], has_grid=False)
    scale = Scale(scores.label, *ends, is_reversed=not scores.is_min)
    title = scores.title("Hyperparameters and scores of completed trials")
    return Picture(title, [[Panel(x, y, layers)]], 4.8, scale)


def _heights(dimension: Dimension) -> np.ndarray:
    """Return the heights at which the lines pass an axis, from 0 to 1. Shape (trials,).

    A trial without the hyperparameter has `_ABSENT`.
    """
    units = dimension.unit(axes.jittered(dimension, 0.35))
    return np.where(np.isfinite(units), units, _ABSENT)


def _shaded(scores: Scores, heights: np.ndarray, shown: np.ndarray) -> list[Layer]:
    """Return the lines, grouped into a few shades by score, the worst at the bottom."""
    places = np.array(scores.best_first)[::-1]
    places = places[scores.completed[places]]
    low, high = np.nanmin(shown[places]), np.nanmax(shown[places])
    parts = (shown[places] - low) / ((high - low) or 1)
    shades = np.minimum((parts * _SHADES).astype(int), _SHADES - 1)
    order = sorted(set(shades), reverse=scores.is_min)
    opacities = np.geomspace(np.clip(60 / len(places), 0.08, 0.9), 0.9, len(order))
    layers: list[Layer] = []
    for shade, opacity in zip(order, opacities, strict=True):
        mine = places[shades == shade]
        about = [scores.about[place] for place in mine]
        layers.append(_lines(heights[:, mine], float(shown[mine].mean()), float(opacity), about))
    return layers


def _lines(heights: np.ndarray, colour: float, opacity: float, about: list[str]) -> Lines:
    count, trials = heights.shape
    x = np.tile([*range(count), np.nan], trials)
    y = np.vstack([heights, np.full(trials, np.nan)]).T.ravel()
    texts = [text for text in about for _ in range(count + 1)]
    return Lines(x, y, colour=colour, width=1.0, opacity=opacity, about=texts)


def _written(dimension: Dimension) -> tuple[list[float], list[str]]:
    """Return the heights and texts of an axis' tick labels."""
    if dimension.options:
        every = -(-len(dimension.options) // 12)
        positions = [float(place) for place in range(0, len(dimension.options), every)]
    else:
        ticks = axes.round_ticks(*dimension.ends, dimension.is_log, dimension.is_int)
        positions = [10**tick if dimension.is_log else tick for tick in ticks]
        if len(positions) < 2:
            positions = [float(dimension.at(part)) for part in (0.05, 0.5, 0.95)]
    texts = [style.shortened(dimension.text(each), 10) for each in positions]
    return [float(dimension.unit(each)) for each in positions], texts
