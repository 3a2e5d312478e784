"""The scores of outer folds next to the scores that their searches reported. Runs anywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from glimr_keras.visualization import backends, style
from glimr_keras.visualization.picture import Axis, Dots, Layer, Lines, Panel, Picture

if TYPE_CHECKING:
    from glimr_keras.evaluation.nested import NestedResult
    from glimr_keras.visualization.backends import Drawing


def plot_nested(result: NestedResult, *, backend: str = "matplotlib") -> Drawing:
    """Plot the score of each outer fold of a nested cross validation next to the score that its
    search reported.

    A line joins both scores of a fold. The means of both are shown too.

    Args:
        result: The return value of `nested_cross_validation`.
        backend: `"matplotlib"` or `"plotly"`. Defaults to `"matplotlib"`.

    Returns:
        Matplotlib axes or a Plotly figure.

    Raises:
        ValueError: If there is no such backend.

    Example:
        >>> glimr_keras.visualization.plot_nested(result)
    """
    backends.check_backend(backend)
    return backends.drawn(_nested(result), backend)


def _nested(result: NestedResult) -> Picture:
    places = list(range(len(result.folds)))
    reported = [each.reported for each in result.folds]
    scores = [each.score for each in result.folds]
    joined = [value for pair in zip(reported, scores, strict=True) for value in (*pair, np.nan)]
    x = [each for place in places for each in (place, place, np.nan)]
    layers: list[Layer] = [Lines(x, joined, colour=style.LIGHT_GREY, width=2.0)]
    kinds = (
        ("reported by the search", reported, style.ORANGE),
        ("on unseen samples", scores, style.BLUE),
    )
    for name, values, colour in kinds:
        mean = float(np.mean(values))
        label = f"{name}, mean {style.number(mean, 3)}"
        about = [
            f"outer fold {each.fold}<br>{name}: {style.number(value, 5)}<br>trial {each.trial_id}"
            for each, value in zip(result.folds, values, strict=True)
        ]
        layers.append(Lines([-0.5, len(places) - 0.5], [mean, mean], colour=colour, width=1.0))
        layers.append(Dots(places, values, label, colour, size=9.0, about=about))
    ticks = [(place, str(place)) for place in places]
    x_axis = Axis("outer fold", (-0.5, len(places) - 0.5), ticks, has_grid=False)
    y_axis = Axis(style.shortened(result.objective, 48))
    return Picture("Nested cross validation", [[Panel(x_axis, y_axis, layers)]], 4.2)
