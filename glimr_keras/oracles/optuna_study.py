"""An Optuna study, whose samplers choose values in a search space with conditions.

Uses Optuna; runs in the driver.
"""

from __future__ import annotations

import contextlib
import copy
import logging
import warnings
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from glimr_keras.oracles.encodings import Encoding, encoding_of
from glimr_keras.space.define_by_run import sample
from glimr_keras.space.hp_types import HyperParameter
from glimr_keras.space.search_space import SearchSpace
from glimr_keras.trials.objective import MultiObjective, Objective
from glimr_keras.trials.trial import Trial

if TYPE_CHECKING:  # heavy, and not needed in workers; imported where it is used
    import optuna
    from optuna.distributions import BaseDistribution


class Study:
    """Optuna's view of a search: the space, and results by the values that trials used.

    Args:
        objective: A list of objectives to find a Pareto front becomes as many values of a trial;
            otherwise a trial has one value, the score.
        space: The hyperparameters, which may grow.
        sampler: As for `sampler_maker`.
        num_initial_points: The number of random trials before the sampler's model is used. Defaults
            to `None`, which means 10.

    Raises:
        ValueError, ImportError: As for `sampler_maker`.
    """

    def __init__(
        self,
        objective: Objective,
        space: SearchSpace,
        sampler: str | optuna.samplers.BaseSampler,
        num_initial_points: int | None = None,
    ) -> None:
        import optuna

        self._objective, self._space = objective, space
        self._make_sampler = sampler_maker(sampler, num_initial_points)
        self._encodings: dict[str, tuple[HyperParameter, Encoding, BaseDistribution]] = {}
        self._under_way: dict[str, optuna.Trial] = {}
        self._to_learn: list[Trial] = []  # of other projects, until something in the space is known
        logging.getLogger("optuna").setLevel(
            logging.ERROR
        )  # otherwise it prints a line for every study and every condition
        self._parts = (
            objective.parts
            if isinstance(objective, MultiObjective) and objective.pareto
            else (objective,)
        )
        ways = optuna.study.StudyDirection
        directions = [
            ways.MAXIMIZE if part.direction == "max" else ways.MINIMIZE for part in self._parts
        ]
        self._study = optuna.create_study(directions=directions)

    def proposals(
        self, trial_id: str, key: tuple[int, ...], attempts: int
    ) -> Iterator[dict[str, Any]]:
        """Yield values for a trial, which may repeat others; the trial takes the last ones yielded.

        Args:
            trial_id: The trial's id.
            key: The seed of the choice, together with the number of the attempt.
            attempts: The maximum number of proposals.
        """
        self._take_in_space()
        while self._encodings and self._to_learn:
            self.add(self._to_learn.pop(0))
        for attempt in range(attempts):
            seeded = (*key, attempt)
            self._study.sampler = self._make_sampler(
                int(np.random.SeedSequence(seeded).generate_state(1)[0])
            )
            if trial_id in self._under_way:
                self._fail(self._under_way.pop(trial_id))
            with _quiet():
                self._under_way[trial_id] = self._study.ask()
                values = self._suggested(self._under_way[trial_id], seeded)
            yield values
        self._fail(self._under_way.pop(trial_id))

    def end(self, trial: Trial) -> None:
        """Record how a trial ended."""
        asked = self._under_way.pop(trial.trial_id, None)
        if asked is not None and trial.is_scored and asked.params == self._encoded(trial)[0]:
            self._study.tell(asked, self._results(trial))
            return
        if asked is not None:
            self._fail(asked)
        if trial.is_scored:
            self._take_in_space()
            self.add(trial)

    def learn(self, trial: Trial) -> None:
        """Add a trial of another project, once something in the space is known."""
        self._to_learn.append(trial)

    def add(self, trial: Trial) -> None:
        """Add a finished trial that was not proposed here, or that deviated from its proposal."""
        import optuna

        params, distributions = self._encoded(trial)
        self._study.add_trial(
            optuna.trial.create_trial(
                params=params, distributions=distributions, values=self._results(trial)
            )
        )

    def _results(self, trial: Trial) -> list[float]:
        values = trial.objective_values(self._objective) if len(self._parts) > 1 else None
        return [trial.score or 0.0] if values is None else list(values)

    def _take_in_space(self) -> None:
        for parameter in self._space.parameters:
            label = _label(parameter)
            if label not in self._encodings:
                encoding = encoding_of(parameter)
                self._encodings[label] = parameter, encoding, _distribution(encoding)

    def _fail(self, asked: optuna.Trial) -> None:
        from optuna.trial import TrialState

        self._study.tell(asked, state=TrialState.FAIL)

    def _suggested(self, asked: optuna.Trial, key: tuple[int, ...]) -> dict[str, Any]:
        def choose(parameter: HyperParameter) -> Any:
            label = _label(parameter)
            _, encoding, distribution = self._encodings[label]
            return (
                sample(parameter, key)
                if distribution.single()
                else encoding.decode(asked._suggest(label, distribution))
            )

        return self._space.walk(choose)

    def _encoded(self, trial: Trial) -> tuple[dict[str, Any], dict[str, BaseDistribution]]:
        """Return what a trial used in Optuna's terms, without what it did not request."""
        params, distributions = {}, {}
        for label, (parameter, encoding, distribution) in self._encodings.items():
            value = trial.values.get(parameter.name)
            if (
                distribution.single()
                or not parameter.exists(trial.values)
                or not parameter.allows(value)
            ):
                continue
            params[label], distributions[label] = encoding.encode(value), distribution
        return params, distributions


