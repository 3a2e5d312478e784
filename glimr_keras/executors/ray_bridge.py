"""The bridge between Ray Tune and the coordinator: it maps Ray's trials to executions. Runs in the
driver.

The first Ray trials are not executions. One on each worker prepares the process (Keras imported,
threads set), and one of them builds the model once. They stand by until the search has begun, and
then leave their processes to its trials. The user's schedulers and callbacks do not see them.
"""

from __future__ import annotations

import collections
import dataclasses
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import ray

from glimr_keras._utils.saying import say
from glimr_keras.executors.base import Begin
from glimr_keras.executors.coordinator import Coordinator
from glimr_keras.executors.losses import FIRST_STAGE, MAX_REFUSED, died_of, stage_of
from glimr_keras.executors.phases import Phase
from glimr_keras.executors.ray_worker import TASK
from glimr_keras.executors.resources import Share
from glimr_keras.project.checkpoints import packed
from glimr_keras.project.training_states import newest
from glimr_keras.training.discovery import PROBED, Probe
from glimr_keras.training.messages import ExecutionSpec, Report
from glimr_keras.transport.sayings import Repeater, Saying
from glimr_keras.trials.layout import state_directory

_PATIENCE_S = 60.0


class Bridge:
    """Map Ray trials to executions, and control the processes before there are any.

    Args:
        begin: Called once, after the model has been built.
        workers: The number of processes to prepare.
        max_running: The maximum number of concurrent executions; `None` for as many as fit in Ray.
        pauses: Whether a scheduler may pause executions, change their values and resume them.
            Defaults to `False`.
        shows: Whether Ray sees the values of executions even if it changes none. Defaults to
            `False`.
        is_cluster: Returns whether there are other machines now. Defaults to a function that
            returns `False`.
        phase: Chooses the executions to give out. Defaults to `None`, which means a single phase.
        coordinator: The coordinator of a search that has already begun. Defaults to `None`.
        repeater: The workers' warnings so far in the search. Defaults to `None`, which means none.

    Attributes:
        coordinator: `None` until the search has begun.
        error: Why the search failed outside the coordinator, such as before it began; otherwise
            `None`.
        over: Whether nothing is to be run, or nothing more.
    """

    def __init__(
        self,
        begin: Begin,
        workers: int,
        max_running: int | None,
        pauses: bool = False,
        shows: bool = False,
        is_cluster: Callable[[], bool] = lambda: False,
        phase: Phase | None = None,
        coordinator: Coordinator | None = None,
        repeater: Repeater | None = None,
    ) -> None:
        self.coordinator = coordinator
        self._phase = phase or Phase(Share({}, workers))
        self.error: Exception | None = None
        self.over = False
        self.specs: dict[str, ExecutionSpec] = {}
        self.max_running, self.pauses, self.shows = max_running, pauses, pauses or shows
        self._begin, self._workers = begin, workers
        self._ours: set[str] = set()
        self._standing_by: dict[str, None] = {}
        self._given = 0  # executions for which a process that stands by has to leave
        self._missing = 0  # lost processes that were not replaced
        self._probing: str | None = None
        self._probes_lost, self._stage = 0, FIRST_STAGE
        self._repeater = repeater or Repeater()
        # A resumed search has no standby processes, and starts all at once
        self._at_once = 0 if coordinator is None else workers
        self._started: dict[str, float] = {}
        self._is_cluster = is_cluster
        self._refused: collections.Counter[tuple[str, int]] = collections.Counter()
        self._has_begun, self._patient_until = False, time.monotonic() + _PATIENCE_S

    @property
    def finished(self) -> bool:
        """Return whether no more Ray trials are to be started."""
        return (
            self.over
            or self.error is not None
            or (self.coordinator is not None and self._phase.is_over(self.coordinator))
        )

    @property
    def interrupted(self) -> bool:
        """Return whether the search stopped before its end."""
        if self.over or self.error is not None:
            return False
        return self.coordinator is None or (
            self.coordinator.error is None and bool(self.specs or not self.finished)
        )

    def is_ours(self, ray_id: str) -> bool:
        """Return whether this Ray trial only prepares a process."""
        return ray_id in self._ours

    def in_order(self) -> Iterator[str]:
        """Yield the unfinished Ray trials, in the order in which they were given out."""
        if self.coordinator is None:
            yield from self._standing_by
        yield from self.specs
        if self.coordinator is not None:
            yield from self._standing_by

    def next_task(self, ray_id: str) -> dict[str, Any] | None:
        """Return the task of a new Ray trial; `None` if there is nothing to do now."""
        if self.finished:
            return None
        if self.coordinator is None:
            return self._next_stand_by(ray_id)
        waiting = len(self.specs) - len(self._started)
        is_full = len(self.specs) == self.max_running and not self.pauses  # paused ones make room
        if not is_full and self._waits_for_processes():
            self._missing = max(self._missing - 1, 0)
            return self._stand_by(ray_id, None)
        if is_full or (waiting and self.coordinator.oracle.learns and self._at_once == 0):
            return None  # later choices use more results
        spec = self._phase.next_spec(self.coordinator)
        if spec is None:
            return None
        if not self._started:  # the executions that are given out have processes started
            self._missing = 0
        self.specs[ray_id] = dataclasses.replace(spec, reports_state=self.pauses)
        self._given += bool(self._standing_by)
        self._at_once = max(self._at_once - 1, 0)
        return self._task(self.specs[ray_id])

    def may_leave(self, ray_id: str) -> bool:
        """Return whether a standby process is to take on a trial. It must not leave before there is
        one, or Ray would end the process.
        """
        if ray_id not in self._standing_by:
            return False
        if self.finished or (self.coordinator is not None and self.coordinator.all_given_out):
            return True
        if self._given == 0:
            return False
        self._given -= 1
        return True

    def check_begun(self) -> None:
        """Warn once if no process has started for a long time."""
        if not self._has_begun and time.monotonic() > self._patient_until:
            self._has_begun = True
            say(
                f"No process for trials has begun in {_PATIENCE_S:g} s. Importing Keras may take "
                "that long, or other work on the machine or cluster holds a part of what each "
                f"trial gets, {dict(self._phase.share.resources)} (`ray status` shows it): then "
                "pass less by `resources_per_trial`."
            )

    def start(self, ray_id: str) -> None:
        self._has_begun = True
        if self.coordinator is not None and ray_id in self.specs:
            self._started[ray_id] = time.monotonic()
            self.coordinator.on_start(self.specs[ray_id])
        elif self.coordinator is not None:
            self._given = min(
                len(self.specs) - len(self._started), 1
            )  # one that waits is for the process that has joined

    def prepare(self, ray_id: str, config: dict[str, Any]) -> None:
        """Handle the start or resumption of a Ray trial, and take in the values that a scheduler
        changed in its configuration.

        A population-based scheduler copies whole configurations from one trial to another,
        including the execution.
        """
        self._started.pop(ray_id, None)
        if self.coordinator is not None and ray_id in self.specs:
            self.specs[ray_id] = self.coordinator.mutated(self.specs[ray_id], flatten(config))
            config[TASK] = self._task(self.specs[ray_id])

    def wants_stop(self, ray_id: str, said: Any) -> bool:
        """Return whether the execution must stop with this report."""
        coordinator, spec = self.coordinator, self.specs.get(ray_id)
        return (
            coordinator is not None
            and spec is not None
            and isinstance(said, Report)
            and coordinator.stops(spec, said)
        )

    def report(self, ray_id: str, said: Report | Probe | Exception | str | None) -> None:
        match said:
            case Report() if self.coordinator is not None:
                self.coordinator.on_report(self.specs[ray_id], said)
            case Probe():
                self._begin_with(said)
            case Exception():
                self.error = said
            case str():
                self._stage = said

    def hear(self, sayings: Iterable[Saying]) -> None:
        """Repeat a worker's warnings."""
        self._repeater.repeat(sayings)

    def stage(self, ray_id: str) -> str:
        """Return how far the execution of a Ray trial had progressed, according to its reports."""
        return stage_of(self.specs.get(ray_id), self.coordinator)

    def end(self, ray_id: str) -> None:
        """Handle the end of a Ray trial; without a reported outcome, a scheduler stopped it."""
        self._standing_by.pop(ray_id, None)
        spec = self.specs.pop(ray_id, None)
        if spec is not None and self.coordinator is not None:
            self.coordinator.on_stopped(spec, self._seconds(ray_id))

    def lose(self, ray_id: str, message: str) -> None:
        """Handle the failure of a Ray trial, which the user's code never causes: its process was
        lost, or takes no more trials.
        """
        self._standing_by.pop(ray_id, None)
        spec = self.specs.pop(ray_id, None)
        self._missing += spec is not None and ray_id in self._started
        if spec is not None and self.coordinator is not None:
            self._refused[spec.key] += ray_id not in self._started
            if ray_id not in self._started and self._refused[spec.key] <= MAX_REFUSED:
                self.coordinator.give_back(spec)
            else:
                self.coordinator.on_lost(spec, self._seconds(ray_id), message)
        if ray_id == self._probing and self.coordinator is None and self.error is None:
            self._probing, self._probes_lost = None, self._probes_lost + 1
            if self._probes_lost == len(PROBED):
                self._begin_with(died_of(self._stage))
            self._stage = FIRST_STAGE

    def _waits_for_processes(self) -> bool:
        """Return whether a Ray trial is to wait for a new machine or for the room of a lost
        process, and prepare a process there. Executions would not wait. Each would go to a process
        that is ready sooner, so no new one would start.
        """
        coordinator = self.coordinator
        if coordinator is None or coordinator.all_given_out or self.pauses or self._standing_by:
            return False
        return len(self._started) > 0 and (self._missing > 0 or self._is_cluster())

    def _task(self, spec: ExecutionSpec) -> dict[str, Any]:
        """Return an execution for a worker. Include the state from which it resumes if the worker's
        machine may not see the project.
        """
        states = {
            "own": state_directory(spec.directory) if spec.resumes else None,
            "given": spec.state,
        }
        sent = {}
        if any(states.values()) and self._is_cluster():
            found = {name: newest(place) for name, place in states.items() if place is not None}
            sent = {name: packed(place) for name, place in found.items() if place is not None}
        return {"spec": dataclasses.asdict(spec), "states": ray.put(sent) if sent else None}

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
        except Exception as error:  # raised again outside Ray
            self.error = error
        self.over = self.coordinator is None

    def _seconds(self, ray_id: str) -> float:
        now = time.monotonic()
        return now - self._started.pop(ray_id, now)

    def __reduce__(self) -> tuple[type, tuple[None, int, None]]:
        return Bridge, (
            None,
            0,
            None,
        )  # Ray pickles searchers and callbacks into its snapshots, which are never read


def nest(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values by full name as nested dicts, as schedulers expect; names inside a value stay
    flat.
    """
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


def flatten(config: Mapping[str, Any], scope: str = "") -> dict[str, Any]:
    """Return the values of nested dicts by full name; a dict is also a value, since an option may
    be one.
    """
    flat: dict[str, Any] = {}
    for key, value in config.items():
        flat[f"{scope}{key}"] = value
        if isinstance(value, Mapping) and key != TASK:
            flat |= flatten(value, f"{scope}{key}/")
    return flat
