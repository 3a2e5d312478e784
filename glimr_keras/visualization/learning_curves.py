"""A metric by epoch: the best trials in front of all others. Runs anywhere."""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from glimr_keras._utils.checks import checked_count
from glimr_keras.errors import did_you_mean
from glimr_keras.project.journal import Project
from glimr_keras.results.sources import Source
from glimr_keras.space.reserved_names import Stage
from glimr_keras.trials.execution import TrialStatus
from glimr_keras.trials.metric_directions import infer_direction
from glimr_keras.trials.objective import Goal
from glimr_keras.trials.trial import Trial
from glimr_keras.visualization import backends, marks, style
from glimr_keras.visualization.picture import Axis, Band, Dots, Layer, Lines, Panel, Picture
from glimr_keras.visualization.scores import Scores, nothing, scores_of

if TYPE_CHECKING:
    from glimr_keras.visualization.backends import Drawing


@dataclasses.dataclass(frozen=True)
class Curve:
    """A metric of one trial by epoch, over its executions. Each array has shape (epochs,).

    Attributes:
        epochs: Counted from 1. For a trial that continues another, they start with the first epoch
            of that one.
        mean, low, high: Over the executions that reached the epoch.
    """

    epochs: np.ndarray
    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray


def plot_learning_curves(
    source: Source | Project,
    metric: str | None = None,
    k: int = 5,
    *,
    objective: Goal = None,
    backend: str = "matplotlib",
) -> Drawing:
    """Plot a metric by epoch: the best trials in colour with a dot at their best epoch, all others
    in grey.

    With several executions or folds, the line is the mean over those that reached the epoch. A band
    spans their lowest to highest values. The curve of a `Hyperband` trial that continues others
    begins with theirs. Rings mark where schedulers stopped trials, crosses where trials failed.

    Args:
        source: A tuner or the results that `open` returns, a project's directory or URI, or a table
            of `experiment_table`.
        metric: The name of the metric in Keras' logs. Defaults to `None`, which means the first
            objective in the logs, or else the loss.
        k: The number of coloured trials, from 1 to 8 (both included). Defaults to `5`.
        objective: The metric or metrics that rank the trials instead of the optimised objective.
            Defaults to `None`, which means the optimised objective.
        backend: `"matplotlib"` or `"plotly"`. Defaults to `"matplotlib"`.

    Returns:
        Matplotlib axes or a Plotly figure.

    Raises:
        ProjectError: If there is nothing to plot yet.
        ValueError: If there is no such metric or backend, or `k` is not from 1 to 8.

    Example:
        >>> glimr_keras.visualization.plot_learning_curves(tuner, "val_loss", k=3)
    """
    backends.check_backend(backend)
    if checked_count("k", k) > len(style.COLOURS):
        raise ValueError(f"`k` must be at most {len(style.COLOURS)}. Received: k={k!r}")
    scores = scores_of(source, objective)
    check_learning_curves(scores, metric)
    name = _usual_metric(scores) if metric is None else metric
    return backends.drawn(_picture(scores, name, k), backend)


def check_learning_curves(scores: Scores, metric: str | None = None) -> None:
    """Check that a trial has logged the metric in several epochs.

    Raises:
        ValueError: If the trials have logged only other metrics.
        ProjectError: If they have logged none, or only one epoch each.
    """
    name = _usual_metric(scores) if metric is None else metric
    known = _metrics(scores)
    if known and name not in known:
        raise ValueError(
            f"`metric` must be one that trials have logged. Received: metric={name!r}."
            f"{did_you_mean(name, known)} There are: {', '.join(known)}"
        )
    if known.get(name, 0) < 2:
        raise nothing(
            scores,
            "no trial has metrics of several epochs. `results_dataframe` and projects of "
            "KerasTuner have the best epoch only",
        )


def _metrics(scores: Scores) -> dict[str, int]:
    """Return the logged metrics, with the largest number of epochs in which a training run has a
    number.
    """
    most: dict[str, int] = {}
    for trial in scores.trials:
        for execution in trial.executions.values():
            counts: Counter[str] = Counter()
            for log in execution.history.values():
                counts.update({name: int(math.isfinite(value)) for name, value in log.items()})
            most |= {name: max(count, most.get(name, 0)) for name, count in counts.items()}
    return most


def _usual_metric(scores: Scores) -> str:
    known = _metrics(scores)
    names = [*(part.name for part in scores.objective.parts), "val_loss", "loss"]
    return next((name for name in names if name in known), names[0])


def curve_of(scores: Scores, trial: Trial, metric: str) -> Curve | None:
    """Return the curve of a trial and of those that it continues; `None` without any epoch."""
    values: dict[int, list[float]] = {}
    for part in lineage(scores, trial):
        begun = min(values, default=None)
        for execution in part.executions.values():
            for epoch, log in execution.history.items():
                if metric in log and (begun is None or epoch < begun):
                    values.setdefault(epoch, []).append(log[metric])
    finite = {
        epoch: [each for each in found if math.isfinite(each)]
        for epoch, found in sorted(values.items())
    }
    epochs = [epoch for epoch, found in finite.items() if found]
    if not epochs:
        return None
    return Curve(
        np.array(epochs),
        np.array([statistics.fmean(finite[epoch]) for epoch in epochs]),
        np.array([min(finite[epoch]) for epoch in epochs]),
        np.array([max(finite[epoch]) for epoch in epochs]),
    )


