"""`Tuner`: a `BaseTuner` with the arguments in KerasTuner's order. Runs in the driver."""

from __future__ import annotations

import os
from typing import Any

from glimr_keras.oracles import Oracle
from glimr_keras.tuners.base_tuner import BaseTuner


class Tuner(BaseTuner):
    """Searches the hyperparameters of a `HyperModel` with any oracle, many trials side by side on
    Ray.

    Use `RayTuner`, or one of the named tuners, unless the oracle is one of your own. Subclass it to
    run trials in your own way: see `run_trial`.

    Args:
        oracle, hypermodel, max_model_size, optimizer, loss, metrics, distribution_strategy,
            directory, project_name, logger, tuner_id, overwrite, executions_per_trial: As for
            `BaseTuner`, in another order.
        **kwargs: The other arguments of `BaseTuner`.

    Example:
        class Evolution(Oracle):
            def populate_space(self, trial_id):
                …

        oracle = Evolution("val_accuracy", max_trials=20)
        tuner = Tuner(oracle, Digits(), directory="runs", project_name="digits")
        tuner.search(epochs=10)
        model = tuner.get_best_models()[0]
    """

    def __init__(
        self,
        oracle: Oracle,
        hypermodel: Any = None,
        max_model_size: int | None = None,
        optimizer: Any = None,
        loss: Any = None,
        metrics: Any = None,
        distribution_strategy: Any = None,
        directory: str | os.PathLike[str] | None = None,
        project_name: str | None = None,
        logger: Any = None,
        tuner_id: str | None = None,
        overwrite: bool = False,
        executions_per_trial: int = 1,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            oracle,
            hypermodel,
            directory,
            project_name,
            overwrite,
            max_model_size=max_model_size,
            optimizer=optimizer,
            loss=loss,
            metrics=metrics,
            distribution_strategy=distribution_strategy,
            logger=logger,
            tuner_id=tuner_id,
            executions_per_trial=executions_per_trial,
            **kwargs,
        )
