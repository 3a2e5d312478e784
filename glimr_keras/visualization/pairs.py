"""Scores over pairs of hyperparameters: as a map of colours, and by rank. Runs anywhere."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from glimr_keras.project.journal import Project
from glimr_keras.results.sources import Source
from glimr_keras.trials.objective import Goal
from glimr_keras.visualization import axes, backends, marks, style
from glimr_keras.visualization.dimensions import Dimension
from glimr_keras.visualization.importances import chosen, varied
from glimr_keras.visualization.picture import Cells, Dots, Layer, Panel, Picture, Scale
from glimr_keras.visualization.scores import Scores, scores_of

if TYPE_CHECKING:
    from glimr_keras.visualization.backends import Drawing

MOST = 4
_CELLS = 48
_PARTS = ("best", "25 %", "median", "75 %", "worst")


def plot_contour(
    source: Source | Project,
    params: Sequence[str] | None = None,
    *,
    objective: Goal = None,
    backend: str = "matplotlib",
) -> Drawing:
    """Plot a map of the scores over each pair of hyperparameters, good scores dark, with the
    completed trials as dots.

    A place has the mean score of the trials near it, nearer ones counting more (a Gaussian of about
    a tenth of each axis). Where no trial is near, there is no colour. Options of a category are not
    near each other.

    Args:
        source: A tuner or what `open` returns, a project's directory or URI, or a table.
        params: Names of at least two hyperparameters. Defaults to those that were varied, and to
            the 4 most important ones (see `plot_param_importances`) where there are more.
        objective: A metric instead of what was optimised, at the epoch of the score.
        backend: `"matplotlib"` or `"plotly"`. Defaults to `"matplotlib"`.

    Returns:
        Axes of Matplotlib, several as an array with a row for each but the first hyperparameter and
        a column for each but the last, or a figure of Plotly.

    Raises:
        ProjectError: If there is nothing to plot yet.
        ValueError: If there is no such hyperparameter or backend.

    Example:
        >>> glimr_keras.visualization.plot_contour(tuner, params=["learning_rate", "units"])
    """
    backends.check_backend(backend)
    scores = scores_of(source, objective)
    scores.needs_completed()
    return backends.drawn(_contour(scores, chosen(scores, params, MOST, at_least=2)), backend)


def plot_rank(
    source: Source | Project,
    params: Sequence[str] | None = None,
    *,
    objective: Goal = None,
    backend: str = "matplotlib",
) -> Drawing:
    """Plot the completed trials over each pair of hyperparameters, coloured by the rank of their
    score, the best ones dark.

    Args:
        source: A tuner or what `open` returns, a project's directory or URI, or a table.
        params: Names of at least two hyperparameters. Defaults to those that were varied, and to
            the 4 most important ones (see `plot_param_importances`) where there are more.
        objective: A metric instead of what was optimised, at the epoch of the score.
        backend: `"matplotlib"` or `"plotly"`. Defaults to `"matplotlib"`.

    Returns:
        Axes of Matplotlib, several as an array with a row for each but the first hyperparameter and
        a column for each but the last, or a figure of Plotly.

    Raises:
        ProjectError: If there is nothing to plot yet.
        ValueError: If there is no such hyperparameter or backend.

    Example:
        >>> glimr_keras.visualization.plot_rank(tuner, params=["learning_rate", "units"])
    """
    backends.check_backend(backend)
    scores = scores_of(source, objective)
    scores.needs_completed()
    return backends.drawn(_rank(scores, chosen(scores, params, MOST, at_least=2)), backend)


def check_pairs(scores: Scores) -> None:
    """Check that two hyperparameters were varied."""
    scores.needs_completed()
    varied(scores, at_least=2)


def _contour(scores: Scores, dimensions: Sequence[Dimension]) -> Picture:
    found: list[np.ndarray] = []
    size = marks.fitting(len(scores.trials), 3.0 if len(dimensions) > 2 else 4.5)

    def layers(x: Dimension, y: Dimension) -> list[Layer]:
        cells = smoothed(scores, x, y)
        found.append(cells.z[np.isfinite(cells.z)])
        return [cells, *_dots(scores, x, y, style.INK, size, 0.45)]

    panels = _triangle(dimensions, layers)
    means = np.concatenate(found)
    if not len(means):
        means = scores.values[scores.completed]
    low, high = float(means.min()), float(means.max())
    if low == high:
        low, high = style.limits([low])
    scale = Scale(scores.label, low, high, is_reversed=not scores.is_min)
    return Picture(scores.title("Map of scores"), panels, _height(dimensions), scale)


def smoothed(scores: Scores, x: Dimension, y: Dimension) -> Cells:
    """Return the mean score of the completed trials near each place of a pair of axes; nan where
    none is near.
    """
    which = scores.completed & x.is_there & y.is_there
    low, high = style.limits(scores.values[scores.completed], scores.is_min)
    values = np.clip(scores.values[which], low, high)
    width = 0.3 * max(1, which.sum()) ** (-1 / 6)  # of a kernel in two dimensions, Scott's rule
    columns, of_x = _weights(x, x.positions[which], width)
    rows, of_y = _weights(y, y.positions[which], width)
    weights = of_y @ of_x.T
    means = np.full(weights.shape, np.nan)
    np.divide((of_y * values) @ of_x.T, weights, out=means, where=weights > np.exp(-2))
    return Cells(columns, rows, means)


def _weights(
    dimension: Dimension, positions: np.ndarray, width: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return places on an axis, shape (places,), and how much each trial counts there, shape
    (places, trials).
    """
    if dimension.options:
        places = np.arange(len(dimension.options))
        return places, (places[:, None] == positions).astype(float)
    units = (np.arange(_CELLS) + 0.5) / _CELLS
    distances = (units[:, None] - dimension.unit(positions)) / width
    return dimension.at(units), np.exp(-0.5 * distances**2)


