"""Bayesian optimisation: by a Gaussian process, or by Optuna's samplers. Runs in the driver."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from glimr_keras.oracles.base import Oracle
from glimr_keras.oracles.optuna_study import Study
from glimr_keras.oracles.random_search import RandomSearchOracle, untried
from glimr_keras.oracles.suggestions import Nothing, Suggestion
from glimr_keras.oracles.surrogate import Surrogate
from glimr_keras.space.hyperparameters import HyperParameters
from glimr_keras.space.search_space import SearchSpace
from glimr_keras.trials.objective import Goal, MultiObjective, Objective
from glimr_keras.trials.trial import Trial, TrialStatus

if TYPE_CHECKING:  # heavy, and not needed in workers
    import optuna


_MAX_COLLISIONS = 20
_INITIAL_POINTS = 5, 20


class BayesianOptimizationOracle(Oracle):
    """Chooses configurations that a model of the results so far expects to be better.

    By default the model is a Gaussian process over all hyperparameters, and what is chosen has the
    highest expected improvement (`glimr_keras.oracles.gaussian_process`). A hyperparameter that
    exists in some configurations only is learned from those. Trials that are running count as if
    they had the result that is expected, so parallel trials spread out; failed ones count as the
    worst. A configuration is never tried twice while others remain.

    Args:
        alpha, beta: Of KerasTuner's Gaussian process; have no meaning here.
        num_initial_points: So many trials are random before the model is used; by default two for
            each hyperparameter, but from 5 to 20, and 10 for Optuna's samplers.
        sampler: `"gp"`, the Gaussian process; `"tpe"`, a tree of Parzen estimators over the
            hyperparameters that exist together (Bergstra et al., "Algorithms for Hyper-Parameter
            Optimization", NeurIPS 2011), which stays fast with thousands of trials; `"cmaes"` (for
            real numbers without conditions; needs the package cmaes); `"nsga2"` (a genetic
            algorithm, for several objectives); or a sampler of `optuna.samplers`. By default
            `"gp"`, and for a list of objectives `"tpe"`.

    Raises:
        ValueError: If the sampler is unknown, or `"gp"` is to find a Pareto front.
        ImportError: If the sampler needs a package that is not installed.
    """

    learns = True
    has_own_state = True

    def __init__(
        self,
        objective: Goal = None,
        max_trials: int | None = 10,
        num_initial_points: int | None = None,
        alpha: float | None = None,
        beta: float | None = None,
        seed: int | None = None,
        hyperparameters: HyperParameters | None = None,
        allow_new_entries: bool = True,
        tune_new_entries: bool = True,
        max_retries_per_trial: int = 0,
        max_consecutive_failed_trials: int = 3,
        sampler: str | optuna.samplers.BaseSampler | None = None,
        **kwargs: Any,
    ) -> None:
        if alpha is not None or beta is not None:
            warnings.warn(
                "`alpha` and `beta` have no meaning here: the noise is estimated, and expected "
                "improvement needs no factor.",
                stacklevel=2,
            )
        self.num_initial_points, self.sampler, self.alpha, self.beta = (
            num_initial_points,
            sampler,
            alpha,
            beta,
        )
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

    def begin(self, objective: Objective, seed: int, space: SearchSpace) -> None:
        super().begin(objective, seed, space)
        is_front = isinstance(objective, MultiObjective) and objective.pareto
        sampler = self.sampler or ("tpe" if is_front else "gp")
        if is_front and sampler == "gp":
            raise ValueError(
                "sampler='gp' cannot look for a Pareto front. Use 'tpe' or 'nsga2' for a list of "
                "objectives."
            )
        self._study = (
            None if sampler == "gp" else Study(objective, space, sampler, self.num_initial_points)
        )
        self._of_others: list[Trial] = []

    def _propose(self, trial_id: str) -> Suggestion | Nothing:
        key = (self.seed, int(trial_id))
        if self._study is not None:
            for attempt, values in enumerate(self._study.proposals(trial_id, key, _MAX_COLLISIONS)):
                if not self.is_tried(values):
                    return Suggestion(values, (*key, attempt))
        elif (surrogate := self._surrogate()) is not None:
            for values in surrogate.proposals(np.random.default_rng(key)):
                if not self.is_tried(values):
                    return Suggestion(values, key)
        return untried(self, trial_id, RandomSearchOracle.max_collisions)

    def trial_ended(self, trial: Trial) -> None:
        super().trial_ended(trial)
        if self._study is not None:
            self._study.end(trial)

    def learn(self, trial: Trial) -> None:
        self._of_others.append(trial)
        if self._study is not None:
            self._study.learn(trial)

    def _surrogate(self) -> Surrogate | None:
        """The model of the results so far; `None` while there are too few."""
        known = [*self._of_others, *self.trials.values()]
        scored = [trial for trial in known if trial.is_scored]
        searched = sum(parameter.count != 1 for parameter in self.space.parameters)
        wanted = (
            int(np.clip(2 * searched, *_INITIAL_POINTS))
            if self.num_initial_points is None
            else self.num_initial_points
        )
        if not searched or len(scored) < max(1, wanted):
            return None
        costs = [self.objective.sort_key(trial.score) for trial in scored]
        failed = [trial for trial in known if trial.status == TrialStatus.FAILED]
        running = [trial.suggested for trial in known if trial.status == TrialStatus.RUNNING]
        values = [trial.values for trial in scored + failed]
        return Surrogate(self.space, values, costs + [max(costs)] * len(failed), running)
