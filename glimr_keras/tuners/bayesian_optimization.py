"""`BayesianOptimization`: a `Tuner` with a model of the results. Runs in the driver."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from glimr_keras.oracles import BayesianOptimizationOracle
from glimr_keras.space.hyperparameters import HyperParameters
from glimr_keras.trials.objective import Goal
from glimr_keras.tuners.tuner import Tuner

if TYPE_CHECKING:  # heavy, and not needed in workers
    import optuna


class BayesianOptimization(Tuner):
    """Bayesian optimisation: chooses what a model of the results so far expects to be better; see
    `BayesianOptimizationOracle`.

    Choose it when a trial is expensive and there are tens to a few hundred of them.

    Args:
        hypermodel: As for `RayTuner`.
        objective: As for `RayTuner`; a list of several is searched for the whole Pareto front.
        max_trials: As for `RayTuner`.
        num_initial_points: So many trials are random before the model is used.
        alpha: Of KerasTuner's Gaussian process; has no meaning here.
        beta: Likewise.
        seed, hyperparameters, tune_new_entries, allow_new_entries, max_retries_per_trial,
            max_consecutive_failed_trials: As for `RayTuner`.
        sampler: `"gp"`, `"tpe"`, `"cmaes"`, `"nsga2"`, or a sampler of `optuna.samplers`; by
            default `"gp"`, and for a list of objectives `"tpe"`.
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
