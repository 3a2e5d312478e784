"""Bayesian optimisation: by a Gaussian process, or by Optuna's samplers. Runs in the driver."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable, Hashable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from glimr_keras.oracles.ahead import Ahead
from glimr_keras.oracles.base import Oracle
from glimr_keras.oracles.optuna_study import Study
from glimr_keras.oracles.random_search import RandomSearchOracle, untried
from glimr_keras.oracles.sobol import sobol_point
from glimr_keras.oracles.suggestions import Nothing, Suggestion
from glimr_keras.oracles.trial_surrogates import TrialSurrogates
from glimr_keras.oracles.unit_cube import UnitCube
from glimr_keras.space.hyperparameters import HyperParameters
from glimr_keras.space.search_space import SearchSpace
from glimr_keras.trials.objective import Goal, MultiObjective, Objective
from glimr_keras.trials.trial import Trial, by_id

if TYPE_CHECKING:  # heavy, and not needed in workers
    import optuna


_MAX_COLLISIONS = 20
_INITIAL_POINTS = 5
_MANY = 8
"""Where so many trials run for each that has ended meanwhile, a proposal is made ahead."""


class BayesianOptimizationOracle(Oracle):
    """Chooses configurations that a model of the results so far expects to be better.

    By default the model is a Gaussian process over all hyperparameters, and what is chosen has the
    highest expected improvement (`glimr_keras.oracles.gaussian_process`). A hyperparameter that
    exists in some configurations only is learned from those. Trials that are running count as if
    they had the result that is expected, so parallel trials spread out; failed ones count as the
    worst. A configuration is never tried twice while others remain.

    Args:
        alpha, beta: Of KerasTuner's Gaussian process; have no meaning here.
        num_initial_points: So many trials fill the space evenly before the model is used; by
            default 5, and 10 random ones for Optuna's samplers.
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
        self._surrogates, self._cube = TrialSurrogates(self), UnitCube(space)
        self._ahead: Ahead[Iterator[dict[str, Any]]] = Ahead()

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
            known = self._known_by_next()
            if known.is_ahead and self._has_model(known) and self.remaining_trials() != 0:
                self._ahead.begin(*self._work(str(int(trial.trial_id) + 1), known))
        return trial

    @property
    def _num_searched(self) -> int:
        """How many hyperparameters have more than one value."""
        return sum(parameter.count != 1 for parameter in self.space.parameters)

    def _chosen(self, trial_id: str) -> Iterator[dict[str, Any]]:
        """Configurations, the most promising first: of the model, or while there are too few
        results, one of those that fill the space.
        """
        if not self._num_searched:
            return
        known = self._known_by_next()
        if self._has_model(known):
            yield from self._ahead.take(*self._work(trial_id, known))
            return
        if not self._cube.is_of(self.space):
            self._cube = UnitCube(self.space)
        point = sobol_point(int(trial_id), len(self._cube.axes), self.seed)
        yield self._cube.configuration(self._cube.snapped(point[None])[0])

    def _known_by_next(self) -> _Known:
        """What the next proposal depends on: the trials as they are. Where many run, it is made
        ahead, and knows them as they were when the last one began; unless too many ended since.
        """
        running = self.running_trials
        last = self.trials[self.start_order[-1]] if self.start_order else None
        if last is not None and last.num_ended is not None and self._is_asked_by_search:
            since = [self.trials[trial_id] for trial_id in self.end_order[last.num_ended :]]
            if len(running) + len(since) >= _MANY * max(1, len(since)):
                then = sorted([*running, *since], key=by_id)
                return _Known(last.num_ended, then, is_ahead=True)
        return _Known(len(self.end_order), running)

    def _has_model(self, known: _Known) -> bool:
        """Whether there are enough results for a model."""
        surrogate, wanted = self._surrogates.by_kind.get(0), self.num_initial_points
        if wanted is None:
            wanted = _INITIAL_POINTS
        if surrogate is None or not self._num_searched:
            return False
        count = self._surrogates.told_after(known.num_ended)
        return surrogate.num_scored(count) >= max(1, wanted)

    def _work(
        self, trial_id: str, known: _Known
    ) -> tuple[Hashable, Callable[[], Iterator[dict[str, Any]]]]:
        """How the proposals for a trial are made, and what they depend on."""
        key, running = (self.seed, int(trial_id)), [trial.suggested for trial in known.running]
        count = self._surrogates.told_after(known.num_ended)
        prepared = self._surrogates.by_kind[0].prepared(running, count)

        def make() -> Iterator[dict[str, Any]]:
            return prepared.ranked(np.random.default_rng(key))

        return (key, known.num_ended, known.is_ahead, prepared.cube), make


@dataclasses.dataclass(frozen=True)
class _Known:
    """What a proposal knows of the trials.

    Attributes:
        num_ended: So many, the first that ended, have results.
        running: Those without, in the order in which they began.
        is_ahead: Whether others have ended since, or may.
    """

    num_ended: int
    running: list[Trial]
    is_ahead: bool = False
