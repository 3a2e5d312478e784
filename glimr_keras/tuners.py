"""Named tuners: `Tuner` with an oracle, under the names and with the arguments that KerasTuner has. Runs in the driver."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from glimr_keras.hyperparameters import HyperParameters
from glimr_keras.objective import Goal
from glimr_keras.oracles import BayesianOptimizationOracle, GridSearchOracle, HyperbandOracle, RandomSearchOracle
from glimr_keras.sklearn_tuner import SklearnTuner
from glimr_keras.tuner import Tuner

if TYPE_CHECKING:  # heavy, and not needed in workers
    import optuna

__all__ = ["BayesianOptimization", "GridSearch", "Hyperband", "RandomSearch", "SklearnTuner"]


class RandomSearch(Tuner):
    """Random search: every value is drawn independently from its range.

    Choose it for a first look at a space, for short budgets, or when many trials run at once: it never waits for a result.

    Args:
        hypermodel: As for `RayTuner`.
        objective: As for `RayTuner`.
        max_trials: As for `RayTuner`.
        seed, hyperparameters, tune_new_entries, allow_new_entries, max_retries_per_trial, max_consecutive_failed_trials: As for
            `RayTuner`.
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


class GridSearch(Tuner):
    """Grid search: every configuration once, as far as they make different models.

    Ranges without a step count with ten values. Choose it for few hyperparameters with few values each. Hyperparameters that a
    configuration does not use are not varied: with `layers` from 1 to 3 and three values for each layer's units, there are
    3 + 9 + 27 trials.

    Args:
        hypermodel: As for `RayTuner`.
        objective: As for `RayTuner`.
        max_trials: As for `RayTuner`; by default the whole grid.
        seed, hyperparameters, tune_new_entries, allow_new_entries, max_retries_per_trial, max_consecutive_failed_trials: As for
            `RayTuner`.
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


class BayesianOptimization(Tuner):
    """Bayesian optimisation: chooses what a model of the results so far expects to be better; see `BayesianOptimizationOracle`.

    Choose it when a trial is expensive and there are tens to a few hundred of them.

    Args:
        hypermodel: As for `RayTuner`.
        objective: As for `RayTuner`; a list of several is searched for the whole Pareto front.
        max_trials: As for `RayTuner`.
        num_initial_points: So many trials are random before the model is used.
        alpha: Of KerasTuner's Gaussian process; has no meaning here.
        beta: Likewise.
        seed, hyperparameters, tune_new_entries, allow_new_entries, max_retries_per_trial, max_consecutive_failed_trials: As for
            `RayTuner`.
        sampler: `"gp"`, `"tpe"`, `"cmaes"`, `"nsga2"`, or a sampler of `optuna.samplers`; by default `"gp"`, and for a list of
            objectives `"tpe"`.
        **kwargs: The other arguments of `BaseTuner`.
    """

    def __init__(
        self,
        hypermodel: Any = None,
        objective: Goal = None,
        max_trials: int | None = 10,
        num_initial_points: int | None = None,
        alpha: float | None = None,
        beta: float | None = None,
        seed: int | None = None,
        hyperparameters: HyperParameters | None = None,
        tune_new_entries: bool = True,
        allow_new_entries: bool = True,
        max_retries_per_trial: int = 0,
        max_consecutive_failed_trials: int = 3,
        sampler: str | optuna.samplers.BaseSampler | None = None,
        **kwargs: Any,
    ) -> None:
        oracle = BayesianOptimizationOracle(
            objective=objective,
            max_trials=max_trials,
            num_initial_points=num_initial_points,
            alpha=alpha,
            beta=beta,
            seed=seed,
            hyperparameters=hyperparameters,
            allow_new_entries=allow_new_entries,
            tune_new_entries=tune_new_entries,
            max_retries_per_trial=max_retries_per_trial,
            max_consecutive_failed_trials=max_consecutive_failed_trials,
            sampler=sampler,
        )
        super().__init__(oracle, hypermodel, **kwargs)


class Hyperband(Tuner):
    """Hyperband: many configurations for a few epochs, and more epochs for the best of them; see `HyperbandOracle`.

    Choose it when early epochs tell good configurations from bad ones. `epochs` of `search()` has no meaning: trainings go up
    to `max_epochs`. A promoted configuration is a trial of its own, which continues the training of an earlier one.

    Args:
        hypermodel: As for `RayTuner`.
        objective: As for `RayTuner`.
        max_epochs: Epochs of the longest training.
        factor: What the number of configurations is divided by, and their epochs are multiplied by, from round to round.
        hyperband_iterations: How often the whole algorithm runs; 0 or `None` for no end.
        seed, hyperparameters, tune_new_entries, allow_new_entries, max_retries_per_trial, max_consecutive_failed_trials: As for
            `RayTuner`.
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
