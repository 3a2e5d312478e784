"""Named tuners: `RayTuner` with one slot filled, under the names that KerasTuner gave them. Runs in the driver."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from glimr_keras.objective import Objective
from glimr_keras.oracles import BayesianOptimizationOracle, GridSearchOracle, HyperbandOracle, Oracle
from glimr_keras.search_space import SearchSpace
from glimr_keras.tuner import RayTuner

if TYPE_CHECKING:  # heavy, and not needed in workers
    import optuna

_Objective = str | Objective | Sequence[str | Objective] | None


class _NamedTuner(RayTuner):
    """A tuner with an oracle of its own."""

    def __init__(self, hypermodel: Any, objective: _Objective, max_trials: int | None, **kwargs: Any) -> None:
        if kwargs.get("search_alg") is not None:
            raise ValueError(f"{type(self).__name__} has its own way to choose; pass `search_alg` to RayTuner instead.")
        super().__init__(hypermodel, objective, max_trials, **kwargs)


class RandomSearch(_NamedTuner):
    """Random search: every value is drawn independently from its range.

    Choose it for a first look at a space, for short budgets, or when many trials run at once: it never waits for a result.

    Args:
        hypermodel: As for `RayTuner`.
        objective: As for `RayTuner`.
        max_trials: As for `RayTuner`.
        seed: As for `RayTuner`.
        max_consecutive_failed_trials: As for `RayTuner`.
        **kwargs: The other arguments of `RayTuner`, except `search_alg`.
    """

    def __init__(
        self,
        hypermodel: Any = None,
        objective: _Objective = None,
        max_trials: int | None = 10,
        seed: int | None = None,
        max_consecutive_failed_trials: int = 3,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            hypermodel,
            objective,
            max_trials,
            seed=seed,
            max_consecutive_failed_trials=max_consecutive_failed_trials,
            **kwargs,
        )


class GridSearch(_NamedTuner):
    """Grid search: every configuration once, as far as they make different models.

    Ranges without a step count with ten values. Choose it for few hyperparameters with few values each. Hyperparameters that a
    configuration does not use are not varied: with `layers` from 1 to 3 and three values for each layer's units, there are
    3 + 9 + 27 trials.

    Args:
        hypermodel: As for `RayTuner`.
        objective: As for `RayTuner`.
        max_trials: As for `RayTuner`; by default the whole grid.
        seed: As for `RayTuner`.
        max_consecutive_failed_trials: As for `RayTuner`.
        **kwargs: The other arguments of `RayTuner`, except `search_alg`.
    """

    def __init__(
        self,
        hypermodel: Any = None,
        objective: _Objective = None,
        max_trials: int | None = None,
        seed: int | None = None,
        max_consecutive_failed_trials: int = 3,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            hypermodel,
            objective,
            max_trials,
            seed=seed,
            max_consecutive_failed_trials=max_consecutive_failed_trials,
            **kwargs,
        )

    def make_oracle(self, objective: Objective, seed: int, space: SearchSpace) -> Oracle:
        """Makes what chooses the configurations."""
        return GridSearchOracle(objective, self.max_trials, seed, space, self.initial_points)


class BayesianOptimization(_NamedTuner):
    """Bayesian optimisation: chooses what a model of the results so far expects to be better; see `BayesianOptimizationOracle`.

    Choose it when a trial is expensive and there are tens to a few hundred of them.

    Args:
        hypermodel: As for `RayTuner`.
        objective: As for `RayTuner`; a list of several is searched for the whole Pareto front.
        max_trials: As for `RayTuner`.
        num_initial_points: So many trials are random before the model is used.
        alpha: Of KerasTuner's Gaussian process; has no meaning here.
        beta: Likewise.
        seed: As for `RayTuner`.
        max_consecutive_failed_trials: As for `RayTuner`.
        sampler: `"gp"`, `"tpe"`, `"cmaes"`, `"nsga2"`, or a sampler of `optuna.samplers`; by default `"gp"`, and for a list of
            objectives `"tpe"`.
        **kwargs: The other arguments of `RayTuner`, except `search_alg`.
    """

    def __init__(
        self,
        hypermodel: Any = None,
        objective: _Objective = None,
        max_trials: int | None = 10,
        num_initial_points: int | None = None,
        alpha: float | None = None,
        beta: float | None = None,
        seed: int | None = None,
        max_consecutive_failed_trials: int = 3,
        sampler: str | optuna.samplers.BaseSampler | None = None,
        **kwargs: Any,
    ) -> None:
        if alpha is not None or beta is not None:
            warnings.warn(
                "`alpha` and `beta` have no meaning here: the noise is estimated, and expected improvement needs no factor.",
                stacklevel=2,
            )
        super().__init__(
            hypermodel,
            objective,
            max_trials,
            seed=seed,
            max_consecutive_failed_trials=max_consecutive_failed_trials,
            **kwargs,
        )
        self.num_initial_points, self.sampler = num_initial_points, sampler
        self.make_oracle(self.objective, 0, SearchSpace(is_whole=False))  # says now what is wrong with its arguments

    def make_oracle(self, objective: Objective, seed: int, space: SearchSpace) -> Oracle:
        """Makes what chooses the configurations."""
        return BayesianOptimizationOracle(
            objective,
            self.max_trials,
            seed,
            space,
            self.initial_points,
            self.num_initial_points,
            self.sampler,
        )


class Hyperband(_NamedTuner):
    """Hyperband: many configurations for a few epochs, and more epochs for the best of them; see `HyperbandOracle`.

    Choose it when early epochs tell good configurations from bad ones. `epochs` of `search()` has no meaning: trainings go up
    to `max_epochs`. A promoted configuration is a trial of its own, which continues the training of an earlier one.

    Args:
        hypermodel: As for `RayTuner`.
        objective: As for `RayTuner`.
        max_epochs: Epochs of the longest training.
        factor: What the number of configurations is divided by, and their epochs are multiplied by, from round to round.
        hyperband_iterations: How often the whole algorithm runs; 0 or `None` for no end.
        seed: As for `RayTuner`.
        max_consecutive_failed_trials: As for `RayTuner`.
        **kwargs: The other arguments of `RayTuner`, except `search_alg`; `max_trials` may bound the search further.
    """

    def __init__(
        self,
        hypermodel: Any = None,
        objective: _Objective = None,
        max_epochs: int = 100,
        factor: int = 3,
        hyperband_iterations: int | None = 1,
        seed: int | None = None,
        max_consecutive_failed_trials: int = 3,
        max_trials: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            hypermodel,
            objective,
            max_trials,
            seed=seed,
            max_consecutive_failed_trials=max_consecutive_failed_trials,
            **kwargs,
        )
        self.max_epochs, self.factor, self.hyperband_iterations = max_epochs, factor, hyperband_iterations
        self.make_oracle(self.objective, 0, SearchSpace(is_whole=False))  # says now what is wrong with its arguments

    def make_oracle(self, objective: Objective, seed: int, space: SearchSpace) -> Oracle:
        """Makes what chooses the configurations."""
        return HyperbandOracle(
            objective,
            self.max_trials,
            seed,
            space,
            self.initial_points,
            self.max_epochs,
            self.factor,
            self.hyperband_iterations,
        )
