"""Bayesian optimisation, by Optuna's samplers."""

from __future__ import annotations

import contextlib
import copy
import logging
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from glimr_keras.hyperparameters import sample
from glimr_keras.objective import MultiObjective, Objective
from glimr_keras.oracles.base import Nothing, Oracle, Suggestion
from glimr_keras.oracles.forms import Form, form_of
from glimr_keras.oracles.random_search import RandomSearchOracle, untried
from glimr_keras.parameters import HyperParameter
from glimr_keras.search_space import SearchSpace
from glimr_keras.trials import Trial

if TYPE_CHECKING:  # heavy, and not needed in workers; imported where it is used
    import optuna
    from optuna.distributions import BaseDistribution

_MAX_COLLISIONS = 20

_PACKAGES = {"gp": "torch", "cmaes": "cmaes"}


class BayesianOptimizationOracle(Oracle):
    """Chooses configurations that a model of the results so far expects to be better.

    By default the model is a tree of Parzen estimators over all hyperparameters jointly, in groups of those that exist
    together, so one that exists only in some configurations is learned from those alone (Bergstra et al., "Algorithms for
    Hyper-Parameter Optimization", NeurIPS 2011; Falkner et al., "BOHB", ICML 2018). Trials that are running count with a
    pessimistic result, so parallel trials spread out. A configuration is never tried twice while others remain.

    Args:
        num_initial_points: So many trials are random before the model is used.
        sampler: `"tpe"`, `"gp"` (a Gaussian process; needs PyTorch), `"cmaes"` (for real numbers without conditions; needs the
            package cmaes), `"nsga2"` (a genetic algorithm, for several objectives), or a sampler of `optuna.samplers`.

    Raises:
        ValueError: If the sampler is unknown.
        ImportError: If it needs a package that is not installed.
    """

    learns = True

    def __init__(
        self,
        objective: Objective,
        max_trials: int | None = None,
        seed: int = 0,
        space: SearchSpace | Iterable[HyperParameter] = (),
        initial_points: Sequence[Mapping[str, Any]] = (),
        num_initial_points: int | None = None,
        sampler: str | optuna.samplers.BaseSampler = "tpe",
    ) -> None:
        import optuna

        super().__init__(objective, max_trials, seed, space, initial_points)
        self._make_sampler = sampler_maker(sampler, num_initial_points)
        self._forms: dict[str, tuple[HyperParameter, Form, BaseDistribution]] = {}
        self._under_way: dict[str, optuna.Trial] = {}
        self._to_learn: list[Trial] = []  # of other projects, until there is something known to learn of
        logging.getLogger("optuna").setLevel(logging.ERROR)  # else it prints a line for every study, and for every condition
        self._parts = objective.parts if isinstance(objective, MultiObjective) and objective.pareto else (objective,)
        ways = optuna.study.StudyDirection
        directions = [ways.MAXIMIZE if part.direction == "max" else ways.MINIMIZE for part in self._parts]
        self._study = optuna.create_study(directions=directions)

    def populate_space(self, trial_id: str) -> Suggestion | Nothing:
        self._take_in_space()
        while self._forms and self._to_learn:
            self._learn(self._to_learn.pop(0))
        for attempt in range(_MAX_COLLISIONS):
            key = (self.seed, int(trial_id), attempt)
            self._study.sampler = self._make_sampler(int(np.random.SeedSequence(key).generate_state(1)[0]))
            with _quiet():
                asked = self._study.ask()
                values = self._suggested(asked, key)
            if not self.is_tried(values):
                self._under_way[trial_id] = asked
                return Suggestion(values, key)
            self._fail(asked)
        return untried(self, trial_id, RandomSearchOracle.max_collisions)

    def end_trial(self, trial: Trial) -> None:
        super().end_trial(trial)
        asked = self._under_way.pop(trial.trial_id, None)
        if asked is not None and trial.is_scored and asked.params == self._encoded(trial)[0]:
            self._study.tell(asked, self._results(trial))
            return
        if asked is not None:
            self._fail(asked)
        if trial.is_scored:
            self._take_in_space()
            self._learn(trial)

    def learn(self, trial: Trial) -> None:
        self._to_learn.append(trial)

    def _learn(self, trial: Trial) -> None:
        import optuna

        params, distributions = self._encoded(trial)
        self._study.add_trial(
            optuna.trial.create_trial(params=params, distributions=distributions, values=self._results(trial))
        )

    def _results(self, trial: Trial) -> list[float]:
        values = trial.objective_values(self.objective) if len(self._parts) > 1 else None
        return [trial.score or 0.0] if values is None else list(values)

    def _take_in_space(self) -> None:
        for parameter in self.space.parameters:
            label = _label(parameter)
            if label not in self._forms:
                form = form_of(parameter)
                self._forms[label] = parameter, form, _distribution(form)

    def _fail(self, asked: optuna.Trial) -> None:
        from optuna.trial import TrialState

        self._study.tell(asked, state=TrialState.FAIL)

    def _suggested(self, asked: optuna.Trial, key: tuple[int, ...]) -> dict[str, Any]:
        def choose(parameter: HyperParameter) -> Any:
            label = _label(parameter)
            _, form, distribution = self._forms[label]
            return sample(parameter, key) if distribution.single() else form.decode(asked._suggest(label, distribution))

        return self.space.walk(choose)

    def _encoded(self, trial: Trial) -> tuple[dict[str, Any], dict[str, BaseDistribution]]:
        """What a trial used, as Optuna knows it; what it did not ask for is not there."""
        params, distributions = {}, {}
        for label, (parameter, form, distribution) in self._forms.items():
            value = trial.values.get(parameter.name)
            if distribution.single() or not parameter.exists(trial.values) or not parameter.allows(value):
                continue
            params[label], distributions[label] = form.encode(value), distribution
        return params, distributions


