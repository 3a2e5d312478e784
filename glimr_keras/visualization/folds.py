"""The score of each fold by configuration, with the mean. Runs anywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from glimr_keras._utils.checks import checked_count
from glimr_keras.project.journal import Project
from glimr_keras.results.sources import Source
from glimr_keras.trials.execution import TrialStatus
from glimr_keras.trials.objective import Goal
from glimr_keras.trials.trial import Trial
from glimr_keras.visualization import backends, style
from glimr_keras.visualization.picture import Axis, Dots, Layer, Lines, Panel, Picture
from glimr_keras.visualization.scores import Scores, scores_of

if TYPE_CHECKING:
    from glimr_keras.visualization.backends import Drawing


def plot_folds(
    source: Source | Project,
    k: int = 20,
    *,
    objective: Goal = None,
    backend: str = "matplotlib",
) -> Drawing:
    """Plot the score of each fold (or execution) of the best configurations, with their mean.

    Without cross validation, each execution has its own score. With several executions per fold, a
    fold's score is their mean. Configurations with a training run that a scheduler stopped come
    last, and their means are drawn as rings.

    Args:
        source: A tuner or the results that `open` returns, a project's directory or URI, or a
            table.
        k: The number of configurations. Defaults to `20`.
        objective: The metric to use instead of the optimised objective, with its values at the
            epoch of the score. Defaults to `None`, which means the optimised objective.
        backend: `"matplotlib"` or `"plotly"`. Defaults to `"matplotlib"`.

    Returns:
        Matplotlib axes or a Plotly figure.

    Raises:
        ProjectError: If there is nothing to plot yet.
        ValueError: If each configuration is trained only once, or there is no such backend.

    Example:
        >>> glimr_keras.visualization.plot_folds(tuner, k=10)
    """
    backends.check_backend(backend)
    checked_count("k", k)
    scores = scores_of(source, objective)
    check_folds(scores)
    return backends.drawn(_folds(scores, k), backend)


def check_folds(scores: Scores) -> None:
    """Check that there are folds or several executions, and a configuration with a score."""
    if _parts(scores) < 2:
        raise ValueError(
            "There are no folds: the project has no cross validation (`cv_folds=` of the tuner), "
            "and one execution for each trial."
        )
    scores.needs_ended()


def _parts(scores: Scores) -> int:
    project = scores.project
    if project.cv_folds is not None:
        return project.cv_folds
    return max((len(trial.executions) for trial in scores.trials), default=1)


def fold_scores(scores: Scores, trial: Trial) -> dict[int, float]:
    """Return the finite score of each fold or execution."""
    found = trial.fold_scores(_parts(scores))
    return {part: score for part, score in found.items() if np.isfinite(score)}


def _folds(scores: Scores, k: int) -> Picture:
    places = scores.best_first[:k]
    of = [fold_scores(scores, scores.trials[place]) for place in places]
    word = "fold" if scores.project.cv_folds is not None else "execution"
    layers: list[Layer] = [_ranges(of), *_parts_of(scores, places, of, word)]
    layers += _means(scores, places)
    shown = [score for found in of for score in found.values()]
    numbers = [(rank, str(scores.numbers[place])) for rank, place in enumerate(places)]
    every = -(-len(numbers) // 30)
    x = Axis("trial, the best first", (-0.7, len(places) - 0.3), numbers[::every], has_grid=False)
    y_axis = Axis(scores.label, style.limits(shown, scores.is_min))
    title = scores.title(f"Scores by {word}")
    return Picture(title, [[Panel(x, y_axis, layers)]], 4.6)


def _parts_of(
    scores: Scores, places: list[int], of: list[dict[int, float]], word: str
) -> list[Layer]:
    """Return a dot for each fold. If there are more folds than colours, all have the same
    colour.
    """
    count = _parts(scores)
    layers: list[Layer] = []
    for part in range(count):
        ranks = [rank for rank, found in enumerate(of) if part in found]
        y = [of[rank][part] for rank in ranks]
        about = [
            f"{scores.about[places[rank]]}<br>{word} {part}: {style.number(score, 5)}"
            for rank, score in zip(ranks, y, strict=True)
        ]
        is_told_apart = count < len(style.COLOURS)
        colour = style.COLOURS[part] if is_told_apart else style.SKY
        name = f"{word} {part}" if is_told_apart else f"{word}s"
        layers.append(Dots(ranks, y, name, colour, opacity=0.85, about=about))
    return layers


def _ranges(of: list[dict[int, float]]) -> Lines:
    """Return a line for each configuration, from its lowest to its highest score."""
    x = [each for rank in range(len(of)) for each in (rank, rank, np.nan)]
    ends = [(min(f.values(), default=np.nan), max(f.values(), default=np.nan)) for f in of]
    y = [each for low, high in ends for each in (low, high, np.nan)]
    return Lines(x, y, colour=style.LIGHT_GREY, width=2.0)


def _means(scores: Scores, places: list[int]) -> list[Layer]:
    layers: list[Layer] = []
    stopped = [scores.trials[place].status == TrialStatus.STOPPED for place in places]
    for is_stopped, name, symbol in ((False, "mean", "dash"), (True, "mean, stopped", "ring")):
        ranks = [rank for rank, is_it in enumerate(stopped) if is_it == is_stopped]
        if ranks:
            y = [float(scores.values[places[rank]]) for rank in ranks]
            about = [scores.about[places[rank]] for rank in ranks]
            size = min(12.0, 400 / len(places)) if symbol == "dash" else 8.0
            layers.append(Dots(ranks, y, name, style.INK, symbol, size, about=about))
    return layers
