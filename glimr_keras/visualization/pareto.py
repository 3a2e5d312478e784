"""The best compromises between several objectives. Runs anywhere."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from glimr_keras.project.journal import Project
from glimr_keras.results.sources import Source
from glimr_keras.trials.objective import Goal, Objective
from glimr_keras.visualization import backends, marks, style
from glimr_keras.visualization.picture import Axis, Layer, Lines, Panel, Picture
from glimr_keras.visualization.scores import Scores, nothing, scores_of

if TYPE_CHECKING:
    from glimr_keras.visualization.backends import Drawing


def plot_pareto_front(
    source: Source | Project, *, objective: Goal = None, backend: str = "matplotlib"
) -> Drawing:
    """Plot the trials over each pair of objectives, with the Pareto front: trials that no other
    beats without being worse in another objective.

    The axes always include the whole front and may therefore be logarithmic. Triangles are trials
    that are far worse, beyond an end of the axis.

    Args:
        source: A tuner or the results that `open` returns, a project's directory or URI, or a
            table.
        objective: A list of metrics to use instead of the optimised objectives, with the values at
            the epoch of the score. Defaults to `None`, which means the optimised objectives.
        backend: `"matplotlib"` or `"plotly"`. Defaults to `"matplotlib"`.

    Returns:
        Matplotlib axes or a Plotly figure. With more than two objectives, the axes are an array. It
        has a row for each objective but the first and a column for each but the last.

    Raises:
        ProjectError: If there is nothing to plot yet.
        ValueError: If there is only one objective, or no such backend.

    Example:
        >>> glimr_keras.visualization.plot_pareto_front(
        ...     tuner, objective=["val_accuracy", gk.Objective("parameters", "min")]
        ... )
    """
    backends.check_backend(backend)
    scores = scores_of(source, objective)
    check_pareto_front(scores)
    return backends.drawn(_pareto(scores), backend)


def check_pareto_front(scores: Scores) -> None:
    """Check that there are several objectives, and a trial that has measured them."""
    parts = scores.objective.parts
    if len(parts) < 2:
        raise ValueError(
            "A Pareto front needs at least two objectives. Received one: "
            f"{parts[0].name!r}. Pass the metrics, as in objective=['val_loss', 'val_accuracy']."
        )
    if not np.isfinite(objective_values(scores)).all(axis=1).any():
        raise nothing(scores, "no trial has measured every objective")


def objective_values(scores: Scores) -> np.ndarray:
    """Return the objectives' values of trials with a score; NaN if unknown.

    Shape (trials, objectives).
    """
    objective = scores.objective
    missing = (np.nan,) * len(objective.parts)
    rows = [
        (trial.objective_values(objective) if trial.is_scored else None) or missing
        for trial in scores.trials
    ]
    return np.array(rows, float).reshape(len(rows), len(missing))


def is_on_front(values: np.ndarray, parts: tuple[Objective, ...]) -> np.ndarray:
    """Return which trials are on the Pareto front.

    No other trial is better than one of these in one objective without being worse in another.

    Args:
        values: The values, as `objective_values` returns them.
        parts: The objectives.

    Returns:
        Shape (trials,), booleans.
    """
    costs = values * [-1 if part.direction == "max" else 1 for part in parts]
    known = np.isfinite(costs).all(axis=1)
    others = costs[known]

    def is_beaten(mine: np.ndarray) -> bool:
        return bool(((others <= mine).all(axis=1) & (others < mine).any(axis=1)).any())

    return np.array([bool(k) and not is_beaten(c) for k, c in zip(known, costs, strict=True)], bool)


def _pareto(scores: Scores) -> Picture:
    parts = scores.objective.parts
    values = objective_values(scores)
    front = is_on_front(values, parts)
    count = len(parts) - 1
    panels: list[list[Panel | None]] = [[None] * count for _ in range(count)]
    for column, row in itertools.combinations(range(len(parts)), 2):
        x = _axis(parts[column], values[:, column], front, is_hidden=row < count)
        y = _axis(parts[row], values[:, row], front, is_hidden=column > 0)
        placed = _placed(x, values[:, column]), _placed(y, values[:, row])
        layers = _layers(scores, *placed, front, is_line=count == 1)
        panels[row - 1][column] = Panel(x, y, layers)
    height = 4.4 if count == 1 else 1.2 + min(2.8 * count, 7)
    return Picture(scores.title("Pareto front"), panels, height)


class _Placed(NamedTuple):
    """The trials on an axis. Each array has shape (trials,).

    Attributes:
        positions: The positions; values beyond the axis are near its end.
        way: The end that the value is beyond: -1 for the low end, 1 for the high end, 0 for none.
    """

    positions: np.ndarray
    way: np.ndarray


def _axis(part: Objective, values: np.ndarray, front: np.ndarray, is_hidden: bool) -> Axis:
    """Return the axis of an objective, which includes the whole front.

    The best trials in one objective may be far worse than others in the next. In this case the
    scale may be logarithmic.
    """
    way = "maximised" if part.direction == "max" else "minimised"
    low, high = style.limits(values, part.direction != "max")
    shown = values[((values >= low) & (values <= high)) | front]
    is_log = _is_crowded(shown)
    ends = style.limits(np.log10(shown) if is_log else shown)
    return Axis(
        f"{style.shortened(part.name, 28)} ({way})",
        (10 ** ends[0], 10 ** ends[1]) if is_log else ends,
        is_log=is_log,
        is_hidden=is_hidden,
    )


def _is_crowded(values: np.ndarray) -> bool:
    """Return whether a linear axis would crowd the values but a logarithmic one would not.

    A linear axis is crowded if half of the values are in a tenth of it.
    """
    low, middle, high = np.quantile(values, [0.0, 0.5, 1.0])
    return bool(0 < 100 * low <= high and middle - low < (high - low) / 10)


def _placed(axis: Axis, values: np.ndarray) -> _Placed:
    """Return the positions of trials on an axis; NaN if unknown."""
    low, high = axis.limits or (0.0, 1.0)
    way = np.where(values < low, -1, np.where(values > high, 1, 0))
    ends = np.log10([low, high]) if axis.is_log else np.array([low, high])
    inner = ends + np.array([1, -1]) * np.ptp(ends) * marks.MARGIN
    first, last = 10**inner if axis.is_log else inner
    positions = np.where(way < 0, first, np.where(way > 0, last, values))
    return _Placed(np.where(np.isfinite(values), positions, np.nan), way)


def _layers(
    scores: Scores, across: _Placed, up: _Placed, front: np.ndarray, is_line: bool
) -> list[Layer]:
    x, y = across.positions, up.positions
    layers: list[Layer] = []
    if is_line:
        order = np.flatnonzero(front)[np.argsort(x[front])]
        layers.append(Lines(x[order], y[order], colour=style.ORANGE, width=1.0, opacity=0.7))
    about = scores.about_fully
    inside = ~front & (across.way == 0) & (up.way == 0)
    for which, colour, name, look in (
        (inside & scores.stopped, style.BLUE, "stopped", {"symbol": "ring"}),
        (inside & scores.completed, style.BLUE, "completed", {"opacity": 0.6}),
        (front & scores.stopped, style.ORANGE, "front, stopped", {"symbol": "ring", "size": 7}),
        (front & scores.completed, style.ORANGE, "front", {"size": 7}),
    ):
        layers += marks.chosen(which, x, y, colour, name, about, **look)
    for is_beyond, symbol in (
        (across.way < 0, "left"),
        (across.way > 0, "right"),
        ((up.way < 0) & (across.way == 0), "down"),
        ((up.way > 0) & (across.way == 0), "up"),
    ):
        which, name = is_beyond & scores.ended, "beyond the axis"
        layers += marks.chosen(which, x, y, style.GREY, name, about, symbol=symbol)
    return layers
