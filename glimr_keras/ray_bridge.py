"""Where Ray's trials and ours meet: what Ray Tune asks and tells is passed to one coordinator. Runs in the driver.

The first Ray trials are no trials of ours. One on each worker makes the process ready (Keras imported, threads set), and one of
them builds the model once; they stand by until the search has begun, and then leave their processes to its trials. Neither
schedulers nor callbacks of the user see them.
"""

from __future__ import annotations

import collections
import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import ray
from ray import tune
from ray.tune.search import Searcher

from glimr_keras.checkpoints import newest, packed
from glimr_keras.coordinator import Begin, Coordinator
from glimr_keras.discovery import PROBED, Probe
from glimr_keras.ray_worker import REPORT, TASK
from glimr_keras.reporting import Report
from glimr_keras.trials import Run, state_directory

_DEAD = "The worker process died while it ran `data` and `build` (out of memory, or a crash in a library)."

_MAX_REFUSED = 3
"""How often a run is given to another process because the one that it was for did not begin with it."""


class Bridge:
    """Which Ray trial is which run, and what the processes are doing before there are runs.

    Args:
        begin: Called once, when the model has been built.
        workers: How many processes are made ready.
        max_runs: How many runs may be given out at once; `None` for what Ray has room for.
        pauses: Whether a scheduler may pause runs, change their values and continue them.
        shows: Whether Ray is to see the values of runs also where it changes none.
        is_cluster: Says whether there are other machines now.

    Attributes:
        coordinator: `None` until the search has begun.
        error: Why it did not begin.
        over: Whether nothing is to be done, or nothing any more.
    """

    def __init__(
        self,
        begin: Begin,
        workers: int,
        max_runs: int | None,
        pauses: bool = False,
        shows: bool = False,
        is_cluster: Callable[[], bool] = lambda: False,
    ) -> None:
        self.coordinator: Coordinator | None = None
        self.error: Exception | None = None
        self.over = False
        self.runs: dict[str, Run] = {}
        self.max_runs, self.pauses, self.shows = max_runs, pauses, pauses or shows
        self._begin, self._workers = begin, workers
        self._ours: set[str] = set()
        self._standing_by: dict[str, None] = {}
        self._given = 0  # runs for which a process that stands by has to leave
        self._probing: str | None = None
        self._probes_lost = 0
        self._started: dict[str, float] = {}
        self._is_cluster = is_cluster
        self._refused: collections.Counter[tuple[str, int]] = collections.Counter()

    @property
    def finished(self) -> bool:
        """Whether no Ray trial is to be started any more."""
        return self.over or self.error is not None or (self.coordinator is not None and self.coordinator.finished)

    @property
    def interrupted(self) -> bool:
        """Whether the search has ended before its end."""
        if self.over or self.error is not None:
            return False
        return self.coordinator is None or (self.coordinator.error is None and bool(self.runs or not self.coordinator.finished))

    def is_ours(self, ray_id: str) -> bool:
        """Whether this Ray trial only makes a process ready."""
        return ray_id in self._ours

    def in_order(self) -> Iterator[str]:
        """The Ray trials that are not over, in the order in which they were given out."""
        if self.coordinator is None:
            yield from self._standing_by
        yield from self.runs
        if self.coordinator is not None:
            yield from self._standing_by

    def next_task(self, ray_id: str) -> dict[str, Any] | None:
        """What a new Ray trial is to do; `None` if there is nothing to do now."""
        if self.finished:
            return None
        if self.coordinator is None:
            return self._next_stand_by(ray_id)
        waiting = len(self.runs) - len(self._started)
        is_full = len(self.runs) == self.max_runs and not self.pauses  # paused ones make room
        if not is_full and self._waits_for_machines():
            return self._stand_by(ray_id, None)
        if is_full or (waiting and self.coordinator.oracle.learns):
            return None  # what is chosen later is chosen with more results
        run = self.coordinator.next_run()
        if run is None:
            return None
        self.runs[ray_id] = dataclasses.replace(run, reports_state=self.pauses)
        self._given += bool(self._standing_by)
        return self._task(self.runs[ray_id])

    def may_leave(self, ray_id: str) -> bool:
        """Whether a process that stands by is to take on a trial; not before there is one, or Ray would end the process."""
        if ray_id not in self._standing_by:
            return False
        if self.finished or (self.coordinator is not None and self.coordinator.all_given_out):
            return True
        if self._given == 0:
            return False
        self._given -= 1
        return True

    def start(self, ray_id: str) -> None:
        if self.coordinator is not None and ray_id in self.runs:
            self._started[ray_id] = time.monotonic()
            self.coordinator.on_start(self.runs[ray_id])
        elif self.coordinator is not None:
            self._given = min(len(self.runs) - len(self._started), 1)  # one that waits is for the process that has joined

    def prepare(self, ray_id: str, config: dict[str, Any]) -> None:
        """A Ray trial is to be started, or to go on; takes in the values that a scheduler changed in its configuration.

        A population-based scheduler copies whole configurations from one trial to another, with the run in them.
        """
        self._started.pop(ray_id, None)
        if self.coordinator is not None and ray_id in self.runs:
            self.runs[ray_id] = self.coordinator.mutated(self.runs[ray_id], _flat(config))
            config[TASK] = self._task(self.runs[ray_id])

    def wants_stop(self, ray_id: str, said: Any) -> bool:
        """Whether the run is to end with this report."""
        coordinator, run = self.coordinator, self.runs.get(ray_id)
        return coordinator is not None and run is not None and isinstance(said, Report) and coordinator.stops(run, said)

    def report(self, ray_id: str, said: Report | Probe | Exception | None) -> None:
        match said:
            case Report() if self.coordinator is not None:
                self.coordinator.on_report(self.runs[ray_id], said)
            case Probe():
                self._begin_with(said)
            case Exception():
                self.error = said

    def end(self, ray_id: str) -> None:
        """The Ray trial is over; if the worker said no outcome, a scheduler stopped it."""
        self._standing_by.pop(ray_id, None)
        run = self.runs.pop(ray_id, None)
        if run is not None and self.coordinator is not None:
            self.coordinator.on_stopped(run, self._seconds(ray_id))

    def lose(self, ray_id: str, message: str) -> None:
        """The Ray trial has failed, which errors of the user's code never do: its process is gone, or takes no more trials."""
        self._standing_by.pop(ray_id, None)
        run = self.runs.pop(ray_id, None)
        if run is not None and self.coordinator is not None:
            self._refused[run.key] += ray_id not in self._started
            if ray_id not in self._started and self._refused[run.key] <= _MAX_REFUSED:
                self.coordinator.give_back(run)
            else:
                self.coordinator.on_lost(run, self._seconds(ray_id), message)
        if ray_id == self._probing and self.coordinator is None and self.error is None:
            self._probing, self._probes_lost = None, self._probes_lost + 1
            if self._probes_lost == len(PROBED):
                self._begin_with(Probe(error=_DEAD))

    def _waits_for_machines(self) -> bool:
        """Whether a Ray trial is to wait for a machine that joins, and make a process ready there. The runs themselves would
        not: each would go to a process that is ready sooner, and never let a new one start.
        """
        coordinator = self.coordinator
        if coordinator is None or coordinator.all_given_out or self.pauses or self._standing_by:
            return False
        return len(self._started) > 0 and self._is_cluster()

    def _task(self, run: Run) -> dict[str, Any]:
        """A run for a worker, with what it goes on from if that may be on a machine that does not see the project."""
        states = {"own": state_directory(run.directory) if run.resumes else None, "given": run.state}
        sent = {}
        if any(states.values()) and self._is_cluster():
            found = {name: newest(place) for name, place in states.items() if place is not None}
            sent = {name: packed(place) for name, place in found.items() if place is not None}
        return {"run": dataclasses.asdict(run), "states": ray.put(sent) if sent else None}

    def _next_stand_by(self, ray_id: str) -> dict[str, Any] | None:
        if self._probing is None:
            self._probing, skipped = ray_id, self._probes_lost
        elif len(self._standing_by) < self._workers:
            skipped = None
        else:
            return None
        return self._stand_by(ray_id, skipped)

    def _stand_by(self, ray_id: str, skipped: int | None) -> dict[str, Any]:
        self._ours.add(ray_id)
        self._standing_by[ray_id] = None
        return {"skipped": skipped}

    def _begin_with(self, found: Probe) -> None:
        try:
            self.coordinator = self._begin(found)
        except Exception as error:  # raised again where Ray does not wrap it
            self.error = error
        self.over = self.coordinator is None

    def _seconds(self, ray_id: str) -> float:
        now = time.monotonic()
        return now - self._started.pop(ray_id, now)

    def __reduce__(self) -> tuple[type, tuple[None, int, None]]:
        return Bridge, (None, 0, None)  # Ray pickles searchers and callbacks into its snapshots, which are never read


