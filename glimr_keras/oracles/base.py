"""The base of all oracles: the trials so far, the known space, the budget. Subclasses choose values."""

from __future__ import annotations

import dataclasses
import enum
import json
from collections.abc import Iterable, Mapping
from typing import Any

from glimr_keras.objective import Objective
from glimr_keras.parameters import HyperParameter
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

    Args:
        objective: What is optimised, with its direction.
        max_trials: How many trials the project may have, failed ones included; `None` for no bound.
        seed: Two oracles with the same seed, told the same, choose the same.
        space: The hyperparameters that are known so far.

    Attributes:
        trials: By id, in the order of their creation.
        learns: Whether results of earlier trials change what is chosen next.
    """

    learns = False

    def __init__(
        self, objective: Objective, max_trials: int | None = None, seed: int = 0, space: Iterable[HyperParameter] = ()
    ) -> None:
        self.objective = objective
        self.max_trials = max_trials
        self.seed = seed
        self.trials: dict[str, Trial] = {}
        self._space = {parameter.name: parameter for parameter in space}
        self._tried: dict[tuple[str, ...], set[str]] = {}  # values by the names that a trial asked for

    @property
    def space(self) -> list[HyperParameter]:
        """The hyperparameters that are known so far."""
        return list(self._space.values())

    def create_trial(self) -> Trial | Nothing:
        """A new trial to run, or why there is none."""
        if self.max_trials is not None and len(self.trials) >= self.max_trials:
            return Nothing.LEFT
        trial_id = f"{len(self.trials):04d}"
        chosen = self.populate_space(trial_id)
        if isinstance(chosen, Nothing):
            return chosen
        trial = Trial(trial_id, chosen.values, chosen.sampling_key)
        self.restore_trial(trial)
        return trial

    def restore_trial(self, trial: Trial) -> None:
        """Takes a trial into the record, as `create_trial` does; also for those of an earlier session."""
        self.trials[trial.trial_id] = trial
        if trial.suggested:
            self._remember(trial.suggested)

    def end_trial(self, trial: Trial) -> None:
        """Tells the oracle that a trial ended; `trial` has its final values, status and score."""
        if trial.status != TrialStatus.FAILED:  # which may have asked for a part of its values only
            self._remember(trial.values)

    def update_space(self, parameters: Iterable[HyperParameter]) -> list[HyperParameter]:
        """Adds hyperparameters that a trial met, and returns those that were new."""
        new = [parameter for parameter in parameters if parameter.name not in self._space]
        self._space.update({parameter.name: parameter for parameter in new})
        return new

    def populate_space(self, trial_id: str) -> Suggestion | Nothing:
        """Chooses the values of a new trial.

        Args:
            trial_id: Its id; `int(trial_id)` is its index in the project.
        """
        raise NotImplementedError

    def is_tried(self, values: Mapping[str, Any]) -> bool:
        """Whether a trial agrees with these values in all that it asked for, so that it would only be repeated."""
        return any(
            all(name in values for name in names) and _canonical(values, names) in tried for names, tried in self._tried.items()
        )

    def _remember(self, values: Mapping[str, Any]) -> None:
        names = tuple(sorted(values))
        self._tried.setdefault(names, set()).add(_canonical(values, names))


def _canonical(values: Mapping[str, Any], names: Iterable[str]) -> str:
    return json.dumps([values[name] for name in names])
