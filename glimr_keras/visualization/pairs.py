"""Scores over pairs of hyperparameters: as a colour map, and by rank. Runs anywhere."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

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
_PARTS = {0.0: "best", 0.25: "25 %", 0.5: "median", 0.75: "75 %", 1.0: "worst"}


def plot_contour(
    source: Source | Project,
    params: Sequence[str] | None = None,
    *,
    objective: Goal = None,
    backend: str = "matplotlib",
) -> Drawing:
    """Plot a colour map of the scores over each pair of hyperparameters, good scores dark, with
    completed trials as dots.

    The colour at a point is the weighted mean score of nearby trials. The weights are Gaussian,
    with a width of about a tenth of each axis. Points without a trial nearby have no colour.
    Options of a category are not near each other.

    Args:
        source: A tuner or the results that `open` returns, a project's directory or URI, or a
            table.
        params: The names of at least two hyperparameters. Defaults to `None`, which means those
            that were varied; if there are more than 4, the 4 most important (see
            `plot_param_importances`).
        objective: The metric to use instead of the optimised objective, with its values at the
            epoch of the score. Defaults to `None`, which means the optimised objective.
        backend: `"matplotlib"` or `"plotly"`. Defaults to `"matplotlib"`.

    Returns:
        Matplotlib axes or a Plotly figure. Several axes are an array with a row for each
        hyperparameter but the first and a column for each but the last.

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
    """Plot the trials over each pair of hyperparameters, coloured by the rank of their score, the
    best ones dark.

    Trials that a scheduler stopped are rings and rank after completed ones.

    Args:
        source: A tuner or the results that `open` returns, a project's directory or URI, or a
            table.
        params: The names of at least two hyperparameters. Defaults to `None`, which means those
            that were varied; if there are more than 4, the 4 most important (see
            `plot_param_importances`).
        objective: The metric to use instead of the optimised objective, with its values at the
            epoch of the score. Defaults to `None`, which means the optimised objective.
        backend: `"matplotlib"` or `"plotly"`. Defaults to `"matplotlib"`.

    Returns:
        Matplotlib axes or a Plotly figure. Several axes are an array with a row for each
        hyperparameter but the first and a column for each but the last.

    Raises:
        ProjectError: If there is nothing to plot yet.
        ValueError: If there is no such hyperparameter or backend.

    Example:
        >>> glimr_keras.visualization.plot_rank(tuner, params=["learning_rate", "units"])
    """
    backends.check_backend(backend)
    scores = scores_of(source, objective)
    scores.needs_ended()
    return backends.drawn(_rank(scores, chosen(scores, params, MOST, at_least=2)), backend)


def check_contour(scores: Scores) -> None:
    """Check that a trial has completed, and that two hyperparameters were varied."""
    scores.needs_completed()
    varied(scores, at_least=2)


def check_rank(scores: Scores) -> None:
    """Check that a trial has a score, and that two hyperparameters were varied."""
    scores.needs_ended()
    varied(scores, at_least=2)


def _contour(scores: Scores, dimensions: Sequence[Dimension]) -> Picture:
    found: list[np.ndarray] = []
    size = marks.fitting(len(scores.trials), 3.0 if len(dimensions) > 2 else 4.5)

    def layers(x: Dimension, y: Dimension) -> list[Layer]:
        cells = smoothed(scores, x, y)
        found.append(cells.z[np.isfinite(cells.z)])
        look: dict[str, Any] = {"colour": style.INK, "size": size, "opacity": 0.45}
        return [cells, *_dots(scores, scores.completed, x, y, **look)]

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
    """Return the mean score of completed trials near each point of a pair of axes.

    It is NaN if no trial is near.
    """
    which = scores.completed & x.is_there & y.is_there
    low, high = style.limits(scores.values[scores.completed], scores.is_min)
    values = np.clip(scores.values[which], low, high)
    width = 0.3 * max(1, which.sum()) ** (-1 / 6)  # a two-dimensional kernel, by Scott's rule
    columns, of_x = _weights(x, x.positions[which], width)
    rows, of_y = _weights(y, y.positions[which], width)
    weights = of_y @ of_x.T
    means = np.full(weights.shape, np.nan)
    np.divide((of_y * values) @ of_x.T, weights, out=means, where=weights > np.exp(-2))
    return Cells(columns, rows, means)


def _weights(
    dimension: Dimension, positions: np.ndarray, width: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return points on an axis, shape (places,), and each trial's weight there.

    The weights have shape (places, trials).
    """
    if dimension.options:
        places = np.arange(len(dimension.options))
        return places, (places[:, None] == positions).astype(float)
    units = (np.arange(_CELLS) + 0.5) / _CELLS
    distances = (units[:, None] - dimension.unit(positions)) / width
    return dimension.at(units), np.exp(-0.5 * distances**2)


def _rank(scores: Scores, dimensions: Sequence[Dimension]) -> Picture:
    look: dict[str, Any] = {
        "colour": 1 - ranked_parts(scores),
        "size": marks.fitting(len(scores.trials), 5.0 if len(dimensions) > 2 else 7.0),
        "opacity": 0.9,
    }

    def layers(x: Dimension, y: Dimension) -> list[Layer]:
        return [
            *_dots(scores, scores.stopped, x, y, name="stopped", symbol="ring", **look),
            *_dots(scores, scores.completed, x, y, **look),
        ]

    places = [scores.best_first[round(part * (len(scores.best_first) - 1))] for part in _PARTS]
    ticks = [
        (1 - part, f"{name} ({style.number(float(scores.values[place]))})")
        for (part, name), place in zip(_PARTS.items(), places, strict=True)
    ]
    scale = Scale("", 0.0, 1.0, is_reversed=True, ticks=ticks)
    panels = _triangle(dimensions, layers)
    title = scores.title(f"Ranks by {style.shortened(scores.metric, 32)}")
    return Picture(title, panels, _height(dimensions), scale)


def ranked_parts(scores: Scores) -> np.ndarray:
    """Return the rank of each trial with a score, from 0 for the best to 1 for the worst.

    Stopped trials rank after completed ones. Equal trials have their mean rank; trials without a
    score have NaN. Shape (trials,).
    """
    costs = scores.values * (1 if scores.is_min else -1)
    keys = np.column_stack([scores.stopped, costs])[scores.ended]
    _, inverse, counts = np.unique(keys, axis=0, return_inverse=True, return_counts=True)
    means = np.cumsum(counts) - (counts + 1) / 2
    ranks = np.full(len(costs), np.nan)
    ranks[scores.ended] = means[inverse.ravel()] / max(1, len(keys) - 1)
    return ranks


def _dots(
    scores: Scores,
    which: np.ndarray,
    x: Dimension,
    y: Dimension,
    colour: str | np.ndarray,
    name: str = "",
    **look: Any,
) -> list[Layer]:
    """Return dots for the given trials that have both hyperparameters, the best on top."""
    shown = which & x.is_there & y.is_there
    places = [place for place in reversed(scores.best_first) if shown[place]]
    if not places:
        return []
    about = [scores.about[place] for place in places]
    own = colour if isinstance(colour, str) else colour[places]
    across = axes.jittered(x)[places]
    up = axes.jittered(y, irrational=axes.SILVER)[places]
    return [Dots(across, up, name, own, about=about, **look)]


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
