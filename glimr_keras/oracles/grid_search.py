"""Grid search: every distinct configuration, once. Pure Python; runs in the driver."""

from __future__ import annotations

import heapq
import itertools
import json
from collections.abc import Hashable, Iterable, Mapping
from typing import Any

from glimr_keras.oracles.base import Oracle
from glimr_keras.oracles.suggestions import Nothing, Suggestion
from glimr_keras.space.hp_types import HyperParameter
from glimr_keras.space.hyperparameters import HyperParameters
from glimr_keras.space.search_space import SearchSpace
from glimr_keras.trials.execution import TrialStatus
from glimr_keras.trials.objective import Goal, Objective
from glimr_keras.trials.trial import Trial

_Path = tuple[tuple[str, Any], ...]


class GridSearchOracle(Oracle):
    """Try every configuration once.

    Options and ranges with a step contribute all their values. A range without a step contributes
    its default and ten values spread over the range.

    Which hyperparameters exist depends on the values of others, so the grid is traversed as a tree.
    A trial reveals one path: its hyperparameters in the order in which it requested them, with
    their values. At each of them, the path up to there with another value leads to untried
    configurations, which no other path reaches. So each distinct model is trained once, whatever
    conditions, loops and branches the user's code has. The longest waiting path comes first, so the
    hyperparameter that was requested last varies fastest.

    The arguments are as for `Oracle`.
    """

    learns = True  # from the hyperparameters a trial requested, not from its score

    def __init__(
        self,
        objective: Goal = None,
        max_trials: int | None = None,
        seed: int | None = None,
        hyperparameters: HyperParameters | None = None,
        allow_new_entries: bool = True,
        tune_new_entries: bool = True,
        max_retries_per_trial: int = 0,
        max_consecutive_failed_trials: int = 3,
        **kwargs: Any,
    ) -> None:
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
        self._waiting: list[tuple[int, int, _Path]] = [
            (0, 0, ())
        ]  # a heap: the longest first, then the earliest
        self._numbers = itertools.count(1)
        self._found: set[str] = {_canonical(())}  # paths that are or were waiting
        self._taken: set[str] = set()  # paths that a trial has taken
        self._under_way: dict[str, _Path] = {}
        # running trials of an earlier session, whose place in the tree is unknown
        self._restored: dict[str, Trial] = {}
        self._texts: dict[Hashable, list[str]] = {}  # texts of the values, by hyperparameter

    def _propose(self, trial_id: str) -> Suggestion | Nothing:
        while self._waiting:
            *_, path = heapq.heappop(self._waiting)
            if _canonical(path) not in self._taken and not self._is_restored(path):
                self._under_way[trial_id] = path
                return Suggestion(self._completed(dict(path)), (self.seed, int(trial_id)))
        return Nothing.YET if self.is_running else Nothing.LEFT

    def restore_trial(self, trial: Trial) -> None:
        super().restore_trial(trial)
        if trial.trial_id not in self._under_way:
            self._restored[trial.trial_id] = trial

    def trial_ended(self, trial: Trial) -> None:
        super().trial_ended(trial)
        self._under_way.pop(trial.trial_id, None)
        asked = trial.values
        if trial.status != TrialStatus.COMPLETED:  # it may have ended before its last request
            asked = asked | self._completed(trial.suggested | asked)
        path: _Path = ()
        texts: tuple[str, ...] = ()
        for name, value in asked.items():
            self._taken.add(_joined(texts))
            definition = self._definition(name, asked)
            if definition is not None:
                values = definition.values  # type: ignore[attr-defined]
                for other, text in zip(values, self._texts_of(definition, values), strict=True):
                    if other != value:
                        self._add((*path, (name, other)), _joined((*texts, text)))
            path, texts = (*path, (name, value)), (*texts, json.dumps((name, value)))
        self._taken.add(_joined(texts))
        self._restored.pop(trial.trial_id, None)

    def _texts_of(self, definition: HyperParameter, values: Iterable[Any]) -> list[str]:
        """Return the text of each value of a hyperparameter in a path."""
        if definition.key not in self._texts:
            self._texts[definition.key] = [json.dumps((definition.name, each)) for each in values]
        return self._texts[definition.key]

    def _add(self, path: _Path, key: str) -> None:
        if key not in self._found:
            self._found.add(key)
            heapq.heappush(self._waiting, (-len(path), next(self._numbers), path))

    def _is_restored(self, path: _Path) -> bool:
        """Return whether a trial of an earlier session is already on this path."""
        return any(
            all(trial.suggested.get(name) == value for name, value in path)
            for trial in self._restored.values()
        )

    def _completed(self, values: dict[str, Any]) -> dict[str, Any]:
        """Return the values, with the default of every other hyperparameter expected to exist."""
        return values | self.space.walk(lambda found: values.get(found.name, found.default_value))

    def _definition(self, name: str, values: Mapping[str, Any]) -> HyperParameter | None:
        named = [parameter for parameter in self.space.parameters if parameter.name == name]
        return next((parameter for parameter in named if parameter.exists(values)), None)


def _canonical(path: Iterable[tuple[str, Any]]) -> str:
    return _joined(map(json.dumps, path))


def _joined(texts: Iterable[str]) -> str:
    """Return the text of a path from the texts of its parts."""
    return f"[{', '.join(texts)}]"
