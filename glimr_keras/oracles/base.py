"""The base of all oracles: the trials so far, the known space, the budget. Subclasses choose values."""

from __future__ import annotations

import collections
import dataclasses
import enum
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from glimr_keras.errors import did_you_mean
from glimr_keras.hyperparameters import sample
from glimr_keras.objective import Objective
from glimr_keras.parameters import HyperParameter
from glimr_keras.search_space import SearchSpace
from glimr_keras.trials import Trial, TrialStatus


class Nothing(enum.Enum):
    """An oracle's answer when it has no configuration to try."""

    YET = "ask again when a trial has ended"
    LEFT = "the budget is spent, or every configuration was tried"


@dataclasses.dataclass(frozen=True)
class Suggestion:
    """A configuration to try.

    Attributes:
        values: Value by name for the known hyperparameters that exist in this configuration.
        sampling_key: From which the trial samples names that are not known yet.
    """

    values: dict[str, Any]
    sampling_key: tuple[int, ...]


class Oracle:
    """Decides which configuration is tried next, and keeps the record of every trial.

    A subclass overrides `populate_space`. An oracle knows neither Ray nor Keras: `create_trial` asks it, `end_trial` tells it.
    All that it knows is in its arguments and in the trials, so one that is told the trials of an earlier session
    (`restore_trial`, and `end_trial` for those that ended) goes on as that session would have.

    Args:
        objective: What is optimised, with its direction.
        max_trials: How many trials the project may have, failed ones included; `None` for no bound.
        seed: Two oracles with the same seed, told the same, choose the same.
        space: The hyperparameters that are known so far; a `SearchSpace` also knows where each exists.
        initial_points: Configurations that are tried first: value by name, flat or nested. What they leave out is drawn at
            random.

    Attributes:
        trials: By id, in the order of their creation.
        learns: Whether results of earlier trials change what is chosen next.

    Raises:
        ValueError: If an initial point has an unknown name, or a value that its hyperparameter cannot have.
    """

    learns = False

    def __init__(
        self,
        objective: Objective,
        max_trials: int | None = None,
        seed: int = 0,
        space: SearchSpace | Iterable[HyperParameter] = (),
        initial_points: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        self.objective = objective
        self.max_trials = max_trials
        self.seed = seed
        self.space = space if isinstance(space, SearchSpace) else SearchSpace(space)
        self.trials: dict[str, Trial] = {}
        self._initial_points = [self.checked_point(point) for point in initial_points]
        self._tried: dict[tuple[str, ...], collections.Counter[str]] = {}  # values by the names that a trial asked for

    @property
    def is_running(self) -> bool:
        """Whether a trial has not ended."""
        return any(trial.status == TrialStatus.RUNNING for trial in self.trials.values())

    def create_trial(self) -> Trial | Nothing:
        """A new trial to run, or why there is none."""
        if self.max_trials is not None and len(self.trials) >= self.max_trials:
            return Nothing.LEFT
        trial_id = f"{len(self.trials):04d}"
        if len(self.trials) < len(self._initial_points):
            chosen: Suggestion | Nothing = self.completed(self._initial_points[len(self.trials)], trial_id)
        else:
            chosen = self.populate_space(trial_id)
        if isinstance(chosen, Nothing):
            return chosen
        trial = Trial(trial_id, chosen.values, chosen.sampling_key)
        self.restore_trial(trial)
        return trial

    def restore_trial(self, trial: Trial) -> None:
        """Takes a trial into the record, as `create_trial` does; also for those of an earlier session."""
        self.trials[trial.trial_id] = trial
        self._remember(trial.suggested)

    def end_trial(self, trial: Trial) -> None:
        """Tells the oracle that a trial ended; `trial` has its final values, status and score."""
        if trial.status == TrialStatus.COMPLETED:  # others may have asked for a part of their values only
            self.space.observe(trial.values)
            if trial.suggested.items() < trial.values.items():  # it met more, of which other values are not tried
                self._remember(trial.suggested, times=-1)
            self._remember(trial.values)

    def is_continued(self, trial: Trial) -> bool:
        """Whether a later trial may go on from where this one ended, so that its state is to be kept."""
        return False

    def learn(self, trial: Trial) -> None:
        """Tells the oracle of a trial of another project, which counts for no budget. For oracles that learn."""

    def update_space(self, parameters: Iterable[HyperParameter]) -> list[HyperParameter]:
        """Adds hyperparameters that a trial met, and returns those that were new."""
        return self.space.update(parameters)

    def populate_space(self, trial_id: str) -> Suggestion | Nothing:
        """Chooses the values of a new trial.

        Args:
            trial_id: Its id; `int(trial_id)` is its index in the project.
        """
        raise NotImplementedError

    def is_tried(self, values: Mapping[str, Any]) -> bool:
        """Whether a trial agrees with these values in all that it asked for, so that it would only be repeated."""
        return any(
            all(name in values for name in names) and tried[_canonical(values, names)] > 0
            for names, tried in self._tried.items()
        )

    def _remember(self, values: Mapping[str, Any], times: int = 1) -> None:
        """Counts values as tried; those that were suggested count until it is known what the trial made of them."""
        names = tuple(sorted(values))
        if names:
            self._tried.setdefault(names, collections.Counter())[_canonical(values, names)] += times

    def completed(self, point: Mapping[str, Any], trial_id: str) -> Suggestion:
        """A configuration with these values, and the others drawn at random."""
        key = (self.seed, int(trial_id))
        known = self.space.walk(lambda found: point[found.name] if found.name in point else sample(found, key))
        names = {parameter.name for parameter in self.space.parameters}
        return Suggestion(known | {name: value for name, value in point.items() if name not in names}, key)

    def checked_point(self, point: Mapping[str, Any]) -> dict[str, Any]:
        """An initial point by full names, with its values as they are stored."""
        named: dict[str, list[HyperParameter]] = {}
        for parameter in self.space.parameters:
            named.setdefault(parameter.name, []).append(parameter)
        checked = {}
        for name, value in _flat(point, named).items():
            if name not in named and not self.space.is_whole:
                checked[name] = value  # it may be met in a trial
                continue
            if name not in named:
                raise ValueError(
                    f"`initial_points` has the unknown hyperparameter {name!r}.{did_you_mean(name, named)} "
                    f"Received: {dict(point)}"
                )
            encoded = [parameter.encode(value) for parameter in named[name]]
            pairs = zip(encoded, named[name], strict=True)
            fitting = [parameter.nearest(code) for code, parameter in pairs if parameter.allows(code)]
            if not fitting:
                raise ValueError(
                    f"`initial_points` has a value for {name!r} that it cannot have. Received: {value!r}; it is defined as "
                    f"{' or '.join(map(str, named[name]))}"
                )
            checked[name] = fitting[0]
        return checked


def _flat(point: Mapping[str, Any], known: Mapping[str, Any], scope: str = "") -> dict[str, Any]:
    """Value by full name; a dict that is no option of a known hyperparameter is a scope."""
    flat: dict[str, Any] = {}
    for key, value in point.items():
        name = f"{scope}{key}"
        if isinstance(value, Mapping) and name not in known:
            flat |= _flat(value, known, f"{name}/")
        else:
            flat[name] = value
    return flat


def _canonical(values: Mapping[str, Any], names: Iterable[str]) -> str:
    return json.dumps([values[name] for name in names])