def sampler_maker(
    sampler: str | optuna.samplers.BaseSampler, num_initial_points: int | None
) -> Callable[[int], optuna.samplers.BaseSampler]:
    """Makes a sampler for a seed; a new one for each trial, so what is chosen does not depend on what was chosen before it.

    Raises:
        ValueError: If there is no such sampler.
        ImportError: If a package that it needs is not installed.
    """
    from optuna import samplers

    if isinstance(sampler, samplers.BaseSampler):
        mine = copy.deepcopy(sampler)
        return lambda seed: mine
    kinds: dict[str, tuple[Any, dict[str, Any]]] = {
        "tpe": (samplers.TPESampler, {"multivariate": True, "group": True, "constant_liar": True}),
        "gp": (samplers.GPSampler, {}),
        "cmaes": (samplers.CmaEsSampler, {}),
        "nsga2": (samplers.NSGAIISampler, {}),
    }
    if sampler not in kinds:
        raise ValueError(
            f"`sampler` must be 'tpe', 'gp', 'cmaes', 'nsga2' or one of `optuna.samplers`. Received: sampler={sampler!r}"
        )
    kind, options = kinds[sampler]
    if sampler != "nsga2":
        startup = 10 if num_initial_points is None else num_initial_points
        options |= {"n_startup_trials": startup}

    def make(seed: int) -> optuna.samplers.BaseSampler:
        with _quiet():
            made: optuna.samplers.BaseSampler = kind(seed=seed, **options)
            return made

    try:
        make(0)
    except ImportError as error:
        raise ImportError(
            f"sampler={sampler!r} needs the package {_PACKAGES[sampler]}: pip install {_PACKAGES[sampler]}"
        ) from error
    return make


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without Optuna's warnings that options, which have been there for years, are experimental."""
    from optuna.exceptions import ExperimentalWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        yield


def _label(parameter: HyperParameter) -> str:
    """A name for Optuna; in two branches of a condition, one name may be two hyperparameters."""
    return parameter.name if not parameter.conditions else f"{parameter.name} {parameter.conditions}"


def _distribution(form: Form) -> BaseDistribution:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if form.kind == "category":
        return CategoricalDistribution(tuple(range(int(form.high) + 1)))
    if form.kind == "real":
        return FloatDistribution(form.low, form.high, log=form.log)
    return IntDistribution(int(form.low), int(form.high), log=form.log)
