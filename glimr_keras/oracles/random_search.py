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
    """Draw every value independently from its range, without repeating a configuration.

    A configuration that a finished or running trial already tried is drawn again. A value depends
    only on the seed, the trial's index and the parameter's name. A search can therefore be resumed
    at any point and draws the same values as without the interruption.

    The arguments are as for `Oracle`, but `max_trials` defaults to `10`.

    References:
        Bergstra and Bengio, "Random Search for Hyper-Parameter Optimization", JMLR 2012.
    """

    max_collisions = 1000
    """After this many consecutive draws of tried values, search the rest of a finite space."""

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
        if is_overridden(
            self, "_random_values", RandomSearchOracle
        ):  # a subclass draws differently
            values = self._random_values()
            return (
                Nothing.LEFT
                if values is None
                else completed(values, self.space, (self.seed, int(trial_id)))
            )
        return untried(self, trial_id, self.max_collisions)


def untried(oracle: Oracle, trial_id: str, max_collisions: int) -> Suggestion | Nothing:
    """Return a configuration drawn at random that was not tried.

    In a finite space, the last configurations are certain to be found.
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
        return Nothing.YET  # a running trial may meet hyperparameters that are still unknown
    return Nothing.LEFT if left is None else Suggestion(left, key)
