"""All figures by name, and the figures that apply to a project. Runs anywhere."""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping
from typing import Any

from glimr_keras.project.journal import Project
from glimr_keras.results.sources import Source
from glimr_keras.visualization import (
    folds,
    history,
    hyperband,
    importances,
    learning_curves,
    pairs,
    parallel,
    pareto,
    slices,
    timeline,
)
from glimr_keras.visualization.scores import Scores, scores_of

FIGURES: Mapping[str, Callable[..., Any]] = types.MappingProxyType(
    {
        "optimization_history": history.plot_optimization_history,
        "learning_curves": learning_curves.plot_learning_curves,
        "param_importances": importances.plot_param_importances,
        "slice": slices.plot_slice,
        "parallel_coordinate": parallel.plot_parallel_coordinate,
        "contour": pairs.plot_contour,
        "rank": pairs.plot_rank,
        "pareto_front": pareto.plot_pareto_front,
        "folds": folds.plot_folds,
        "hyperband": hyperband.plot_hyperband,
        "edf": history.plot_edf,
        "timeline": timeline.plot_timeline,
    }
)
"""The plot functions by name. Each takes a source and `backend=`."""

_CHECKS: Mapping[str, Callable[[Scores], None]] = {
    "optimization_history": history.check_optimization_history,
    "learning_curves": learning_curves.check_learning_curves,
    "param_importances": importances.check_param_importances,
    "slice": slices.check_slice,
    "parallel_coordinate": parallel.check_parallel_coordinate,
    "contour": pairs.check_contour,
    "rank": pairs.check_rank,
    "pareto_front": pareto.check_pareto_front,
    "folds": folds.check_folds,
    "hyperband": hyperband.check_hyperband,
    "edf": history.check_edf,
    "timeline": timeline.check_timeline,
}


def applicable(source: Source | Project) -> list[str]:
    """Return the names of the figures that a source has data for, in the order of `FIGURES`.

    Args:
        source: A tuner or the results that `open` returns, a project's directory or URI, or a
            table.
    """
    scores = scores_of(source)

    def has(name: str) -> bool:
        try:
            _CHECKS[name](scores)
        except ValueError:
            return False
        return True

    return [name for name in FIGURES if has(name)]