def _rank(scores: Scores, dimensions: Sequence[Dimension]) -> Picture:
    ranks = ranked_parts(scores)
    size = marks.fitting(len(scores.trials), 5.0 if len(dimensions) > 2 else 7.0)

    def layers(x: Dimension, y: Dimension) -> list[Layer]:
        return _dots(scores, x, y, 1 - ranks, size, 0.9)

    parts = np.linspace(0, 1, 5)
    values = np.quantile(scores.values[scores.completed], parts if scores.is_min else 1 - parts)
    ticks = [
        (1 - part, f"{name} ({style.number(value)})")
        for part, name, value in zip(parts, _PARTS, values, strict=True)
    ]
    scale = Scale("", 0.0, 1.0, is_reversed=True, ticks=ticks)
    panels = _triangle(dimensions, layers)
    title = scores.title(f"Ranks by {style.shortened(scores.metric, 32)}")
    return Picture(title, panels, _height(dimensions), scale)


def ranked_parts(scores: Scores) -> np.ndarray:
    """Return the rank of each completed trial, from 0 for the best to 1 for the worst; equal scores
    have their mean rank, and others nan. Shape (trials,).
    """
    values = scores.values[scores.completed] * (1 if scores.is_min else -1)
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    means = np.cumsum(counts) - (counts + 1) / 2
    ranks = np.full(len(scores.values), np.nan)
    ranks[scores.completed] = means[inverse] / max(1, len(values) - 1)
    return ranks


def _dots(
    scores: Scores,
    x: Dimension,
    y: Dimension,
    colour: str | np.ndarray,
    size: float,
    opacity: float,
) -> list[Layer]:
    """Return the completed trials that have both, the best on top."""
    which = scores.completed & x.is_there & y.is_there
    worst_first = [place for place in reversed(scores.best_first) if which[place]]
    about = [scores.about[place] for place in worst_first]
    own = colour if isinstance(colour, str) else colour[worst_first]
    across = axes.jittered(x)[worst_first]
    up = axes.jittered(y, irrational=axes.SILVER)[worst_first]
    return [Dots(across, up, colour=own, size=size, opacity=opacity, about=about)]


def _triangle(
    dimensions: Sequence[Dimension], layers: Callable[[Dimension, Dimension], list[Layer]]
) -> list[list[Panel | None]]:
    """Return a panel for each pair, below the diagonal."""
    count = len(dimensions) - 1
    inches = (style.WIDTH - 2.2) / count - 0.1
    names = axes.labels(dimensions, inches)

    def panel(row: int, column: int) -> Panel:
        x, y = dimensions[column], dimensions[row]
        return Panel(
            axes.horizontal(x, names[column], inches, is_hidden=row < count),
            axes.vertical(y, names[row], inches, is_hidden=column > 0),
            layers(x, y),
        )

    return [
        [panel(row, column) if column < row else None for column in range(count)]
        for row in range(1, count + 1)
    ]


def _height(dimensions: Sequence[Dimension]) -> float:
    return 5.0 if len(dimensions) == 2 else 1.2 + 6.0
