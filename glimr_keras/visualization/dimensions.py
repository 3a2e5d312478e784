"""Hyperparameters as axes: where each trial is on one, its options and its scale. Optuna; runs
anywhere.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from glimr_keras.results.distributions import Distributions, labelled
from glimr_keras.visualization.scores import Scores
from glimr_keras.visualization.style import limits, number, shortened_all

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

_ABSENT = object()


@dataclasses.dataclass(frozen=True)
class Dimension:
    """A hyperparameter as an axis.

    Attributes:
        name: Of the hyperparameter, as Optuna's study has it.
        positions: Of the trials: numbers, of a category the number of the option counted from 0,
            nan where a trial does not have it. Shape (trials,).
        options: What is written for each option; empty for a number.
        is_log: Whether it is sampled on a log scale.
        is_int: Whether its numbers are integers.
    """

    name: str
    positions: np.ndarray
    options: tuple[str, ...] = ()
    is_log: bool = False
    is_int: bool = False

    @property
    def is_there(self) -> np.ndarray:
        """Which trials have it. Shape (trials,), booleans."""
        return np.isfinite(self.positions)

    def scale(self, positions: Any) -> np.ndarray:
        """Return positions as they are drawn: logarithms on a log scale."""
        return np.log10(positions) if self.is_log else np.asarray(positions, float)

    @property
    def ends(self) -> tuple[float, float]:
        """The ends of the axis, as they are drawn."""
        if self.options:
            return -0.5, len(self.options) - 0.5
        return limits(self.scale(self.positions))

    def unit(self, positions: Any) -> np.ndarray:
        """Return positions as parts of the axis, from 0 to 1."""
        low, high = self.ends
        return (self.scale(positions) - low) / (high - low)

    def at(self, unit: Any) -> np.ndarray:
        """Return the positions at parts of the axis, from 0 to 1."""
        low, high = self.ends
        drawn = low + np.asarray(unit, float) * (high - low)
        return 10**drawn if self.is_log else drawn

    def text(self, position: float) -> str:
        """Return what is written at a position."""
        return self.options[int(position)] if self.options else number(position)


def all_dimensions(scores: Scores) -> dict[str, Dimension]:
    """Return the hyperparameters that trials with a score had, by name, in the order in which they
    were declared.
    """
    distributions = Distributions(scores.project)
    had = [
        distributions.split(trial)[0] if is_shown else {}
        for trial, is_shown in zip(scores.trials, scores.ended, strict=True)
    ]
    kinds = {label: found for each in had for label, (_, found) in each.items()}
    return {
        label: _dimension(label, kinds[label], [each.get(label, (_ABSENT,))[0] for each in had])
        for label in labelled(scores.project)
        if label in kinds
    }


def is_of(label: str, name: str) -> bool:
    """Tell whether a label is of the hyperparameter of this name; where two share a name, their
    labels go on with their conditions.
    """
    return label == name or label.startswith(f"{name} (")


def _dimension(label: str, distribution: BaseDistribution, values: list[Any]) -> Dimension:
    from optuna.distributions import IntDistribution

    choices: Sequence[Any] | None = getattr(distribution, "choices", None)
    if choices is None:
        positions = [np.nan if value is _ABSENT else float(value) for value in values]
        is_log = bool(getattr(distribution, "log", False))
        is_int = isinstance(distribution, IntDistribution)
        return Dimension(label, np.array(positions), is_log=is_log, is_int=is_int)
    has_order = all(isinstance(choice, (bool, int, float)) for choice in choices)
    ordered = sorted(choices) if has_order else list(choices)
    places = {_exactly(choice): place for place, choice in enumerate(ordered)}
    positions = [np.nan if value is _ABSENT else places[_exactly(value)] for value in values]
    texts = [number(each, 4) if type(each) is float else str(each) for each in ordered]
    return Dimension(label, np.array(positions, float), tuple(shortened_all(texts, 14)))


def _exactly(value: Any) -> tuple[bool, Any]:
    """Return a key that tells `True` from `1`, but not `1` from `1.0`."""
    return isinstance(value, bool), value
