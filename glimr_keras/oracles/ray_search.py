"""Any search algorithm of `ray.tune.search` as an oracle."""

from __future__ import annotations

from collections.abc import Callable, Iterable
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
        self._searched = {parameter.name: (parameter, *_translated(parameter)) for parameter in self.space}
        domains = {name: domain for name, (_, domain, _) in self._searched.items()}
        if not searcher.set_search_properties(objective.name, objective.direction, domains):
            raise ValueError(
                f"`search_alg` must be a new {type(searcher).__name__} without a search space or metric of its own; "
                "glimr_keras gives it both. A searcher can be used for one search only."
            )

    def populate_space(self, trial_id: str) -> Suggestion | Nothing:
        config = self._searcher.suggest(trial_id)
        if config is None:
            return Nothing.YET
        if config == Searcher.FINISHED:
            return Nothing.LEFT
        values: dict[str, Any] = {}
        for name, (parameter, _, decode) in self._searched.items():
            if all(condition.holds(values) for condition in parameter.conditions):
                values[name] = decode(config[name])
        return Suggestion(values, (self.seed, int(trial_id)))

    def end_trial(self, trial: Trial) -> None:
        super().end_trial(trial)
        failed = trial.status == TrialStatus.FAILED or trial.score is None
        result = None if failed else {self.objective.name: trial.score, "trial_id": trial.trial_id, "training_iteration": 1}
        self._searcher.on_trial_complete(trial.trial_id, result=result, error=failed)


def _translated(parameter: HyperParameter) -> tuple[Domain, Callable[[Any], Any]]:
    """A Ray domain for a parameter, and the function that turns what is drawn from it into the parameter's value."""
    match parameter:
        case RayDomain():
            return parameter.domain, lambda drawn: drawn
        case Fixed():
            return tune.choice([parameter.value]), lambda drawn: parameter.value
        case Choice():
            return tune.choice(list(range(len(parameter.values)))), lambda drawn: parameter.values[int(drawn)]
        case Boolean():
            return tune.choice([0, 1]), bool
        case Int(step=1, sampling="linear"):
            return tune.randint(parameter.min_value, parameter.max_value + 1), int
        case Int(step=None, sampling="log"):
            return tune.lograndint(parameter.min_value, parameter.max_value + 1), int
        case Int() | Float() if parameter.num_steps is not None:
            count = parameter.num_steps
            return tune.randint(0, count), lambda drawn: parameter.prob_to_value((int(drawn) + 0.5) / count)
        case Float(sampling="linear") if parameter.min_value < parameter.max_value:
            return tune.uniform(parameter.min_value, parameter.max_value), float
        case Float(sampling="log") if parameter.min_value < parameter.max_value:
            return tune.loguniform(parameter.min_value, parameter.max_value), float
    return tune.uniform(0.0, 1.0), lambda drawn: parameter.prob_to_value(float(drawn))
