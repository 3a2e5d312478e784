"""The record of an oracle: trials, hyperparameters and tried configurations, and their files.

Runs in the driver.

The files and their names are KerasTuner's: `oracle.json`, and a `trial.json` for each trial. A
search reads the journal instead of them, so they may lag behind it.
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
"""In a search, write `oracle.json` when the number of starts and ends has grown by this factor."""
_IN_JOURNAL = "ongoing_trials", "start_order", "end_order"
"""The trial state that a search takes from the journal, whatever a file says."""


class Recorder(Protocol):
    """Record the trials of a user-defined loop over a tuner's oracle."""

    def begin(self) -> None:
        """Open the project and load its trials into the oracle. Called before each trial.

        If the project is already open, check that nobody else has written to it.
        """

    def trial_begins(self, trial: Trial) -> None:
        """Record a trial that is new, or to be run again."""

    def trial_ends(self, trial: Trial) -> None:
        """Record the result of a trial, or that it is to be run again."""


class TrialRecord:
    """The trials of a project, and what is known of its space.

    The base class of `Oracle`, which documents the arguments and attributes.
    """

    directory: Any = None
    """Has no effect, as in KerasTuner; nor do the next three."""
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
        """Forget all trials, and take over the objective, the seed and the space to search."""
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
        """Load the trials of a project for inspection, whichever oracle chose them."""
        TrialRecord.begin(self, objective, self.seed, space)
        for trial in trials.values():
            TrialRecord.restore_trial(self, trial)
        for trial_id in end_order:
            TrialRecord.trial_ended(self, trials[trial_id])

    # Trials

    def restore_trial(self, trial: Trial) -> None:
        """Add a trial to the record: a new one, or one of an earlier session."""
        self.trials[trial.trial_id] = self.ongoing_trials[trial.trial_id] = trial
        self.start_order.append(trial.trial_id)
        self._record_values(trial)

    def trial_ended(self, trial: Trial) -> None:
        """Learn from a trial that has ended and has its score."""
        self._leaves(trial)
        self.end_order.append(trial.trial_id)
        if trial.status == TrialStatus.COMPLETED or (  # others may not have requested everything
            trial.status == TrialStatus.RUNNING and not trial.executions  # in a user-defined loop
        ):
            self.space.observe(trial.values_to_read()[1])
            self._record_values(trial)

    def _leaves(self, trial: Trial) -> None:
        """Remove a trial from the ongoing ones; a search keeps them by their ids."""
        if self.ongoing_trials.get(trial.trial_id) is trial:
            del self.ongoing_trials[trial.trial_id]
            return
        runners = [key for key, ongoing in self.ongoing_trials.items() if ongoing is trial]
        for key in runners:
            del self.ongoing_trials[key]

    @property
    def running_trials(self) -> list[Trial]:
        """Return the running trials, in the order of their ids."""
        running = (
            trial for trial in self.ongoing_trials.values() if trial.status == TrialStatus.RUNNING
        )
        return sorted(running, key=by_id)

    @property
    def is_running(self) -> bool:
        """Return whether any trial is still running."""
        if any(trial.status == TrialStatus.RUNNING for trial in self.ongoing_trials.values()):
            return True
        ended = set(self.end_order)
        return any(
            trial.status == TrialStatus.RUNNING and trial_id not in ended
            for trial_id, trial in self.trials.items()
        )

    def get_trial(self, trial_id: str) -> Trial:
        """Return the trial with this id, with or without its leading zeros.

        Raises:
            KeyError: If there is none.
        """
        if trial_id in self.trials or not trial_id.isdigit():
            return self.trials[trial_id]
        number = int(trial_id)
        found = (trial for known, trial in self.trials.items() if int(known) == number)
        return next(found, None) or self.trials[trial_id]

    def get_best_trials(self, num_trials: int = 1) -> list[Trial]:
        """Return the best trials, best first; if too few have a score, others follow.

        Args:
            num_trials: The maximum number of trials to return. Defaults to `1`.
        """
        return ranked(list(self.trials.values()), self.objective)[:num_trials]

    # Hyperparameters

    @property
    def hyperparameters(self) -> HyperParameters:
        """Return the known hyperparameters, including those that models request.

        This is the object that was passed, if any. Before the first search, reading it builds a
        model in this process to discover the hyperparameters.
        """
        discover, self._discover = self._discover, None
        if discover is not None:
            discover()
        return self._hyperparameters

    @hyperparameters.setter
    def hyperparameters(self, hyperparameters: HyperParameters) -> None:
        self._hyperparameters = hyperparameters

    def discover_by(self, discover: Callable[[], None]) -> None:
        """Set the function that discovers the hyperparameters of models before a search."""
        self._discover = discover

    def recorded_by(self, recorder: Recorder) -> None:
        """Set the recorder for the trials of a user-defined loop, without a search."""
        self._recorder = recorder

    def _begin_own_loop(self) -> None:
        """Prepare the oracle for a user-defined loop, without a search."""
        if self._recorder is not None:
            self._recorder.begin()
        self._take_in_hyperparameters()

    def _take_in_hyperparameters(self) -> None:
        """Add to the space what the user's code has put into `hyperparameters`."""
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
        """Add hyperparameters that a trial met, and return the new ones.

        Raises:
            RuntimeError: If some are new and `allow_new_entries` is `False`.
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
        """Return whether a trial agrees with these values in all that it requested.

        Such values would only repeat the trial.
        """
        return self._duplicate(values)

    @property
    def _tried_so_far(self) -> set[str]:
        """Return hashes of values not to try again; those that a subclass adds count as well."""
        return self._tried.hashes

    @_tried_so_far.setter
    def _tried_so_far(self, hashes: set[str]) -> None:
        self._tried.hashes = hashes

    @property
    def _id_to_hash(self) -> dict[str, str | None]:
        return self._tried.by_trial

    def _duplicate(self, values: Mapping[str, Any]) -> bool:
        """Return whether values were tried; a subclass may reject others as well."""
        return self._tried.has(values, self._compute_values_hash)

    def _compute_values_hash(self, values: Mapping[str, Any]) -> str:
        """Return a hash that is equal for equivalent values; a subclass may define which are."""
        return values_hash(values)

    def _record_values(self, trial: Trial) -> None:
        """Mark as tried the values that a trial received or has requested."""
        self._tried.record(trial, self._compute_values_hash, self.tune_new_entries)

    # Files

    def _set_project_dir(self, directory: str | os.PathLike[str], project_name: str) -> None:
        """Set the project directory, for `oracle.json` and the `trial.json` of each trial."""
        self._project_dir = pathlib.Path(directory, project_name)

    def _get_oracle_fname(self) -> str:
        return str((self._project_dir or pathlib.Path()) / "oracle.json")

    def _get_trial_dir(self, trial_id: str) -> str:
        return str(execution_directory(self._project_dir or pathlib.Path(), trial_id, 0))

    def save_trial(self, trial: Trial) -> None:
        """Write `trial.json`, if the oracle has a project directory."""
        if self._project_dir is not None:
            path = pathlib.Path(self._get_trial_dir(trial.trial_id), stored_trial.FILE)
            write_json(path, trial.get_state(), is_forced=trial.status != TrialStatus.RUNNING)

    def _save_trial(self, trial: Trial) -> None:
        self.save_trial(trial)

    def save(self, fname: str | os.PathLike[str] | None = None) -> None:
        """Write the oracle's state to a JSON file.

        In a user-defined loop, an oracle writes the file at each change, as the only record of how
        trials ran. A search has its journal. It writes the file at its end, and whenever the number
        of trial starts and ends has grown by a tenth. The file grows with the trials, so it must
        not be written for each. If a subclass overrides `get_state`, `set_state` or `save`, a
        search writes it for each trial nonetheless. A search that was killed then resumes with that
        state.

        Args:
            fname: The file. Defaults to `None`, which means `oracle.json` in the project directory,
                if there is one.
        """
        self._changes_saved = self._changes
        if fname is None and self._project_dir is not None:
            fname = self._project_dir / "oracle.json"
        if fname is not None:
            write_json(pathlib.Path(fname), self.get_state(), is_forced=True)

    def _save_if_due(self) -> None:
        """Write `oracle.json` in a search, if it is due."""
        is_due = self._changes >= _GROWTH * self._changes_saved
        if is_due or self._has_own("get_state", "set_state", "save"):
            self.save()

    @property
    def _changes(self) -> int:
        return len(self.start_order) + len(self.end_order)

    def _has_own(self, *names: str) -> bool:
        """Return whether a subclass overrides one of these methods."""
        return any(is_overridden(self, name, TrialRecord) for name in names)

    def reload(self) -> None:
        """Read the oracle's state and all trials from the project directory.

        Raises:
            RuntimeError: If the oracle has no project directory.
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
        """Pass the saved state to a subclass's `set_state` when a search resumes.

        It receives what its `get_state` returned before, updated with the search's knowledge of the
        trials.
        """
        path = pathlib.Path(self._get_oracle_fname())
        if self._project_dir is None or not path.exists() or not self._has_own("set_state"):
            return
        stored, known = stored_trial.read_object(path), TrialRecord.get_state(self)
        self.set_state(stored | {name: known[name] for name in _IN_JOURNAL if name in stored})
        self._hyperparameters.merge(self.space.parameters, overwrite=False)

    def get_state(self) -> dict[str, Any]:
        """Return the oracle's state as JSON types, without its trials.

        The names are the same as in KerasTuner's `oracle.json`.
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
        """Restore what `get_state` returned; the trials must already be loaded."""
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
