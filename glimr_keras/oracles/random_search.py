"""Random search."""

from __future__ import annotations

from typing import Any

from glimr_keras.hyperparameters import sample
from glimr_keras.oracles.base import Nothing, Oracle, Suggestion


class RandomSearchOracle(Oracle):
    """Draws every value independently from its range, and draws again what a finished or running trial already tried.

    A value depends on the seed, the trial's index and the parameter's name only, so a search can be continued at any point and
    draws what it would have drawn (Bergstra and Bengio, "Random Search for Hyper-Parameter Optimization", JMLR 2012).
    """

    max_collisions = 1000
    """After so many draws in a row that were tried before, the space counts as exhausted."""

    def populate_space(self, trial_id: str) -> Suggestion | Nothing:
        for attempt in range(self.max_collisions):
            key = (self.seed, int(trial_id), attempt)
            values = self._draw(key)
            if not self.is_tried(values):
                return Suggestion(values, key)
        return Nothing.LEFT

    def _draw(self, key: tuple[int, ...]) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for parameter in self.space:
            if all(condition.holds(values) for condition in parameter.conditions):
                values[parameter.name] = sample(parameter, key)
        return values
