"""What an oracle knows: a project's trials, the hyperparameters, what was tried; and the files that
say so. Runs in the driver.

The files and their names are KerasTuner's: `oracle.json`, and a `trial.json` for each trial. A
search reads the journal and not them, so they may be behind it.
"""

from __future__ import annotations

import collections
import os
import pathlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

from glimr_keras._utils.files import write_json
from glimr_keras._utils.overriding import is_overridden
from glimr_keras.oracles.display import Display
from glimr_keras.oracles.duplicates import TriedConfigurations, values_hash
from glimr_keras.space.hp_types import HyperParameter
from glimr_keras.space.hyperparameters import HyperParameters
from glimr_keras.space.search_space import SearchSpace
from glimr_keras.trials import stored_trial
from glimr_keras.trials.execution import TrialStatus
from glimr_keras.trials.layout import execution_directory
from glimr_keras.trials.objective import Objective
from glimr_keras.trials.ranking import by_id, ranked
from glimr_keras.trials.trial import Trial

_GROWTH = 1.1
"""A search writes `oracle.json` when so many times as many trials have begun and ended."""
_IN_JOURNAL = "ongoing_trials", "start_order", "end_order"
"""What a search knows of its trials, whatever a file says."""


class Recorder(Protocol):
    """Writes down the trials of a loop of the user's own over an oracle that a tuner has."""

    def begin(self) -> None:
        """Open the project, and have the oracle know its trials; where that was done, see that
        nobody else has written to it. Called before each trial.
        """

    def trial_begins(self, trial: Trial) -> None:
        """Write down a trial that is new, or to be run again."""

    def trial_ends(self, trial: Trial) -> None:
        """Write down what came of a trial, or that it is to be run again."""