def lineage(scores: Scores, trial: Trial) -> list[Trial]:
    """Return a trial and those that it continues, latest first."""
    found = [trial]
    trials = scores.project.trials
    while (parent := trials.get(str(found[-1].values.get(Stage.PARENT)))) is not None:
        if any(parent is each for each in found):
            break
        found.append(parent)
    return found


def best_lineages(scores: Scores, k: int) -> list[int]:
    """Return the indices of the best trials, one per configuration.

    Several trials of `Hyperband` may continue the same configuration.
    """
    places: list[int] = []
    seen: set[str] = set()
    for place in scores.best_first:
        ids = {trial.trial_id for trial in lineage(scores, scores.trials[place])}
        if not ids & seen:
            places.append(place)
        seen |= ids
    return places[:k]


def _picture(scores: Scores, metric: str, k: int) -> Picture:
    best = best_lineages(scores, k)
    curves = {place: curve_of(scores, trial, metric) for place, trial in enumerate(scores.trials)}
    drawn = {place: curve for place, curve in curves.items() if curve is not None}
    layers: list[Layer] = _others(scores, drawn, [place for place in drawn if place not in best])
    shown = [place for place in best if place in drawn]
    for rank, place in reversed(list(enumerate(shown))):
        layers += _band(drawn[place], style.COLOURS[rank])
    for rank, place in enumerate(shown):
        layers += _best(scores, place, drawn[place], style.COLOURS[rank])
    layers += _ends(scores, drawn)
    values = [curve.mean for curve in drawn.values()]
    values += [end for place in shown for end in (drawn[place].low, drawn[place].high)]
    direction = _direction(scores, metric)
    ends = style.limits(np.concatenate(values), None if direction is None else direction == "min")
    last = max(float(curve.epochs[-1]) for curve in drawn.values())
    x = Axis("epoch", (1 - last * 0.02, last * 1.02), is_count=True)
    y = Axis(style.shortened(metric, 48), ends)
    return Picture(scores.title("Learning curves"), [[Panel(x, y, layers)]], 4.6)


def _direction(scores: Scores, metric: str) -> str | None:
    known = {**scores.project.directions, **scores.objective.name_to_direction}
    return known.get(metric) or infer_direction(metric)


def _others(scores: Scores, curves: dict[int, Curve], places: Sequence[int]) -> list[Layer]:
    if not places:
        return []
    x = np.concatenate([[*curves[place].epochs, np.nan] for place in places])
    y = np.concatenate([[*curves[place].mean, np.nan] for place in places])
    about = [scores.about[place] for place in places for _ in range(len(curves[place].epochs) + 1)]
    opacity = float(np.clip(40 / len(places), 0.2, 0.8))
    return [Lines(x, y, "others", style.GREY, 0.8, opacity, about=about)]


def _band(curve: Curve, colour: str) -> list[Layer]:
    return (
        [Band(curve.epochs, curve.low, curve.high, colour)]
        if (curve.low < curve.high).any()
        else []
    )


def _best(scores: Scores, place: int, curve: Curve, colour: str) -> list[Layer]:
    trial = scores.trials[place]
    score = style.number(float(scores.values[place]), 4)
    name = f"trial {scores.numbers[place]}: {score}"
    about = [f"{scores.about[place]}<br>epoch {epoch}" for epoch in curve.epochs]
    layers: list[Layer] = [Lines(curve.epochs, curve.mean, name, colour, 1.8, about=about)]
    epoch = trial.best_step + 1
    at = np.flatnonzero(curve.epochs == epoch)
    if len(at):
        layers.append(Dots([epoch], curve.mean[at], colour=colour, size=6, about=[about[at[0]]]))
    return layers


def _ends(scores: Scores, curves: dict[int, Curve]) -> list[Layer]:
    """Return a mark where each curve was stopped or failed, with the reason."""
    size = marks.fitting(len(curves), 4.5)
    looks = {
        TrialStatus.STOPPED: Dots([], [], "stopped by the scheduler", style.GREY, "ring", size),
        TrialStatus.FAILED: Dots([], [], "failed", style.VERMILLION, "cross", size),
    }
    layers: list[Layer] = []
    for status, look in looks.items():
        places = [place for place in curves if scores.trials[place].status == status]
        if places:
            layers.append(
                dataclasses.replace(
                    look,
                    x=[float(curves[place].epochs[-1]) for place in places],
                    y=[float(curves[place].mean[-1]) for place in places],
                    about=[f"{scores.about[place]}<br>{look.name}" for place in places],
                )
            )
    return layers
