"""`Hyperband`: a `Tuner` that stops bad trials early. Runs in the driver."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from glimr_keras.oracles import HyperbandOracle
from glimr_keras.space.hyperparameters import HyperParameters
from glimr_keras.trials.objective import Goal
from glimr_keras.tuners.tuner import Tuner

if TYPE_CHECKING:  # heavy, and not needed in workers
    pass


class Hyperband(Tuner):
    """Hyperband: many configurations for a few epochs, and more epochs for the best of them; see
    `HyperbandOracle`.

    Choose it when early epochs tell good configurations from bad ones. `epochs` of `search()` has
    no meaning: trainings go up to `max_epochs`. A promoted configuration is a trial of its own,
    which continues the training of an earlier one.

    Args:
        hypermodel: As for `RayTuner`.
        objective: As for `RayTuner`.
        max_epochs: Epochs of the longest training.
        factor: What the number of configurations is divided by, and their epochs are multiplied by,
            from round to round.
        hyperband_iterations: How often the whole algorithm runs; 0 or `None` for no end.
        seed, hyperparameters, tune_new_entries, allow_new_entries, max_retries_per_trial,
            max_consecutive_failed_trials: As for `RayTuner`.
        max_trials: May bound the search further.
        **kwargs: The other arguments of `BaseTuner`.
    """

    def __init__(
        self,
        hypermodel: Any = None,
        objective: Goal = None,
        max_epochs: int = 100,
        factor: int = 3,
        hyperband_iterations: int | None = 1,
        seed: int | None = None,
        hyperparameters: HyperParameters | None = None,
        tune_new_entries: bool = True,
        allow_new_entries: bool = True,
        max_retries_per_trial: int = 0,
        max_consecutive_failed_trials: int = 3,
        max_trials: int | None = None,
        **kwargs: Any,
    ) -> None:
        oracle = HyperbandOracle(
            objective=objective,
            max_epochs=max_epochs,
            factor=factor,
            hyperband_iterations=hyperband_iterations,
            seed=seed,
            hyperparameters=hyperparameters,
            allow_new_entries=allow_new_entries,
            tune_new_entries=tune_new_entries,
            max_retries_per_trial=max_retries_per_trial,
            max_consecutive_failed_trials=max_consecutive_failed_trials,
            max_trials=max_trials,
        )
        super().__init__(oracle, hypermodel, **kwargs)