class TrialRecord:
    """The trials of a project, and what is known of its space. The base of `Oracle`, which
    describes the arguments and attributes.
    """

    directory: Any = None
    """Has no meaning, as in KerasTuner; nor have the next three."""
    project_name: Any = None
    multi_worker = False
    should_report = True

    def __init__(
        self, hyperparameters: HyperParameters, allow_new_entries: bool, tune_new_entries: bool
    ) -> None:
        self.allow_new_entries, self.tune_new_entries = allow_new_entries, tune_new_entries
        self._hyperparameters = hyperparameters
        self._discover: Callable[[], None] | None = None
        self._recorder: Recorder | None = None
        self._project_dir: pathlib.Path | None = None
        self.own_entries: list[HyperParameter] = []
        self._display = Display(self)
        self._tried = TriedConfigurations()

    def begin(self, objective: Objective, seed: int, space: SearchSpace) -> None:
        """Forget all trials, and take over what is to be searched."""
        self.objective, self.seed, self.space = objective, seed, space
        self._discover = None
        self._hyperparameters.merge(space.parameters, overwrite=False)
        self.trials: dict[str, Trial] = {}
        self.start_order: list[str] = []
        self.end_order: list[str] = []
        self.ongoing_trials: dict[str, Trial] = {}
        self._tried = self._tried.without_trials()
        self._retry_queue: list[str] = []
        self._run_times: collections.Counter[str] = collections.Counter()
        self._seed_state = seed
        self._changes_saved = 0

    def recall(
        self,
        objective: Objective,
        space: SearchSpace,
        trials: Mapping[str, Trial],
        end_order: Iterable[str],
    ) -> None:
        """Take in the trials of a project to be looked at, whichever oracle chose them."""
        TrialRecord.begin(self, objective, self.seed, space)
        for trial in trials.values():
            TrialRecord.restore_trial(self, trial)
        for trial_id in end_order:
            TrialRecord.trial_ended(self, trials[trial_id])

    # Trials

    def restore_trial(self, trial: Trial) -> None:
        """Take a trial into the record: a new one, or one of an earlier session."""
        self.trials[trial.trial_id] = self.ongoing_trials[trial.trial_id] = trial
        self.start_order.append(trial.trial_id)
        self._record_values(trial)

    def trial_ended(self, trial: Trial) -> None:
        """Learn from a trial that has ended, and has its score."""
        self._leaves(trial)
        self.end_order.append(trial.trial_id)
        if trial.status == TrialStatus.COMPLETED or (  # others may not have asked for all
            trial.status == TrialStatus.RUNNING and not trial.executions  # as of an own loop
        ):
            self.space.observe(trial.values_to_read()[1])
            self._record_values(trial)

    def _leaves(self, trial: Trial) -> None:
        """Take a trial from those that run; a search has them by their ids."""
        if self.ongoing_trials.get(trial.trial_id) is trial:
            del self.ongoing_trials[trial.trial_id]
            return
        runners = [key for key, ongoing in self.ongoing_trials.items() if ongoing is trial]
        for key in runners:
            del self.ongoing_trials[key]

    @property
    def running_trials(self) -> list[Trial]:
        """Those that run, in the order of their ids."""
        running = (
            trial for trial in self.ongoing_trials.values() if trial.status == TrialStatus.RUNNING
        )
        return sorted(running, key=by_id)

    @property
    def is_running(self) -> bool:
        """Whether a trial has not ended."""
        if any(trial.status == TrialStatus.RUNNING for trial in self.ongoing_trials.values()):
            return True
        ended = set(self.end_order)
        return any(
            trial.status == TrialStatus.RUNNING and trial_id not in ended
            for trial_id, trial in self.trials.items()
        )

    def get_trial(self, trial_id: str) -> Trial:
        """Return the trial of this id, with or without its leading zeros.

        Raises:
            KeyError: If there is none.
        """
        if trial_id in self.trials or not trial_id.isdigit():
            return self.trials[trial_id]
        number = int(trial_id)
        found = (trial for known, trial in self.trials.items() if int(known) == number)
        return next(found, None) or self.trials[trial_id]

    def get_best_trials(self, num_trials: int = 1) -> list[Trial]:
        """Return the best trials, best first; where there are fewer with a score, then others."""
        return ranked(list(self.trials.values()), self.objective)[:num_trials]

    # Hyperparameters

    @property
    def hyperparameters(self) -> HyperParameters:
        """All that is known to be searched: the object that was passed, if any, with what models
        ask for.

        Before the first search a model is built in this process to find that out, when this is
        looked at.
        """
        discover, self._discover = self._discover, None
        if discover is not None:
            discover()
        return self._hyperparameters

    @hyperparameters.setter
    def hyperparameters(self, hyperparameters: HyperParameters) -> None:
        self._hyperparameters = hyperparameters

    def discover_by(self, discover: Callable[[], None]) -> None:
        """Say how `hyperparameters` learn what models ask for, if that is wanted before a
        search.
        """
        self._discover = discover

    def recorded_by(self, recorder: Recorder) -> None:
        """Say who writes down the trials of a loop of the user's own, without a search."""
        self._recorder = recorder

    def _begin_own_loop(self) -> None:
        """Ready the oracle for a loop of the user's own, where no search has."""
        if self._recorder is not None:
            self._recorder.begin()
        self._take_in_hyperparameters()

    def _take_in_hyperparameters(self) -> None:
        """Search what the user's own code has put into `hyperparameters`."""
        self.space.update(self.hyperparameters.space)

    def _record_begin(self, trial: Trial) -> None:
        if self._recorder is not None:
            self._recorder.trial_begins(trial)

    def _record_end(self, trial: Trial) -> None:
        if self._recorder is not None:
            self._recorder.trial_ends(trial)

    def get_space(self) -> HyperParameters:
        """Return a copy of `hyperparameters`."""
        return self.hyperparameters.copy()

    def update_space(
        self, hyperparameters: HyperParameters | Iterable[HyperParameter]
    ) -> list[HyperParameter]:
        """Add hyperparameters that a trial met, and return those that were new.

        Raises:
            RuntimeError: If there are new ones, and `allow_new_entries` is `False`.
        """
        found = (
            hyperparameters.space
            if isinstance(hyperparameters, HyperParameters)
            else list(hyperparameters)
        )
        new = self.space.unknown(found)
        if new and not self.allow_new_entries:
            raise RuntimeError(f"`allow_new_entries` is `False`, but found new entries {new}")
        if not new or not self.tune_new_entries:
            return []
        if self._project_dir is None:
            self.own_entries += new
        self._hyperparameters.merge(new, overwrite=False)
        return self.space.update(new)

    # What was tried

    def is_tried(self, values: Mapping[str, Any]) -> bool:
        """Tell whether a trial agrees with these values in all that it asked for, so that it would
        only be repeated.
        """
        return self._duplicate(values)

    @property
    def _tried_so_far(self) -> set[str]:
        """Hashes of values that are not to be tried again; what a subclass adds counts as well."""
        return self._tried.hashes

    @_tried_so_far.setter
    def _tried_so_far(self, hashes: set[str]) -> None:
        self._tried.hashes = hashes

    @property
    def _id_to_hash(self) -> dict[str, str | None]:
        return self._tried.by_trial

    def _duplicate(self, values: Mapping[str, Any]) -> bool:
        """Tell whether values were tried; a subclass may refuse others as well."""
        return self._tried.has(values, self._compute_values_hash)

    def _compute_values_hash(self, values: Mapping[str, Any]) -> str:
        """Return what is the same for values that count as the same; a subclass may say which."""
        return values_hash(values)

    def _record_values(self, trial: Trial) -> None:
        """Count as tried what a trial was given, or has asked for."""
        self._tried.record(trial, self._compute_values_hash, self.tune_new_entries)

    # Files

    def _set_project_dir(self, directory: str | os.PathLike[str], project_name: str) -> None:
        """Have `oracle.json` and each trial's `trial.json` written into a project's directory."""
        self._project_dir = pathlib.Path(directory, project_name)

    def _get_oracle_fname(self) -> str:
        return str((self._project_dir or pathlib.Path()) / "oracle.json")

    def _get_trial_dir(self, trial_id: str) -> str:
        return str(execution_directory(self._project_dir or pathlib.Path(), trial_id, 0))

    def save_trial(self, trial: Trial) -> None:
        """Write `trial.json`, if the oracle has a project's directory."""
        if self._project_dir is not None:
            path = pathlib.Path(self._get_trial_dir(trial.trial_id), stored_trial.FILE)
            write_json(path, trial.get_state(), is_forced=trial.status != TrialStatus.RUNNING)

    def _save_trial(self, trial: Trial) -> None:
        self.save_trial(trial)

    def save(self, fname: str | os.PathLike[str] | None = None) -> None:
        """Write the oracle's state to a JSON file, by default `oracle.json` in the project's
        directory, if there is one.

        An oracle writes it at each change in a loop of the user's own, where it is the only record
        of how trials ran. A search has its journal, and writes it at its end, and when a tenth more
        trials have begun and ended: it grows with them, and must not be written for each. Where a
        subclass overrides `get_state`, `set_state` or `save`, a search writes it for each trial
        nonetheless, so that a search that was killed goes on with that state.
        """
        self._changes_saved = self._changes
        if fname is None and self._project_dir is not None:
            fname = self._project_dir / "oracle.json"
        if fname is not None:
            write_json(pathlib.Path(fname), self.get_state(), is_forced=True)

    def _save_if_due(self) -> None:
        """Write `oracle.json` in a search, if it is time."""
        is_due = self._changes >= _GROWTH * self._changes_saved
        if is_due or self._has_own("get_state", "set_state", "save"):
            self.save()

    @property
    def _changes(self) -> int:
        return len(self.start_order) + len(self.end_order)

    def _has_own(self, *names: str) -> bool:
        """Tell whether a subclass overrides one of these methods."""
        return any(is_overridden(self, name, TrialRecord) for name in names)

    def reload(self) -> None:
        """Read the oracle's state, and all trials, from the project's directory.

        Raises:
            RuntimeError: If the oracle has none.
            ProjectError: If a file there is damaged.
        """
        if self._project_dir is None:
            raise RuntimeError("The oracle has no project's directory to read.")
        self.trials = {}
        for path in stored_trial.files_in(self._project_dir):
            trial = stored_trial.read(path)
            self.trials[trial.trial_id] = trial
        self.set_state(stored_trial.read_object(self._project_dir / "oracle.json"))

    def restore_state(self) -> None:
        """When a search goes on, give a subclass with a `set_state` of its own what its `get_state`
        returned before, beside what the search knows of the trials.
        """
        path = pathlib.Path(self._get_oracle_fname())
        if self._project_dir is None or not path.exists() or not self._has_own("set_state"):
            return
        stored, known = stored_trial.read_object(path), TrialRecord.get_state(self)
        self.set_state(stored | {name: known[name] for name in _IN_JOURNAL if name in stored})
        self._hyperparameters.merge(self.space.parameters, overwrite=False)

    def get_state(self) -> dict[str, Any]:
        """Return the oracle's state as JSON types, without its trials, under the names that
        KerasTuner's `oracle.json` has.
        """
        return {
            "ongoing_trials": {
                tuner_id: trial.trial_id for tuner_id, trial in self.ongoing_trials.items()
            },
            "hyperparameters": self.hyperparameters.get_config(),
            "start_order": self.start_order,
            "end_order": self.end_order,
            "run_times": dict(self._run_times),
            "retry_queue": self._retry_queue,
            "seed": self.seed,
            "seed_state": self._seed_state,
            "tried_so_far": sorted(self._tried_so_far),
            "id_to_hash": dict(self._id_to_hash),
            "display": self._display.get_state(),
        }

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Take over what `get_state` returned; the trials must be there."""
        self.ongoing_trials = {
            tuner_id: self.trials[trial_id]
            for tuner_id, trial_id in state["ongoing_trials"].items()
        }
        self.hyperparameters = HyperParameters.from_config(state["hyperparameters"])
        self.start_order, self.end_order = list(state["start_order"]), list(state["end_order"])
        self._run_times = collections.Counter(state["run_times"])
        self._retry_queue = list(state["retry_queue"])
        self.seed, self._seed_state = state["seed"], state["seed_state"]
        for trial in self.trials.values():
            if trial.trial_id not in self._id_to_hash:
                self._record_values(trial)
        self._tried_so_far |= set(state["tried_so_far"]) - set(state["id_to_hash"].values())
        if "display" in state:
            self._display.set_state(state["display"])
