"""`RayTuner`: a tuner with random search, or a search algorithm of Ray's. Runs in the driver."""

from __future__ import annotations

from typing import Any

from ray.tune.search import Searcher

from glimr_keras._utils.checks import checked_kind
from glimr_keras.oracles import Oracle, RandomSearchOracle, RaySearchOracle
from glimr_keras.space.hyperparameters import HyperParameters
from glimr_keras.trials.objective import Goal
from glimr_keras.tuners.tuner import Tuner


class RayTuner(Tuner):
    """Searches the hyperparameters of a `HyperModel`, many trials side by side on Ray.

    Args:
        hypermodel: A `HyperModel`, or a function `build(config)` that returns a compiled Keras
            model.
        objective: The metric to optimise, such as `"val_accuracy"`, or an `Objective` with its
            direction; a list of several for a Pareto front. `None` where `fit` or `run` returns one
            number, which is minimised.
        max_trials: How many configurations the project may have in all, failed ones included;
            `None` for as many as there are.
        seed: Makes the search draw the same configurations, and each trial the same weights and
            batches.
        hyperparameters: Hyperparameters that win over those of the same name that the model asks
            for.
        tune_new_entries: Whether others that it asks for are searched. If not, they have their
            defaults.
        allow_new_entries: Whether it may ask for others. If not, that is an error, before any
            trial.
        max_retries_per_trial: How often a training that failed is begun again, except by
            `FailedTrialError`.
        max_consecutive_failed_trials: So many failed trials in a row stop the search.
        search_alg: One of `ray.tune.search`, new and without a space of its own; by default random
            search.
        **kwargs: The other arguments of `BaseTuner`.

    Example:
        tuner = RayTuner(
            Digits(), "val_accuracy", max_trials=20, directory="runs", project_name="digits"
        )
        tuner.search(epochs=10)
        model = tuner.get_best_models()[0]
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
        search_alg: Searcher | None = None,
        **kwargs: Any,
    ) -> None:
        checked_kind("search_alg", search_alg, Searcher, "one of `ray.tune.search`")
        arguments: dict[str, Any] = {
            "objective": objective,
            "max_trials": max_trials,
            "seed": seed,
            "hyperparameters": hyperparameters,
            "tune_new_entries": tune_new_entries,
            "allow_new_entries": allow_new_entries,
            "max_retries_per_trial": max_retries_per_trial,
            "max_consecutive_failed_trials": max_consecutive_failed_trials,
        }
        if search_alg is None:
            oracle: Oracle = RandomSearchOracle(**arguments)
        else:
            oracle = RaySearchOracle(search_alg, **arguments)
        super().__init__(oracle, hypermodel, **kwargs)
