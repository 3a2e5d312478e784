"""Grid search: every configuration that is different, once. Pure Python; runs in the driver."""

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
    """Tries every configuration once: all values of stepped ranges and options; of ranges without a
    step the default and ten values that are spread over the range.

    Which hyperparameters there are depends on the values of others, so the grid is walked as the
    tree that it is. A trial shows one path: the hyperparameters in the order in which it asked for
    them, with their values. For each of them, the same path up to there with another of its values
    leads to configurations that were not tried, and to none that another path leads to. So each
    distinct model is trained once, whatever conditions, loops and branches the user's code has. The
    longest path that waits is gone first, so the hyperparameter that was asked for last varies
    fastest.
    """

    learns = True  # what a trial asked for, and not its score

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
        ]  # a heap: the longest first, of those the earliest
        self._numbers = itertools.count(1)
        self._found: set[str] = {_canonical(())}  # paths that are or were waiting
        self._taken: set[str] = set()  # paths that a trial has gone
        self._under_way: dict[str, _Path] = {}
        # running ones of an earlier session, whose place in the tree is not known
        self._restored: dict[str, Trial] = {}
        self._texts: dict[Hashable, list[str]] = {}  # of the values of each hyperparameter

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
        if trial.status != TrialStatus.COMPLETED:  # it may have ended before it had asked for all
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
        """What each value of a hyperparameter is in a path's text."""
        if definition.key not in self._texts:
            self._texts[definition.key] = [json.dumps((definition.name, each)) for each in values]
        return self._texts[definition.key]

    def _add(self, path: _Path, key: str) -> None:
        if key not in self._found:
            self._found.add(key)
            heapq.heappush(self._waiting, (-len(path), next(self._numbers), path))

    def _is_restored(self, path: _Path) -> bool:
        """Whether a trial of an earlier session is on this path already."""
        return any(
            all(trial.suggested.get(name) == value for name, value in path)
            for trial in self._restored.values()
        )

    def _completed(self, values: dict[str, Any]) -> dict[str, Any]:
        """The values, and the default of every other hyperparameter that is expected to exist with
        them.
        """
        return values | self.space.walk(lambda found: values.get(found.name, found.default_value))

    def _definition(self, name: str, values: Mapping[str, Any]) -> HyperParameter | None:
        named = [parameter for parameter in self.space.parameters if parameter.name == name]
        return next((parameter for parameter in named if parameter.exists(values)), None)


def _canonical(path: Iterable[tuple[str, Any]]) -> str:
    return _joined(map(json.dumps, path))


def _joined(texts: Iterable[str]) -> str:
    """The text of a path whose parts have these."""
    return f"[{', '.join(texts)}]"
