"""Random search: configurations drawn independently. Pure Python; runs in the driver."""

from __future__ import annotations

from typing import Any

from glimr_keras._utils.overriding import is_overridden
from glimr_keras.oracles.base import Oracle
from glimr_keras.oracles.suggestions import Nothing, Suggestion, completed
from glimr_keras.space.define_by_run import sample
from glimr_keras.space.hyperparameters import HyperParameters
from glimr_keras.trials.objective import Goal


class RandomSearchOracle(Oracle):
    """Draws every value independently from its range, and draws again what a finished or running
    trial already tried.

    A value depends on the seed, the trial's index and the parameter's name only, so a search can be
    continued at any point and draws what it would have drawn (Bergstra and Bengio, "Random Search
    for Hyper-Parameter Optimization", JMLR 2012).
    """

    max_collisions = 1000
    """After so many draws in a row that were tried before, what is left of a finite space is looked
    for one by one.
    """

    def __init__(
        self,
        objective: Goal = None,
        max_trials: int | None = 10,
        seed: int | None = None,
        hyperparameters: HyperParameters | None = None,
        allow_new_entries: bool = True,
        tune_new_entries: bool = True,
        max_retries_per_trial: int = 0,
        max_consecutive_failed_trials: int = 3,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            objective,
            max_trials,
            hyperparameters,
            allow_new_entries,
            tune_new_entries,
            seed,
            max_retries_per_trial,
            max_consecutive_failed_trials,
            **kwargs,
        )

    def _propose(self, trial_id: str) -> Suggestion | Nothing:
        if is_overridden(self, "_random_values", RandomSearchOracle):  # it draws in its own way
            values = self._random_values()
            return (
                Nothing.LEFT
                if values is None
                else completed(values, self.space, (self.seed, int(trial_id)))
            )
        return untried(self, trial_id, self.max_collisions)


def untried(oracle: Oracle, trial_id: str, max_collisions: int) -> Suggestion | Nothing:
    """A configuration drawn at random that was not tried; the last ones of a finite space are found
    for certain.
    """
    for attempt in range(max_collisions):
        key = (oracle.seed, int(trial_id), attempt)
        values = oracle.space.walk(lambda parameter, key=key: sample(parameter, key))  # type: ignore[misc]
        if not oracle.is_tried(values):
            return Suggestion(values, key)
    key = (oracle.seed, int(trial_id), max_collisions)
    left: dict[str, Any] | None = None
    if oracle.space.is_finite:
        left = next(
            (
                values
                for values in oracle.space.every_configuration()
                if not oracle.is_tried(values)
            ),
            None,
        )
    if left is None and oracle.is_running:
        return Nothing.YET  # what is running may meet hyperparameters that are not known
    return Nothing.LEFT if left is None else Suggestion(left, key)
