"""Hyperparameters as axes: the trials' positions, the options and the scale. Uses Optuna; runs
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
        name: The name of the hyperparameter, as in Optuna's study.
        positions: The position of each trial, NaN if it does not have the hyperparameter. A number
            is its own position; an option has its index, counted from 0. Shape (trials,).
        options: The label of each option; empty for a number.
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
        """Return which trials have the hyperparameter. Shape (trials,), booleans."""
        return np.isfinite(self.positions)

    def scale(self, positions: Any) -> np.ndarray:
        """Return positions as drawn: logarithms on a log scale."""
        return np.log10(positions) if self.is_log else np.asarray(positions, float)

    @property
    def ends(self) -> tuple[float, float]:
        """Return the ends of the axis, as drawn."""
        if self.options:
            return -0.5, len(self.options) - 0.5
        return limits(self.scale(self.positions))

    def unit(self, positions: Any) -> np.ndarray:
        """Return positions as fractions of the axis, from 0 to 1."""
        low, high = self.ends
        return (self.scale(positions) - low) / (high - low)

    def at(self, unit: Any) -> np.ndarray:
        """Return the positions at fractions of the axis, from 0 to 1."""
        low, high = self.ends
        drawn = low + np.asarray(unit, float) * (high - low)
        return 10**drawn if self.is_log else drawn

    def text(self, position: float) -> str:
        """Return the label of a position."""
        return self.options[int(position)] if self.options else number(position)


def all_dimensions(scores: Scores) -> dict[str, Dimension]:
    """Return the hyperparameters of the trials with a score, by name, in order of declaration."""
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
    """Return whether a label belongs to the hyperparameter of this name.

    If several hyperparameters share a name, their conditions follow it in the label.
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
    """Return a key that distinguishes `True` from `1`, but not `1` from `1.0`."""
    return isinstance(value, bool), value