def sampler_maker(
    sampler: str | optuna.samplers.BaseSampler, num_initial_points: int | None
) -> Callable[[int], optuna.samplers.BaseSampler]:
    """Return a function that makes a sampler for a seed.

    Each trial has a new sampler, so its values do not depend on earlier choices. A sampler of
    `optuna.samplers` is copied once and ignores the seed.

    Args:
        sampler: `"tpe"`, `"cmaes"`, `"nsga2"`, or a sampler of `optuna.samplers`.
        num_initial_points: The number of random trials before the sampler's model is used; `None`
            means 10. Has no effect on `"nsga2"` and samplers of `optuna.samplers`.

    Raises:
        ValueError: If there is no such sampler.
        ImportError: If a package that it needs is not installed.
    """
    from optuna import samplers

    if isinstance(sampler, samplers.BaseSampler):
        check_sampler(sampler)
        mine = copy.deepcopy(sampler)
        return lambda seed: mine
    kinds: dict[str, tuple[Any, dict[str, Any]]] = {
        "tpe": (samplers.TPESampler, {"multivariate": True, "group": True, "constant_liar": True}),
        "cmaes": (samplers.CmaEsSampler, {}),
        "nsga2": (samplers.NSGAIISampler, {}),
    }
    if sampler not in kinds:
        raise ValueError(
            "`sampler` must be 'gp', 'tpe', 'cmaes', 'nsga2' or one of `optuna.samplers`. "
            f"Received: sampler={sampler!r}"
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
            f"sampler={sampler!r} needs a package that is not installed: pip install {sampler}"
        ) from error
    return make


_OF_VALUES = {
    "_search_space": "a grid. Use `GridSearch`, or leave `BruteForceSampler` to find the grid",
    "_fixed_params": "values that are fixed. Give these as `hyperparameters`, by `Fixed`",
    "_x0": "a first configuration. Give it to the tuner, as `initial_points`",
    "_source_trials": "trials of another study. Give a project to the tuner, as `warm_start`",
    "_constraints_func": (
        "constraints on them. Raise `FailedTrialError` in `build` for what is not wanted"
    ),
}
"""Arguments of Optuna's samplers that hold values, by attribute, and what to do instead."""


def check_sampler(sampler: Any) -> None:
    """Reject a sampler that was given values of hyperparameters.

    Optuna sees the numbers of options and steps, and would mistake the values for such numbers.

    Args:
        sampler: A sampler of `optuna.samplers`, or `None`.

    Raises:
        ValueError: If it was given values.
    """
    for name, instead in _OF_VALUES.items():
        is_grid_of_another = name == "_search_space" and type(sampler).__name__ != "GridSampler"
        if getattr(sampler, name, None) and not is_grid_of_another:
            raise ValueError(
                "A sampler chooses among numbers that stand for values, and cannot be given the "
                f"values themselves. Received: {type(sampler).__name__} with {instead}."
            )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence Optuna's warnings that long-standing options are experimental."""
    from optuna.exceptions import ExperimentalWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        yield


def _label(parameter: HyperParameter) -> str:
    """Return a name for Optuna; in two branches, one name may be two hyperparameters."""
    return (
        parameter.name if not parameter.conditions else f"{parameter.name} {parameter.conditions}"
    )


def _distribution(encoding: Encoding) -> BaseDistribution:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if encoding.kind == "category":
        return CategoricalDistribution(tuple(range(int(encoding.high) + 1)))
    if encoding.kind == "real":
        return FloatDistribution(encoding.low, encoding.high, log=encoding.log)
    return IntDistribution(int(encoding.low), int(encoding.high), log=encoding.log)
