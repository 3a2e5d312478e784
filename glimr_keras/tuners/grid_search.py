"""`GridSearch`: a `Tuner` that tries every configuration. Runs in the driver."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from glimr_keras.oracles import GridSearchOracle
from glimr_keras.space.hyperparameters import HyperParameters
from glimr_keras.trials.objective import Goal
from glimr_keras.tuners.tuner import Tuner

if TYPE_CHECKING:  # heavy, and not needed in workers
    pass


class GridSearch(Tuner):
    """Grid search: every configuration once, as far as they make different models.

    Ranges without a step count with ten values. Choose it for few hyperparameters with few values
    each. Hyperparameters that a configuration does not use are not varied: with `layers` from 1 to
    3 and three values for each layer's units, there are 3 + 9 + 27 trials.

    Args:
        hypermodel: As for `RayTuner`.
        objective: As for `RayTuner`.
        max_trials: As for `RayTuner`; by default the whole grid.
        seed, hyperparameters, tune_new_entries, allow_new_entries, max_retries_per_trial,
            max_consecutive_failed_trials: As for `RayTuner`.
        **kwargs: The other arguments of `BaseTuner`.
    """

    def __init__(
        self,
        hypermodel: Any = None,
        objective: Goal = None,
        max_trials: int | None = None,
        seed: int | None = None,
        hyperparameters: HyperParameters | None = None,
        tune_new_entries: bool = True,
        allow_new_entries: bool = True,
        max_retries_per_trial: int = 0,
        max_consecutive_failed_trials: int = 3,
        **kwargs: Any,
    ) -> None:
        oracle = GridSearchOracle(
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
