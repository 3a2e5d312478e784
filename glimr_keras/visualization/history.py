"""Scores over time, and their distribution. Runs anywhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from glimr_keras.project.journal import Project
from glimr_keras.results.sources import Source
from glimr_keras.trials.objective import Goal
from glimr_keras.visualization import backends, marks, style
from glimr_keras.visualization.picture import Axis, Lines, Panel, Picture
from glimr_keras.visualization.scores import Scores, scores_of

if TYPE_CHECKING:
    from glimr_keras.visualization.backends import Drawing


def plot_optimization_history(
    source: Source | Project, *, objective: Goal = None, backend: str = "matplotlib"
) -> Drawing:
    """Plot the score of each trial and the best score so far.

    Trials that a scheduler stopped are rings. Failed trials are crosses at the bad end of the axis.
    Neither counts for the best score. Scores that are far worse than most are triangles at that
    end.

    Args:
        source: A tuner or the results that `open` returns, a project's directory or URI, or a
            table.
        objective: The metric to use instead of the optimised objective, with its values at the
            epoch of the score. Defaults to `None`, which means the optimised objective.
        backend: `"matplotlib"` or `"plotly"`. Defaults to `"matplotlib"`.

    Returns:
        Matplotlib axes or a Plotly figure.

    Raises:
        ProjectError: If there is nothing to plot yet.
        ValueError: If there is no such backend.

    Example:
        >>> glimr_keras.visualization.plot_optimization_history(tuner)
    """
    backends.check_backend(backend)
    scores = scores_of(source, objective)
    check_optimization_history(scores)
    return backends.drawn(_history(scores), backend)


def check_optimization_history(scores: Scores) -> None:
    """Check that a trial has a score."""
    scores.needs_ended()


def _history(scores: Scores) -> Picture:
    ends = style.limits(scores.values, scores.is_min)
    x, about = scores.numbers.astype(float), scores.about_fully
    layers = [
        *marks.scored(scores, x, ends, name="completed", about=about),
        *marks.failed(scores, x, ends),
    ]
    best = best_so_far(scores)
    if np.isfinite(best).any():
        layers.append(Lines(x, best, "best so far", style.ORANGE, 2.0, has_steps=True))
    panel = Panel(Axis("trial", style.limits(x), is_count=True), Axis(scores.label, ends), layers)
    return Picture(scores.title("Optimization history"), [[panel]])


def best_so_far(scores: Scores) -> np.ndarray:
    """Return the best score of completed trials up to each trial; NaN before there is one.

    Shape (trials,).
    """
    best = np.fmin if scores.is_min else np.fmax
    values: np.ndarray = np.where(scores.completed, scores.values, np.nan)
    found: np.ndarray = best.accumulate(values)
    return found


def plot_edf(
    source: Source | Project | Sequence[Source | Project],
    *,
    objective: Goal = None,
    backend: str = "matplotlib",
) -> Drawing:
    """Plot the empirical distribution function of the scores of completed trials.

    For each score, it shows the fraction of completed trials that score at most this.

    Args:
        source: A tuner or the results that `open` returns, a project's directory or URI, or a
            table. To compare several searches with the same objective, pass a list of these.
        objective: The metric to use instead of the optimised objective, with its values at the
            epoch of the score. Defaults to `None`, which means the optimised objective.
        backend: `"matplotlib"` or `"plotly"`. Defaults to `"matplotlib"`.

    Returns:
        Matplotlib axes or a Plotly figure.

    Raises:
        ProjectError: If there is nothing to plot yet.
        ValueError: If there is no such backend, or the searches have different objectives.

    Example:
        >>> glimr_keras.visualization.plot_edf([random_search, hyperband])
    """
    backends.check_backend(backend)
    sources: Sequence[Any] = source if isinstance(source, (list, tuple)) else [source]
    searches = [scores_of(each, objective) for each in sources]
    for scores in searches:
        check_edf(scores)
    return backends.drawn(_edf(searches), backend)


def check_edf(scores: Scores) -> None:
    """Check that a trial has completed with a score."""
    scores.needs_completed()


def _edf(searches: Sequence[Scores]) -> Picture:
    first = searches[0]
    others = [scores.metric for scores in searches if scores.metric != first.metric]
    if others:
        raise ValueError(
            "Searches are compared in one objective; pass `objective=`. Received: "
            f"{', '.join([first.metric, *others])}"
        )
    ends = style.limits(np.concatenate([each.values[each.completed] for each in searches]))
    given = [scores.name for scores in searches]
    alike = [f"{name or 'search'} ({place + 1})" for place, name in enumerate(given)]
    names = style.shortened_all(given if len(set(given)) == len(given) else alike)
    layers = []
    for place, scores in enumerate(searches):
        values = np.sort(scores.values[scores.completed])
        x, y = [ends[0], *values, ends[1]], np.arange(len(values) + 1) / len(values)
        colour = style.COLOURS[place % len(style.COLOURS)]
        name = names[place] if len(searches) > 1 else ""
        layers.append(Lines(x, [*y, 1.0], name, colour, 2.0, has_steps=True))
    title = (
        first.title("Distribution of scores") if len(searches) == 1 else "Distribution of scores"
    )
    panel = Panel(Axis(first.label, ends), Axis("fraction of completed trials", (0, 1.02)), layers)
    return Picture(title, [[panel]])
