"""The score against each hyperparameter. Runs anywhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from glimr_keras.project.journal import Project
from glimr_keras.results.sources import Source
from glimr_keras.trials.objective import Goal
from glimr_keras.visualization import axes, backends, marks, style
from glimr_keras.visualization.dimensions import Dimension
from glimr_keras.visualization.importances import chosen, varied
from glimr_keras.visualization.picture import Axis, Panel, Picture, Scale, in_grid
from glimr_keras.visualization.scores import Scores, scores_of

if TYPE_CHECKING:
    from glimr_keras.visualization.backends import Drawing

MOST = 12
_COLUMNS = 4


def plot_slice(
    source: Source | Project,
    params: Sequence[str] | None = None,
    *,
    objective: Goal = None,
    backend: str = "matplotlib",
) -> Drawing:
    """Plot the trials' scores against each hyperparameter, later trials darker.

    Trials that a scheduler stopped are rings. Trials without a hyperparameter are not in its panel.

    Args:
        source: A tuner or the results that `open` returns, a project's directory or URI, or a
            table.
        params: The names of hyperparameters. Defaults to `None`, which means those that were
            varied; if there are more than 12, the 12 most important (see `plot_param_importances`).
        objective: The metric to use instead of the optimised objective, with its values at the
            epoch of the score. Defaults to `None`, which means the optimised objective.
        backend: `"matplotlib"` or `"plotly"`. Defaults to `"matplotlib"`.

    Returns:
        Matplotlib axes (an array if there are several) or a Plotly figure.

    Raises:
        ProjectError: If there is nothing to plot yet.
        ValueError: If there is no such hyperparameter or backend.

    Example:
        >>> glimr_keras.visualization.plot_slice(tuner, params=["learning_rate"])
    """
    backends.check_backend(backend)
    scores = scores_of(source, objective)
    scores.needs_ended()
    return backends.drawn(_slices(scores, chosen(scores, params, MOST)), backend)


def check_slice(scores: Scores) -> None:
    """Check that a hyperparameter was varied."""
    scores.needs_ended()
    varied(scores)


def _slices(scores: Scores, dimensions: Sequence[Dimension]) -> Picture:
    ends = style.limits(scores.values, scores.is_min)
    columns = min(_COLUMNS, len(dimensions))
    inches = (style.WIDTH - 1.8) / columns - 0.1
    labels = axes.labels(dimensions, inches)
    panels = []
    for place, (dimension, label) in enumerate(zip(dimensions, labels, strict=True)):
        y = Axis(style.shortened(scores.metric, 22), ends, is_hidden=place % columns > 0)
        layers = marks.scored(scores, axes.jittered(dimension), ends, scores.numbers)
        panels.append(Panel(axes.horizontal(dimension, label, inches), y, layers))
    grid = in_grid(panels, columns)
    last = float(max(scores.numbers.max(), 1))
    scale = Scale("trial", 0.0, last, is_reversed=True, is_count=True)
    height = 1.0 + (3.2 if columns == 1 else 2.3) * len(grid)
    return Picture(scores.title("Scores by hyperparameter"), grid, height, scale)
