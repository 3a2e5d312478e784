"""`RandomSearch`: a `Tuner` that draws at random. Runs in the driver."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from glimr_keras.oracles import RandomSearchOracle
from glimr_keras.space.hyperparameters import HyperParameters
from glimr_keras.trials.objective import Goal
from glimr_keras.tuners.tuner import Tuner

if TYPE_CHECKING:  # heavy, and not needed in workers
    pass


class RandomSearch(Tuner):
    """Random search: every value is drawn independently from its range.

    Choose it for a first look at a space, for short budgets, or when many trials run at once: it
    never waits for a result.

    Args:
        hypermodel: As for `RayTuner`.
        objective: As for `RayTuner`.
        max_trials: As for `RayTuner`.
        seed, hyperparameters, tune_new_entries, allow_new_entries, max_retries_per_trial,
            max_consecutive_failed_trials: As for `RayTuner`.
        **kwargs: The other arguments of `BaseTuner`.
    """

    def __init__(
        self,
        hypermodel: Any = None,
        objective: Goal = None,
        max_trials: int | None = 10,
        seed: int | None = None,
        hyperparameters: HyperParameters | None = None,
        tune_new_entries: bool = True,
        allow_new_entries: bool = True,
        max_retries_per_trial: int = 0,
        max_consecutive_failed_trials: int = 3,
        **kwargs: Any,
    ) -> None:
        oracle = RandomSearchOracle(
            objective=objective,
            max_trials=max_trials,
            seed=seed,
            hyperparameters=hyperparameters,
            allow_new_entries=allow_new_entries,
            tune_new_entries=tune_new_entries,
            max_retries_per_trial=max_retries_per_trial,
            max_consecutive_failed_trials=max_consecutive_failed_trials,
        )
        super().__init__(oracle, hypermodel, **kwargs)
