"""What an oracle is to a loop of the user's own, without a tuner, and to who reads its files. Runs
in the driver.

The verbs and files are KerasTuner's: `create_trial`, `update_trial`, `end_trial`, `trial.json`,
`oracle.json`.
"""

from __future__ import annotations

import collections
import datetime
import functools
import hashlib
import itertools
import json
import math
import os
import pathlib
import threading
import warnings
import weakref
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from glimr_keras._utils.files import write_json
from glimr_keras.errors import did_you_mean
from glimr_keras.oracles.suggestions import Nothing
from glimr_keras.space.hyperparameters import HyperParameters
from glimr_keras.space.reserved_names import Stage
from glimr_keras.space.search_space import SearchSpace
from glimr_keras.trials.layout import execution_directory
from glimr_keras.trials.objective import Objective
from glimr_keras.trials.trial import Trial, TrialStatus

_Method = TypeVar("_Method", bound=Callable[..., Any])
_LOCKS: weakref.WeakKeyDictionary[Any, threading.RLock] = weakref.WeakKeyDictionary()


def synchronized(method: _Method) -> _Method:
    """Lets one thread at a time into the methods of an oracle that are decorated with it."""

    @functools.wraps(method)
    def locked(oracle: Any, *args: Any, **kwargs: Any) -> Any:
        with _LOCKS.setdefault(oracle, threading.RLock()):
            return method(oracle, *args, **kwargs)

    return locked  # type: ignore[return-value]  # the same to its callers


