"""Bayesian optimisation, by a Gaussian process or by Optuna's samplers. Runs in the driver."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Hashable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from glimr_keras.oracles.ahead import Ahead
from glimr_keras.oracles.base import Oracle
from glimr_keras.oracles.batches import Batch, Batches
from glimr_keras.oracles.optuna_study import Study
from glimr_keras.oracles.random_search import RandomSearchOracle, untried
from glimr_keras.oracles.sobol import sobol_point
from glimr_keras.oracles.suggestions import Nothing, Suggestion
from glimr_keras.oracles.surrogate import Prepared, Several
from glimr_keras.oracles.trial_surrogates import TrialSurrogates
from glimr_keras.oracles.unit_cube import UnitCube, conditions_in
from glimr_keras.space.hyperparameters import HyperParameters
from glimr_keras.space.search_space import SearchSpace
from glimr_keras.trials.objective import Goal, MultiObjective, Objective
from glimr_keras.trials.trial import Trial

if TYPE_CHECKING:  # heavy, and not needed in workers
    import optuna


_MAX_COLLISIONS = 20
_INITIAL_POINTS = 5


class BayesianOptimizationOracle(Oracle):
    """Choose configurations that a model of the results so far expects to be better.

    By default, the model is a Gaussian process over all hyperparameters, and the choice has the
    highest expected improvement (`glimr_keras.oracles.gaussian_process`). A hyperparameter that
    exists in some configurations only is learned from those. Running trials count as if they had
    their expected result, so parallel trials spread out. Failed trials count as the worst. A
    configuration is never tried twice while others remain.

    The other arguments are as for `Oracle`, but `max_trials` defaults to `10`.

    Args:
        alpha, beta: Parameters of KerasTuner's Gaussian process, which have no effect here.
            Defaults to `None`.
        num_initial_points: The number of trials that fill the space evenly before the model is
            used. Defaults to `None`, which means 5, or 10 random trials for Optuna's samplers.
        sampler: The sampler, one of the following. Defaults to `None`, which means `"gp"`, or
            `"tpe"` for a list of objectives.
            `"gp"`: the Gaussian process.
            `"tpe"`: a tree of Parzen estimators over the hyperparameters that exist together
            (Bergstra et al.), which stays fast with thousands of trials.
            `"cmaes"`: CMA-ES, for real numbers without conditions; needs the package cmaes.
            `"nsga2"`: a genetic algorithm, for several objectives.
            A sampler of `optuna.samplers`.

    Raises:
        ValueError: If the sampler is unknown, or if `"gp"` is to find a Pareto front.
        ImportError: If the sampler needs a package that is not installed.

    References:
        Bergstra et al., "Algorithms for Hyper-Parameter Optimization", NeurIPS 2011.
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
        self._surrogates, self._cube = TrialSurrogates(self), UnitCube(space)
        self._batches = Batches(self)
        self._ahead: Ahead[Iterator[dict[str, Any]]] = Ahead()
        self._shared: Ahead[Several] = Ahead()

    def _propose(self, trial_id: str) -> Suggestion | Nothing:
        key = (self.seed, int(trial_id))
        if self._study is not None:
            for attempt, values in enumerate(self._study.proposals(trial_id, key, _MAX_COLLISIONS)):
                if not self.is_tried(values):
                    return Suggestion(values, (*key, attempt))
        else:
            for values in self._chosen(trial_id):
                if not self.is_tried(values):
                    return Suggestion(values, key)
        return untried(self, trial_id, RandomSearchOracle.max_collisions)

    def trial_ended(self, trial: Trial) -> None:
        super().trial_ended(trial)
        if self._study is not None:
            self._study.end(trial)

    def learn(self, trial: Trial) -> None:
        if self._study is not None:
            self._study.learn(trial)
        else:
            self._surrogates.learn(trial)

    def next_trial(self) -> Trial | Nothing:
        trial = super().next_trial()
        if isinstance(trial, Trial) and self._study is None:
            batch = self._batches.foreseen() if self._is_asked_by_search else None
            is_due = batch is not None and batch.is_ahead and self.remaining_trials() != 0
            if batch is not None and is_due and self._has_model(batch):
                self._begin_ahead(batch)
        return trial

    def _chosen(self, trial_id: str) -> Iterator[dict[str, Any]]:
        """Yield configurations, the most promising first.

        They come from the model; while there are too few results, one space-filling point.
        """
        if not self.space.num_searched:
            return
        batch = self._batch_of_next(int(trial_id))
        if self._has_model(batch):
            yield from self._modelled(int(trial_id), batch)
            return
        if not self._cube.is_of(self.space):
            self._cube = UnitCube(self.space)
        point = sobol_point(int(trial_id), len(self._cube.axes), self.seed)
        yield self._cube.configuration(self._cube.snapped(point[None])[0])

    def _batch_of_next(self, number: int) -> Batch:
        """Return the batch of the next proposal, which knows the trials as they are.

        If many trials run, the proposal is made ahead. It then knows the trials as of the start of
        the last one, unless too many have ended since.
        """
        batch = self._batches.of_next() if self._is_asked_by_search else None
        started, ended = len(self.start_order), len(self.end_order)
        return batch or Batch(number, 1, ended, started, is_ahead=False)

    def _has_model(self, batch: Batch) -> bool:
        """Return whether there are enough results for a model."""
        surrogate, wanted = self._surrogates.by_kind.get(0), self.num_initial_points
        if wanted is None:
            wanted = _INITIAL_POINTS
        if surrogate is None or not self.space.num_searched:
            return False
        count = self._surrogates.told_after(batch.num_ended)
        return surrogate.num_scored(count) >= max(1, wanted)

    def _modelled(self, number: int, batch: Batch) -> Iterator[dict[str, Any]]:
        """Return the model's proposals for a trial of a batch.

        Args:
            number: The trial's number.
            batch: The batch.
        """
        key = self._key(number, batch)
        if batch.size == 1:

            def one() -> Iterator[dict[str, Any]]:
                return self._maker(key[0], batch)()

            return self._ahead.take(key, one)

        def several() -> Several:
            return self._several_maker(key[0], batch)()

        return self._shared.share(key, several).of(number - batch.first)

    def _begin_ahead(self, batch: Batch) -> None:
        """Start making the proposals of a batch."""
        key = self._key(batch.first, batch)
        if batch.size == 1:
            self._ahead.begin(key, self._maker(key[0], batch))
        else:
            self._shared.begin(key, self._several_maker(key[0], batch))

    def _key(self, number: int, batch: Batch) -> tuple[tuple[int, int], Hashable, Hashable]:
        """Return all that the proposals of a batch depend on; the first item is their seed."""
        seed = (self.seed, number if batch.size == 1 else batch.first)
        return seed, batch, conditions_in(self.space)

    def _maker(self, seed: tuple[int, int], batch: Batch) -> Callable[[], Iterator[dict[str, Any]]]:
        """Return a function that makes one proposal from what is known now."""
        prepared = self._prepared(batch)
        return lambda: prepared.ranked(np.random.default_rng(seed))

    def _several_maker(self, seed: tuple[int, int], batch: Batch) -> Callable[[], Several]:
        """Return a function that makes a batch's proposals from what is known now."""
        prepared = self._prepared(batch)
        return lambda: prepared.several(np.random.default_rng(seed), batch.size)

    def _prepared(self, batch: Batch) -> Prepared:
        """Return what a batch knows."""
        running = [trial.suggested for trial in self._batches.running(batch)]
        count = self._surrogates.told_after(batch.num_ended)
        return self._surrogates.by_kind[0].prepared(running, count)
