"""Any search algorithm of `ray.tune.search` as an oracle. Runs in the driver."""

from __future__ import annotations

import contextlib
import copy
import logging
from typing import TYPE_CHECKING, Any

from glimr_keras._utils.late_imports import WhenUsed
from glimr_keras.oracles.base import Oracle
from glimr_keras.oracles.encodings import Encoding, encoding_of, unit_encoding
from glimr_keras.oracles.searcher_points import (
    UnknownPointError,
    drop_points,
    encode_points,
    innermost,
)
from glimr_keras.oracles.suggestions import Nothing, Suggestion
from glimr_keras.space.define_by_run import sample
from glimr_keras.space.hp_types import HyperParameter
from glimr_keras.space.search_space import SearchSpace
from glimr_keras.trials.execution import TrialStatus
from glimr_keras.trials.objective import Goal, Objective
from glimr_keras.trials.trial import Trial

if TYPE_CHECKING:
    from ray import tune
else:
    tune = WhenUsed("ray.tune")


class RaySearchOracle(Oracle):
    """Let a Ray search algorithm choose the hyperparameters known when the search starts.

    The algorithm sees every parameter in an encoding that it supports exactly: a step or a list of
    values becomes an index. Parameters that a trial meets later are sampled at random. The other
    arguments are as for `Oracle`.

    Args:
        searcher: A search algorithm such as `ray.tune.search.optuna.OptunaSearch()`, new and
            without its own space; each search copies it. Its `points_to_evaluate` hold the
            hyperparameters' own values, like `initial_points`.
    """

    learns = True

    def __init__(
        self,
        searcher: tune.search.Searcher,
        objective: Goal = None,
        max_trials: int | None = None,
        **kwargs: Any,
    ) -> None:
        self.searcher, self._is_made = searcher, False
        super().__init__(objective, max_trials, **kwargs)
        self._is_made = True

    def begin(self, objective: Objective, seed: int, space: SearchSpace) -> None:
        super().begin(objective, seed, space)
        searcher = self._searcher = copy.deepcopy(self.searcher)
        kind = type(innermost(searcher)).__name__
        self._searched: dict[str, tuple[HyperParameter, Encoding]] = {}
        for parameter in self.space.parameters:
            key = parameter.name.replace("/", ".")  # Ray reads a slash as nesting
            while key in self._searched:
                key += "'"
            self._searched[key] = (parameter, _fitting_encoding(parameter, kind))
        self._asked: set[str] = set()
        self._points = self._taken_points()
        domains = {key: _domain(encoding) for key, (_, encoding) in self._searched.items()}
        logging.getLogger("optuna").setLevel(logging.WARNING)  # otherwise each search prints a line
        try:
            is_taken = not domains or searcher.set_search_properties(
                objective.name, objective.direction, domains
            )
        except Exception as error:
            raise ValueError(
                f"{type(searcher).__name__} cannot search these hyperparameters: {error}. "
                "Received: "
                f"{', '.join(parameter.name for parameter, _ in self._searched.values())}. "
                f"{_OTHERS}"
            ) from error
        if not is_taken:
            raise ValueError(
                f"`search_alg` must be a new {type(searcher).__name__} without a search space or "
                "metric of its own; glimr_keras gives it both."
            )

    def _taken_points(self) -> list[dict[str, Any]]:
        """Encode the algorithm's own points, once their hyperparameters are known."""
        try:
            return encode_points(self._searcher, self.space, self._searched, (self.seed, 0))
        except UnknownPointError:
            if self._is_made:
                raise
            drop_points(self._searcher)  # the search, which knows the model, tries again
            return []

    def restore_trial(self, trial: Trial) -> None:
        """Add a trial to the record.

        If it matches the algorithm's next point, use up that point.
        """
        super().restore_trial(trial)
        if trial.trial_id in self._asked or not self._points:
            return
        if self._points[0].items() <= trial.suggested.items():
            self._suggested(trial.trial_id)

    def _suggested(self, trial_id: str) -> Any:
        """Ask the algorithm, which suggests its points first."""
        config = self._searcher.suggest(trial_id)
        if config is not None and config != tune.search.Searcher.FINISHED:
            self._asked.add(trial_id)
            self._points = self._points[1:]
        return config

    def _propose(self, trial_id: str) -> Suggestion | Nothing:
        config = self._suggested(trial_id) if self._searched else {}
        if config is None:
            return Nothing.YET
        if config == tune.search.Searcher.FINISHED:
            return Nothing.LEFT
        drawn = {
            parameter.key: encoding.decode(config[key])
            for key, (parameter, encoding) in self._searched.items()
        }
        sampling_key = (self.seed, int(trial_id))
        values = self.space.walk(
            lambda found: drawn[found.key] if found.key in drawn else sample(found, sampling_key)
        )
        return Suggestion(values, sampling_key)

    def trial_ended(self, trial: Trial) -> None:
        super().trial_ended(trial)
        failed = trial.status == TrialStatus.FAILED or trial.score is None
        if not self._searched:
            return
        if trial.trial_id not in self._asked:
            with contextlib.suppress(NotImplementedError):
                if not failed:
                    self._learn(trial)
        else:
            result = None if failed else {self.objective.name: trial.score, "training_iteration": 1}
            self._searcher.on_trial_complete(trial.trial_id, result=result, error=failed)

    def learn(self, trial: Trial) -> None:
        try:
            self._learn(trial)
        except NotImplementedError:
            name = type(self._searcher).__name__
            raise ValueError(
                f"{name} cannot learn from the results of another project. {_OTHERS}"
            ) from None

    def _learn(self, trial: Trial) -> None:
        """Pass the algorithm a trial that it did not choose, if it has all values."""
        known = trial.suggested | trial.values
        if any(
            not parameter.allows(known.get(parameter.name))
            for parameter, _ in self._searched.values()
        ):
            return
        encoded = {
            key: encoding.encode(known[parameter.name])
            for key, (parameter, encoding) in self._searched.items()
        }
        self._searcher.add_evaluated_point(encoded, trial.score)


_OTHERS = "BayesianOptimization, and OptunaSearch of Ray, can."

_REALS_ONLY = {"BayesOptSearch"}
_LINEAR_ONLY = {"BayesOptSearch", "ZOOptSearch"}


def _fitting_encoding(parameter: HyperParameter, searcher: str) -> Encoding:
    """Return the encoding of a hyperparameter that an algorithm supports.

    Some support no logarithmic scales, some only real numbers.

    Raises:
        ValueError: If the algorithm cannot choose the hyperparameter.
    """
    encoding = encoding_of(parameter)
    if searcher in _REALS_ONLY and encoding.kind == "category" and encoding.low < encoding.high:
        raise ValueError(
            f"{searcher} chooses numbers only, and hyperparameter {parameter.name!r} is one of "
            f"{encoding.high + 1:g} options. {_OTHERS}"
        )
    if (searcher in _REALS_ONLY and encoding.kind != "real") or (
        searcher in _LINEAR_ONLY and encoding.log
    ):
        return unit_encoding(parameter)
    return encoding


def _domain(encoding: Encoding) -> tune.search.sample.Domain:
    if encoding.kind == "category":
        return tune.choice(list(range(int(encoding.high) + 1)))
    if encoding.kind == "real":
        return (
            tune.loguniform(encoding.low, encoding.high)
            if encoding.log
            else tune.uniform(encoding.low, encoding.high)
        )
    low, above = int(encoding.low), int(encoding.high) + 1
    return tune.lograndint(low, above) if encoding.log else tune.randint(low, above)
