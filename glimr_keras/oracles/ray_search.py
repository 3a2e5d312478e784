"""Any search algorithm of `ray.tune.search` as an oracle."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from ray import tune
from ray.tune.search import Searcher
from ray.tune.search.sample import Domain

from glimr_keras.objective import Objective
from glimr_keras.oracles.base import Nothing, Oracle, Suggestion
from glimr_keras.parameters import Boolean, Choice, Fixed, Float, HyperParameter, Int
from glimr_keras.space import RayDomain
from glimr_keras.trials import Trial, TrialStatus


class RaySearchOracle(Oracle):
    """Lets a Ray search algorithm choose among the hyperparameters that are known when the search starts.

    The algorithm sees every parameter in a form that it supports exactly: a step or a list of values as an index. Parameters
    that a trial meets later are sampled at random.

    Args:
        searcher: Such as `ray.tune.search.optuna.OptunaSearch()`, without a space of its own.
    """

    learns = True

    def __init__(
        self,
        searcher: Searcher,
        objective: Objective,
        max_trials: int | None = None,
        seed: int = 0,
        space: Iterable[HyperParameter] = (),
    ) -> None:
        super().__init__(objective, max_trials, seed, space)
        self._searcher = searcher
        self._searched: dict[str, tuple[HyperParameter, _Translation]] = {}
        for parameter in self.space:
            key = parameter.name.replace("/", ".")  # Ray takes a slash for nesting
            while key in self._searched:
                key += "'"
            self._searched[key] = (parameter, _translated(parameter, type(searcher).__name__))
        self._asked: set[str] = set()
        domains = {key: translated.domain for key, (_, translated) in self._searched.items()}
        logging.getLogger("optuna").setLevel(logging.WARNING)  # else every new search prints a line
        if domains and not searcher.set_search_properties(objective.name, objective.direction, domains):
            raise ValueError(
                f"`search_alg` must be a new {type(searcher).__name__} without a search space or metric of its own; "
                "glimr_keras gives it both. A searcher can be used for one search only."
            )

    def populate_space(self, trial_id: str) -> Suggestion | Nothing:
        config = self._searcher.suggest(trial_id) if self._searched else {}
        if config is None:
            return Nothing.YET
        if config == Searcher.FINISHED:
            return Nothing.LEFT
        self._asked.add(trial_id)
        values: dict[str, Any] = {}
        for key, (parameter, translated) in self._searched.items():
            if all(condition.holds(values) for condition in parameter.conditions):
                values[parameter.name] = translated.decode(config[key])
        return Suggestion(values, (self.seed, int(trial_id)))

    def end_trial(self, trial: Trial) -> None:
        super().end_trial(trial)
        failed = trial.status == TrialStatus.FAILED or trial.score is None
        if trial.trial_id not in self._asked:
            self._learn(trial, failed)
        elif self._searched:
            result = None if failed else {self.objective.name: trial.score, "training_iteration": 1}
            self._searcher.on_trial_complete(trial.trial_id, result=result, error=failed)

    def _learn(self, trial: Trial, failed: bool) -> None:
        """Tells the algorithm of a trial of an earlier session, if it can learn from one and all values are there."""
        known = trial.suggested | trial.values
        if failed or any(parameter.name not in known for parameter, _ in self._searched.values()):
            return
        encoded = {key: translated.encode(known[parameter.name]) for key, (parameter, translated) in self._searched.items()}
        with contextlib.suppress(NotImplementedError):
            self._searcher.add_evaluated_point(encoded, trial.score)


@dataclasses.dataclass(frozen=True)
class _Translation:
    """A parameter in a form that a Ray algorithm supports exactly, and the way there and back."""

    domain: Domain
    decode: Callable[[Any], Any]
    encode: Callable[[Any], Any]


def _translated(parameter: HyperParameter, searcher: str) -> _Translation:
    match parameter:
        case RayDomain() if parameter.values is None:
            raise ValueError(
                f"Hyperparameter {parameter.name!r}, declared as {parameter.definition}, cannot be chosen by {searcher}. "
                "Declare it with `tune.uniform`, `tune.loguniform`, `tune.quniform`, `tune.randint` or `tune.choice`, or leave "
                "`search_alg` out: random search draws from every domain."
            )
        case RayDomain():
            return _by_index(parameter.values or (), tune.randint)
        case Choice():
            return _by_index(parameter.values, lambda first, count: tune.choice(list(range(first, count))))
        case Boolean():
            return _Translation(tune.choice([0, 1]), bool, int)
        case Fixed():
            return _Translation(tune.choice([0]), lambda drawn: parameter.value, lambda value: 0)
        case Int(step=1, sampling="linear"):
            return _Translation(tune.randint(parameter.min_value, parameter.max_value + 1), int, int)
        case Int(step=None, sampling="log"):
            return _Translation(tune.lograndint(parameter.min_value, parameter.max_value + 1), int, int)
        case Int(num_steps=int(count)) | Float(num_steps=int(count)):
            return _Translation(
                tune.randint(0, count),
                lambda drawn: parameter.prob_to_value((int(drawn) + 0.5) / count),
                lambda value: int(parameter.value_to_prob(value) * count),
            )
        case Float(sampling="linear") if parameter.min_value < parameter.max_value:
            return _Translation(tune.uniform(parameter.min_value, parameter.max_value), float, float)
        case Float(sampling="log") if parameter.min_value < parameter.max_value:
            return _Translation(tune.loguniform(parameter.min_value, parameter.max_value), float, float)
    return _Translation(
        tune.uniform(0.0, 1.0),
        lambda drawn: parameter.prob_to_value(float(drawn)),
        parameter.value_to_prob,
    )


def _by_index(values: Sequence[Any], domain: Callable[[int, int], Domain]) -> _Translation:
    return _Translation(domain(0, len(values)), lambda drawn: values[int(drawn)], values.index)