class Display:
    """What KerasTuner's oracles keep to show a search, and write down.

    Attributes:
        verbose: As for `search`, which takes it where it is given none.
        search_start: When the first trial began in this process; `None` before.
        trial_start: When each trial began in this process, by id.
        trial_number: Which of the project's trials each of those is, counted from 1, by id.
    """

    def __init__(self, oracle: OwnLoop, verbose: int = 1) -> None:
        self.oracle, self.verbose = oracle, verbose
        self.search_start: datetime.datetime | None = None
        self.trial_start: dict[str, datetime.datetime] = {}
        self.trial_number: dict[str, int] = {}

    def on_trial_begin(self, trial: Trial) -> None:
        """Notes that a trial begins, which is one of the oracle's."""
        self.trial_start[trial.trial_id] = datetime.datetime.now()
        self.search_start = self.search_start or self.trial_start[trial.trial_id]
        self.trial_number.setdefault(trial.trial_id, len(self.oracle.trials))

    def on_trial_end(self, trial: Trial) -> None:
        """Shows nothing: that is the search's."""

    def get_state(self) -> dict[str, Any]:
        """All but `verbose`, as JSON types."""
        return {
            "search_start": None if self.search_start is None else self.search_start.isoformat(),
            "trial_start": {
                key: self.trial_start[key].isoformat()
                for key in self.oracle.trials
                if key in self.trial_start
            },
            "trial_number": {
                key: self.trial_number[key]
                for key in self.oracle.trials
                if key in self.trial_number
            },
        }

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Takes over what `get_state` returned."""
        start = state["search_start"]
        self.search_start = None if start is None else datetime.datetime.fromisoformat(start)
        self.trial_start = {
            key: datetime.datetime.fromisoformat(each) for key, each in state["trial_start"].items()
        }
        self.trial_number = dict(state["trial_number"])


class OwnLoop:
    """The part of `Oracle` that a loop of the user's own calls."""

    if TYPE_CHECKING:  # of `Oracle`
        objective: Objective
        seed: int
        max_retries_per_trial: int
        max_consecutive_failed_trials: int
        tune_new_entries: bool
        _hyperparameters: HyperParameters
        hyperparameters: HyperParameters
        trials: dict[str, Trial]
        ongoing_trials: dict[str, Trial]
        start_order: list[str]
        end_order: list[str]
        tuner_ids: set[str]

        def next_trial(self) -> Trial | Nothing: ...
        def populate_space(self, trial_id: str) -> Any: ...
        def update_space(self, hyperparameters: HyperParameters) -> Any: ...

    _project_dir: pathlib.Path | None = None
    _max_collisions = 20
    _display: Display
    _tried_so_far: set[str]
    """Hashes of values that are not to be tried again; what a subclass adds counts as well."""
    _times_tried: collections.Counter[str]
    """How many trials each of them is of."""
    directory: Any = None
    """Has no meaning, as in KerasTuner; nor have the next three."""
    project_name: Any = None
    multi_worker = False
    should_report = True

    @property
    def verbose(self) -> int:
        """How much is shown by a search that is not told."""
        return self._display.verbose

    @verbose.setter
    def verbose(self, verbose: int | str) -> None:
        self._display.verbose = 1 if verbose == "auto" else int(verbose)

    @synchronized
    def create_trial(self, tuner_id: str) -> Trial:
        """A trial to run: the one that `tuner_id` already runs, one to be tried again, or a new
        one.

        Returns:
            A trial whose status is `"RUNNING"`; or `"IDLE"` where there is nothing to try before
            another has ended, or `"STOPPED"` where there is nothing any more.
        """
        if tuner_id in self.ongoing_trials:
            return self.ongoing_trials[tuner_id]
        self.tuner_ids.add(tuner_id)
        is_again = bool(self._retry_queue)
        trial = self.trials[self._retry_queue.pop()] if is_again else self.next_trial()
        if isinstance(trial, Nothing):
            if trial is Nothing.LEFT:
                self.tuner_ids.discard(tuner_id)
            return Trial(
                self.hyperparameters.copy(),
                status=TrialStatus.STOPPED if trial is Nothing.LEFT else TrialStatus.IDLE,
            )
        trial.status = TrialStatus.RUNNING
        self.ongoing_trials.pop(trial.trial_id, None)
        self.ongoing_trials[tuner_id] = trial
        if is_again:
            self._display.on_trial_begin(trial)
        self.save_trial(trial)
        self.save()
        return trial

    @synchronized
    def update_trial(self, trial_id: str, metrics: Mapping[str, float], step: int = 0) -> Trial:
        """Adds what was measured.

        Args:
            trial_id: Of a trial that is running.
            metrics: Value by name, with the objective among them.
            step: Such as the epoch, counted from 0.

        Raises:
            ValueError: If the objective is not among them.
        """
        trial = self.trials[trial_id]
        self._check_objective_found(metrics)
        directions = {part.name: part.direction for part in self.objective.parts}
        tracker = trial.metrics
        for name, value in metrics.items():
            if not tracker.exists(name):
                tracker.register(name, directions.get(name))
            tracker.update(name, value, step)
        self.save_trial(trial)
        return trial

    def score_trial(self, trial: Trial) -> None:
        """Scores a trial that has ended, by setting `trial.score` and `trial.best_step`.

        By default the score is the objective at its best step: the mean over executions, as the
        trial itself says where it was trained by a tuner, or else the best of what `update_trial`
        was told.
        """
        if trial.executions:
            return
        self.objective = self.objective.inferred().resolved({})
        step = self.objective.best_step(trial.told)
        score = None if step is None else self.objective.get_value(trial.told[step])
        trial.score, trial.best_step = (
            (None, None) if score is None or math.isnan(score) else (score, step)
        )

    def _own(self, trial: Trial | str, status: str | None) -> Trial:
        """The oracle's own trial, with what a copy of it says that was run."""
        if isinstance(trial, str):
            warnings.warn(
                "Call `end_trial(trial)` with the trial instead of its id and status.",
                DeprecationWarning,
                stacklevel=3,
            )
            own = self.trials[trial]
            own.status = status or TrialStatus.COMPLETED
            return own
        own = self.trials[trial.trial_id]
        if own is not trial:
            own.hyperparameters, own.status, own.message = (
                trial.hyperparameters,
                trial.status,
                trial.message,
            )
        if not own.executions:
            self.update_space(own.hyperparameters)
        return own

    def _is_retried(self, trial: Trial) -> bool:
        """Whether a trial of the user's own loop that has just been run is to be run again."""
        if trial.status == TrialStatus.COMPLETED and trial.score is None:
            trial.status = TrialStatus.INVALID  # it has no score, or is nan
        self._run_times[trial.trial_id] += 1
        return self._retry(trial)

    def _retry(self, trial: Trial) -> bool:
        """Queues a trial that is invalid to be run again, if that is allowed, and says whether it
        is.
        """
        if trial.status != TrialStatus.INVALID:
            return False
        if self._run_times[trial.trial_id] > self.max_retries_per_trial:
            trial.status = TrialStatus.FAILED
            return False
        self._retry_queue.append(trial.trial_id)
        self._leaves(trial)
        return True

    def _leaves(self, trial: Trial) -> None:
        """The trial is no more one of those that run."""
        self.ongoing_trials = {
            key: ongoing for key, ongoing in self.ongoing_trials.items() if ongoing is not trial
        }

    def _check_objective_found(self, metrics: Mapping[str, Any]) -> None:
        missing = self.objective.missing(metrics)
        if missing is not None:
            raise ValueError(
                f"Objective value missing in metrics reported to the Oracle: expected {missing!r}, "
                f"received {sorted(metrics)}.{did_you_mean(missing, metrics)}"
            )

    def _check_consecutive_failures(self) -> None:
        """Ends the user's loop when too many trials in a row have failed.

        Raises:
            RuntimeError: If so.
        """
        last = [
            self.trials[trial_id]
            for trial_id in self.end_order[-self.max_consecutive_failed_trials :]
        ]
        if len(last) == self.max_consecutive_failed_trials and all(
            trial.status == TrialStatus.FAILED for trial in last
        ):
            raise RuntimeError(
                "Number of consecutive failures exceeded the limit of "
                f"{self.max_consecutive_failed_trials}.\n"
                f"{last[-1].message or ''}"
            )

    # For `populate_space` of the user's own

    def _random_values(self) -> dict[str, Any] | None:
        """Values at random that were not tried; `None` where none are found."""
        for _ in range(self._max_collisions + 1):
            self._seed_state += 1
            key, count = [self.seed, self._seed_state], itertools.count()
            space = SearchSpace(self.hyperparameters.space)
            values = space.walk(lambda parameter: parameter.random_sample([*key, next(count)]))  # noqa: B023  # at once
            if not self._duplicate(values):
                return values
        return None

    def _duplicate(self, values: Mapping[str, Any]) -> bool:
        """Whether these values were tried; also where a trial asked for some of them only, and
        agrees in those.
        """
        own = values.keys() - Stage.NAMES
        asked = [names for names in self._names_tried if names <= own]
        each: Iterable[Mapping[str, Any]] = (
            values,
            *({name: values[name] for name in names} for names in asked),
        )
        return any(self._compute_values_hash(some) in self._tried_so_far for some in each)

    def _compute_values_hash(self, values: Mapping[str, Any]) -> str:
        """What tells configurations apart, whichever part of a training they are."""
        own = sorted((name, value) for name, value in values.items() if name not in Stage.NAMES)
        text = json.dumps(
            own, default=lambda value: value.item() if isinstance(value, np.generic) else str(value)
        )
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    def _record_values(self, trial: Trial) -> None:
        """Counts as tried what a trial was given; when called again, what it asked for.

        What it was given counts on, unless that was only a part: with others of what it met it may
        be tried again.
        """
        before = self._id_to_hash.get(trial.trial_id)
        values = trial.suggested if before is None else trial.values
        now = self._compute_values_hash(values)
        if now == before:
            return
        names = frozenset(values.keys() - Stage.NAMES)
        if names:
            self._names_tried[names] = None
            self._times_tried[now] += 1
            self._tried_so_far.add(now)
        self._id_to_hash[trial.trial_id] = now
        if (
            before is not None
            and self.tune_new_entries
            and trial.suggested.items() < trial.values.items()
        ):
            self._times_tried[before] -= 1
            if self._times_tried[before] <= 0:
                self._tried_so_far.discard(before)

    def _populate_space(self, trial_id: str) -> Any:
        warnings.warn(
            "Call `populate_space`, without the underscore.", DeprecationWarning, stacklevel=2
        )
        return self.populate_space(trial_id)

    def _score_trial(self, trial: Trial) -> None:
        warnings.warn(
            "Call `score_trial`, without the underscore.", DeprecationWarning, stacklevel=2
        )
        self.score_trial(trial)

    def _begin_own_loop(self) -> None:
        """Forgets all trials, but not what a subclass counts as tried besides."""
        self._tried_so_far = self._tried_so_far - self._times_tried.keys()
        self._times_tried = collections.Counter()
        self._names_tried: dict[frozenset[str], None] = {}  # in the order of their coming
        self._id_to_hash: dict[str, str | None] = collections.defaultdict(type(None))
        self._retry_queue: list[str] = []
        self._run_times: collections.Counter[str] = collections.Counter()
        self._seed_state = self.seed

    # Files

    def _set_project_dir(self, directory: str | os.PathLike[str], project_name: str) -> None:
        """Has the oracle write `oracle.json` and each trial's `trial.json` into a project's
        directory.
        """
        self._project_dir = pathlib.Path(directory, project_name)

    def _get_oracle_fname(self) -> str:
        return str((self._project_dir or pathlib.Path()) / "oracle.json")

    def _get_trial_dir(self, trial_id: str) -> str:
        return str(execution_directory(self._project_dir or pathlib.Path(), trial_id, 0))

    def save_trial(self, trial: Trial) -> None:
        """Writes `trial.json`, if the oracle has a project's directory."""
        if self._project_dir is not None:
            write_json(
                pathlib.Path(self._get_trial_dir(trial.trial_id), "trial.json"), trial.get_state()
            )

    def _save_trial(self, trial: Trial) -> None:
        self.save_trial(trial)

    def save(self, fname: str | os.PathLike[str] | None = None) -> None:
        """Writes the oracle's state to a JSON file, by default `oracle.json` in the project's
        directory, if there is one.
        """
        if fname is None and self._project_dir is not None:
            fname = self._project_dir / "oracle.json"
        if fname is not None:
            write_json(pathlib.Path(fname), self.get_state())

    def reload(self) -> None:
        """Reads the oracle's state, and all trials, from the project's directory."""
        if self._project_dir is None:
            raise RuntimeError("The oracle has no project's directory to read.")
        self.trials = {}
        for path in sorted(self._project_dir.glob("trial_*/trial.json")):
            trial = Trial.load(path)
            self.trials[trial.trial_id] = trial
        self.set_state(json.loads((self._project_dir / "oracle.json").read_text("utf-8")))

    def restore_state(self) -> None:
        """When a search goes on, gives a subclass with a `set_state` of its own what its
        `get_state` returned before.
        """
        path = None if self._project_dir is None else self._project_dir / "oracle.json"
        if path is not None and path.exists() and type(self).set_state is not OwnLoop.set_state:
            self.set_state(json.loads(path.read_text("utf-8")))

    def get_state(self) -> dict[str, Any]:
        """The oracle's state as JSON types, without its trials, under the names that KerasTuner's
        `oracle.json` has.
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
        """Takes over what `get_state` returned; the trials must be there."""
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