class BridgeSearcher(Searcher):
    """Shows the coordinator to Ray Tune as a searcher."""

    def __init__(self, bridge: Bridge) -> None:
        super().__init__()
        self._bridge = bridge

    def set_search_properties(self, metric: str | None, mode: str | None, config: dict[str, Any], **spec: Any) -> bool:
        return True

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        task = self._bridge.next_task(trial_id)
        if task is not None:
            shown = _nested(task["run"]["values"]) if self._bridge.shows and "run" in task else {}
            return {**shown, TASK: task}
        return Searcher.FINISHED if self._bridge.finished else None

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """The listener, which hears of every end, tells the coordinator."""

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the journal is the record."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: the journal is the record."""


class Listener(tune.Callback):
    """Passes on what happens to Ray's trials."""

    def __init__(self, bridge: Bridge) -> None:
        self._bridge = bridge

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._bridge.start(trial.trial_id)

    def on_trial_result(self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any) -> None:
        self._bridge.report(trial.trial_id, result.pop(REPORT))  # Ray would keep it as long as the search lasts

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._bridge.end(trial.trial_id)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        message = f"The worker was lost:\n{trial.get_error() or 'it died without a message.'}"
        self._bridge.lose(trial.trial_id, message)


class Passing(tune.Callback):
    """A Ray Tune callback of the user, told of the search's own trials only."""

    def __init__(self, callback: tune.Callback, bridge: Bridge) -> None:
        self._callback, self._bridge = callback, bridge

    def setup(self, *args: Any, **info: Any) -> None:
        self._callback.setup(*args, **info)

    def on_step_begin(self, iteration: int, trials: list[Any], **info: Any) -> None:
        self._callback.on_step_begin(iteration, trials, **info)

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        self._callback.on_step_end(iteration, trials, **info)

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        if not self._bridge.is_ours(trial.trial_id):
            self._callback.on_trial_start(iteration, trials, trial, **info)

    def on_trial_result(self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any) -> None:
        if not self._bridge.is_ours(trial.trial_id):
            self._callback.on_trial_result(iteration, trials, trial, result, **info)

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        if not self._bridge.is_ours(trial.trial_id):
            self._callback.on_trial_complete(iteration, trials, trial, **info)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        if not self._bridge.is_ours(trial.trial_id):
            self._callback.on_trial_error(iteration, trials, trial, **info)

    def on_experiment_end(self, trials: list[Any], **info: Any) -> None:
        self._callback.on_experiment_end(trials, **info)


