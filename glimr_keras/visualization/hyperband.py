"""The brackets of `Hyperband`: which trials were promoted from round to round. Runs anywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from glimr_keras.project.journal import Project
from glimr_keras.results.sources import Source
from glimr_keras.space.reserved_names import Stage
from glimr_keras.trials.objective import Goal
from glimr_keras.visualization import backends, marks, style
from glimr_keras.visualization.axes import spread
from glimr_keras.visualization.learning_curves import lineage
from glimr_keras.visualization.picture import Axis, Layer, Lines, Panel, Picture, in_grid
from glimr_keras.visualization.scores import Scores, scores_of

if TYPE_CHECKING:
    from glimr_keras.visualization.backends import Drawing


class Stay(NamedTuple):
    """A trial in a round of a bracket.

    Attributes:
        place: The index of the trial.
        bracket, round: As numbered by Hyperband: the bracket with the most rounds has the highest
            number.
        epochs: The epoch up to which it trained.
        parent: The index of the trial that it continues; `None` in the first round.
    """

    place: int
    bracket: int
    round: int
    epochs: int
    parent: int | None


def plot_hyperband(
    source: Source | Project, *, objective: Goal = None, backend: str = "matplotlib"
) -> Drawing:
    """Plot the brackets of `Hyperband`: the trials' scores in each round, with lines from promoted
    trials to their continuations.

    All iterations of a bracket share one panel. Trials that were not promoted are grey.

    Args:
        source: A tuner or the results that `open` returns, a project's directory or URI, or a
            table.
        objective: The metric to use instead of the optimised objective, with its values at the
            epoch of the score. Defaults to `None`, which means the optimised objective.
        backend: `"matplotlib"` or `"plotly"`. Defaults to `"matplotlib"`.

    Returns:
        Matplotlib axes (an array if there are several) or a Plotly figure.

    Raises:
        ProjectError: If there is nothing to plot yet.
        ValueError: If `Hyperband` did not choose the trials, or there is no such backend.

    Example:
        >>> glimr_keras.visualization.plot_hyperband(tuner)
    """
    backends.check_backend(backend)
    scores = scores_of(source, objective)
    check_hyperband(scores)
    return backends.drawn(_hyperband(scores), backend)


def check_hyperband(scores: Scores) -> None:
    """Check that `Hyperband` chose the trials, and that a trial has a score."""
    if scores.trials and not stays(scores):
        raise ValueError(
            "There are no brackets: the trials were not chosen by the tuner `Hyperband`. See "
            "`plot_learning_curves` for what a scheduler stopped."
        )
    scores.needs_ended()


def stays(scores: Scores) -> list[Stay]:
    """Return the bracket and round of each trial of `Hyperband`."""
    places = {trial.trial_id: place for place, trial in enumerate(scores.trials)}
    return [
        Stay(
            place,
            int(trial.values[Stage.BRACKET]),
            int(trial.values.get(Stage.ROUND, 0)),
            int(trial.values.get(Stage.EPOCHS, 0)),
            places.get(str(trial.values.get(Stage.PARENT))),
        )
        for place, trial in enumerate(scores.trials)
        if Stage.BRACKET in trial.values
    ]


def _hyperband(scores: Scores) -> Picture:
    found = stays(scores)
    ends = style.limits(scores.values, scores.is_min)
    brackets = sorted({stay.bracket for stay in found}, reverse=True)
    columns = min(3, len(brackets))
    panels = []
    for order, bracket in enumerate(brackets):
        mine = [stay for stay in found if stay.bracket == bracket]
        panels.append(_panel(scores, mine, ends, is_hidden=order % columns > 0))
    grid = in_grid(panels, columns)
    return Picture(scores.title("Brackets of Hyperband"), grid, 1.2 + 3.2 * len(grid))


def _panel(scores: Scores, found: list[Stay], ends: tuple[float, float], is_hidden: bool) -> Panel:
    rounds = sorted({stay.round for stay in found})
    x = _across(scores, found)
    layers = [*_promotions(scores, found, x, ends), *_dots(scores, found, x, ends)]
    ticks = [(number, _tick([stay for stay in found if stay.round == number])) for number in rounds]
    return Panel(
        Axis("epochs (trials)", (rounds[0] - 0.5, rounds[-1] + 0.5), ticks, has_grid=False),
        Axis(scores.label, ends, is_hidden=is_hidden),
        layers,
        f"bracket {found[0].bracket}",
    )


def _tick(found: list[Stay]) -> str:
    return f"{max(stay.epochs for stay in found)}\n({len(found)})"


def _across(scores: Scores, found: list[Stay]) -> np.ndarray:
    """Return each trial's x position: within its round, next to the others. Shape (trials,)."""
    x = np.full(len(scores.trials), np.nan)
    for number in {stay.round for stay in found}:
        places = [stay.place for stay in found if stay.round == number]
        x[places] = number + 0.6 * spread(len(places)) * (len(places) > 1)
    return x


def _promotions(
    scores: Scores, found: list[Stay], x: np.ndarray, ends: tuple[float, float]
) -> list[Layer]:
    """Return the lines from trials to their continuations, the best configuration on top."""
    best = [place for place in scores.best_first if np.isfinite(x[place])][:1]
    ids = {each.trial_id for place in best for each in lineage(scores, scores.trials[place])}
    y = np.clip(scores.values, *ends)
    layers: list[Layer] = []
    for is_best, name, colour, width in (
        (False, "promotion", style.SKY, 0.9),
        (True, "best of the bracket", style.ORANGE, 2.0),
    ):
        pairs = [
            (stay.parent, stay.place)
            for stay in found
            if stay.parent is not None
            and (scores.trials[stay.place].trial_id in ids) == is_best
            and np.isfinite(y[[stay.parent, stay.place]]).all()
        ]
        across = [each for begin, end in pairs for each in (x[begin], x[end], np.nan)]
        up = [each for begin, end in pairs for each in (y[begin], y[end], np.nan)]
        layers += [Lines(across, up, name, colour, width, 0.9)] if pairs else []
    return layers


def _dots(
    scores: Scores, found: list[Stay], x: np.ndarray, ends: tuple[float, float]
) -> list[Layer]:
    last = max(stay.round for stay in found)
    promoted = {stay.parent for stay in found}
    goes_on = np.zeros(len(x), bool)
    goes_on[[s.place for s in found if s.place in promoted or s.round == last]] = True
    of_others, of_promoted = np.where(goes_on, np.nan, x), np.where(goes_on, x, np.nan)
    return [
        *marks.scored(scores, of_others, ends, style.GREY, "not promoted"),
        *marks.scored(scores, of_promoted, ends, name="promoted, or in the last round"),
        *marks.failed(scores, x, ends),
    ]
