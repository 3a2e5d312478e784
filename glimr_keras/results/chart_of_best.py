"""A small chart of the best score so far, as HTML without scripts, for notebooks. Runs anywhere."""

from __future__ import annotations

import math
from collections.abc import Sequence

from glimr_keras._utils.html import ACCENT, escaped
from glimr_keras._utils.text import four_digits
from glimr_keras.results.trial_columns import scored
from glimr_keras.trials.execution import TrialStatus
from glimr_keras.trials.objective import Objective
from glimr_keras.trials.trial import Trial

_WIDTH, _HEIGHT, _EDGE = 320, 64, 4
_MANY_POINTS, _MOST_POINTS = 100, 300
_Point = tuple[int, float]
"""The number of a trial and its score."""


def chart_of_best(trials: Sequence[Trial], objective: Objective) -> str:
    """Return a small chart of the trials' scores, with a line for the best score so far.

    Scores that are far worse than the others are drawn at the edge. Trials that a scheduler stopped
    do not count for the line, since they rank below the others.

    Args:
        trials: The trials in the order in which they ended.
        objective: The optimised objective.

    Returns:
        The HTML; an empty string if fewer than two trials have a score.
    """
    points = _points(trials, (TrialStatus.COMPLETED, TrialStatus.STOPPED))
    if len(points) < 2:
        return ""
    ranked = points_of_best(trials)
    scale = _Scale(points, len(trials) - 1, objective)
    said = escaped(
        f"best {objective.name if len(objective.parts) == 1 else 'score'} so far, by trial"
    )
    top, bottom = (four_digits(value) for value in scale.ends)
    return (
        '<div style="display:flex;gap:.5em;font-size:80%;margin:.3em 0">'
        f'<svg role="img" aria-label="{said}" width="{_WIDTH}" height="{_HEIGHT}" '
        f'viewBox="0 0 {_WIDTH} {_HEIGHT}" fill="none">'
        f'<path d="{scale.dots(points)}" stroke="currentColor" stroke-opacity=".45" '
        f'stroke-width="{3.5 if len(points) < _MANY_POINTS else 2.5}" stroke-linecap="round"/>'
        f'<path d="{scale.steps(_best_so_far(ranked, objective))}" stroke="{ACCENT}" '
        'stroke-width="2"/></svg>'
        '<div style="display:flex;flex-direction:column;justify-content:space-between">'
        f'<span class="quiet">{top}</span><span class="quiet">{said}</span>'
        f'<span class="quiet">{bottom}</span></div></div>'
    )


def points_of_best(trials: Sequence[Trial]) -> list[_Point]:
    """Return the number and score of the trials that count for the best score so far.

    These are the completed trials; if there are none, those that a scheduler stopped.
    """
    stopped = (TrialStatus.STOPPED,)
    return _points(trials, (TrialStatus.COMPLETED,)) or _points(trials, stopped)


def _points(trials: Sequence[Trial], statuses: Sequence[str]) -> list[_Point]:
    """Return the number and score of the trials with these statuses and a finite score."""
    found = ((number, trial, scored(trial)) for number, trial in enumerate(trials))
    return [
        (number, score)
        for number, trial, score in found
        if trial.status in statuses and score is not None and math.isfinite(score)
    ]


class _Scale:
    """The scale of the chart's score axis: from the best score to about the worst, without
    outliers.

    Args:
        points: The number and score of each trial.
        last: The number of the last trial.
        objective: The objective, which decides which end is the best. High scores are at the top.
    """

    def __init__(self, points: Sequence[_Point], last: int, objective: Objective) -> None:
        costs = sorted((objective.sort_key(score), score) for _, score in points)
        best, median = costs[0][1], costs[len(costs) // 2][1]
        worst = costs[-1][1]
        if abs(worst - best) > 8 * abs(median - best) > 0:
            worst = median + 2 * (median - best)
        self._low, self._high = min(best, worst), max(best, worst)
        self._last = last

    @property
    def ends(self) -> tuple[float, float]:
        """Return the scores at the top and at the bottom."""
        return self._high, self._low

    def dots(self, points: Sequence[_Point]) -> str:
        """Return an SVG path of dots. If there are many trials, only some of them have a dot."""
        every = -(-len(points) // _MOST_POINTS)
        return "".join(f"M{self._at(*point)}h0" for point in points[::every])

    def steps(self, best: Sequence[_Point]) -> str:
        """Return an SVG path of steps, up to the last trial."""
        first, *others = best
        path = "".join(f"H{self._x(number):.1f}V{self._y(score):.1f}" for number, score in others)
        return f"M{self._at(*first)}{path}H{self._x(self._last):.1f}"

    def _at(self, number: int, score: float) -> str:
        return f"{self._x(number):.1f} {self._y(score):.1f}"

    def _x(self, number: int) -> float:
        return _EDGE + number / max(self._last, 1) * (_WIDTH - 2 * _EDGE)

    def _y(self, score: float) -> float:
        span = self._high - self._low
        share = (score - self._low) / span if span else 0.5
        return _EDGE + (1 - min(max(share, 0.0), 1.0)) * (_HEIGHT - 2 * _EDGE)


def _best_so_far(points: Sequence[_Point], objective: Objective) -> list[_Point]:
    """Return the points that are better than all earlier ones."""
    best: list[_Point] = []
    for number, score in points:
        if not best or objective.better_than(score, best[-1][1]):
            best.append((number, score))
    return best