class PassingReporter(tune.ProgressReporter):
    """A progress reporter of the user, shown the search's own trials only."""

    def __init__(self, reporter: tune.ProgressReporter, bridge: Bridge) -> None:
        self._reporter, self._bridge = reporter, bridge

    def setup(self, *args: Any, **info: Any) -> None:
        self._reporter.setup(*args, **info)

    def should_report(self, trials: list[Any], done: bool = False) -> bool:
        return bool(self._own(trials)) and self._reporter.should_report(self._own(trials), done)

    def report(self, trials: list[Any], done: bool, *sys_info: Any) -> None:
        self._reporter.report(self._own(trials), done, *sys_info)

    def _own(self, trials: list[Any]) -> list[Any]:
        return [trial for trial in trials if not self._bridge.is_ours(trial.trial_id)]


class Forgetting(tune.Callback):
    """Takes statistics and configuration, some 16 KB, out of each of Ray's trials that has ended; Ray keeps the trials."""

    def __init__(self) -> None:
        self._first: Any = None

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        trial.run_metadata.metric_analysis, trial.run_metadata.metric_n_steps = {}, {}
        trial.run_metadata.last_result = {}
        trial.config.clear()
        trial.evaluated_params.clear()
        self._first = self._first or trial  # what all of them have alike, it keeps for all
        trial.placement_group_factory = self._first.placement_group_factory
        trial.storage.syncer, trial.storage.sync_config = self._first.storage.syncer, self._first.storage.sync_config

    on_trial_error = on_trial_complete


def _nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values by full name as nested dicts, in which schedulers look for them; what is inside a value's own name stays flat."""
    tree: dict[str, Any] = {}
    for name, value in values.items():
        *scopes, leaf = name.split("/")
        branch = tree
        for scope in scopes:
            branch = branch.setdefault(scope, {}) if isinstance(branch, dict) else {}
        if isinstance(branch, dict) and leaf not in branch:
            branch[leaf] = value
        else:
            tree[name] = value
    return tree


def _flat(config: Mapping[str, Any], scope: str = "") -> dict[str, Any]:
    """The values in nested dicts by full name; a dict is also a value, since an option may be one."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        flat[f"{scope}{key}"] = value
        if isinstance(value, Mapping) and key != TASK:
            flat |= _flat(value, f"{scope}{key}/")
    return flat


class Stop(tune.Stopper):
    """Ends the search when there is an error, and what stands by when it is needed no more."""

    def __init__(self, bridge: Bridge) -> None:
        self._bridge = bridge

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return self._bridge.may_leave(trial_id) or self._bridge.wants_stop(trial_id, result.get(REPORT))

    def stop_all(self) -> bool:
        coordinator = self._bridge.coordinator
        return self._bridge.error is not None or (coordinator is not None and coordinator.error is not None)
