"""An executor whose workers are made up, with a clock of its own."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import heapq
import itertools
import pathlib
import random
import shutil
from collections.abc import Callable, Iterator

from glimr_keras.errors import CheckpointError
from glimr_keras.executors.coordinator import Coordinator
from glimr_keras.executors.losses import MAX_REFUSED
from glimr_keras.project import checkpoints, training_states
from glimr_keras.training.messages import ExecutionSpec
from glimr_keras.trials.layout import state_directory
from tests.simulation.clock import Clock
from tests.simulation.disk import Disk, Killed, PowerCut
from tests.simulation.trainings import Kind, Said, Settle, train

EPOCH = 4.0
"""Seconds that one takes, at most."""


@dataclasses.dataclass(frozen=True)
class Loss:
    """Workers are gone, without having done anything wrong.

    Attributes:
        at: With the report of this number, counted from 0 in each session.
        machine: Whether all of its machine are.
        is_heard: Whether what was on its way still arrives.
    """

    at: int
    machine: bool = False
    is_heard: bool = False


@dataclasses.dataclass(frozen=True)
class Hardware:
    """What a session runs on.

    Attributes:
        workers: How many.
        machines: That they are spread over.
        sees: Whether workers see the project's directory.
        lag: How long what is said is on its way, in the time of an epoch.
        refuses: Of a hundred starts, so many come to nothing; and of a hundred trainings that are
            stopped, so many processes are gone before that is said.
    """

    workers: int = 1
    machines: int = 1
    sees: bool = True
    lag: float = 0.1
    refuses: int = 0


@dataclasses.dataclass
class _Worker:
    number: int
    spec: ExecutionSpec
    steps: Iterator
    home: pathlib.Path
    on_way: list[Said] = dataclasses.field(default_factory=list)
    state: dict[str, bytes] | None = None
    waits: bool = False
    is_over: bool = False
    is_stopped: bool = False
    has_begun: bool = False


class Cluster:
    """Runs what a coordinator gives out.

    Args:
        hardware: What it runs on.
        kind: Of trainings.
        state_every: Epochs between two states; `None` for none.
        losses: Of workers, to come.
        disk: Told whose changes it sees.
        home: Where workers write that do not see the project's directory.
        seed: Of how long everything takes.
        clock: That goes on meanwhile.
        pauses: Whether a scheduler pauses a training, by its name and epoch.

    Attributes:
        reports: How many were taken in.
    """

    def __init__(
        self,
        hardware: Hardware,
        kind: Kind,
        state_every: int | None,
        losses: tuple[Loss, ...],
        disk: Disk,
        home: pathlib.Path,
        seed: int,
        clock: Clock,
        pauses: Callable[[str, int], bool],
    ) -> None:
        self._hardware, self._kind, self._state_every = hardware, kind, state_every
        self._disk, self._home, self._generator = disk, home, random.Random(seed)
        self._losses = {loss.at: loss for loss in losses}
        self._workers: dict[int, _Worker] = {}
        self._events: list[tuple[float, int, str, _Worker]] = []
        self._order = itertools.count()
        self._clock = clock
        self._pauses = pauses
        self._paused: list[tuple[ExecutionSpec, dict[str, bytes]]] = []
        self._refused: collections.Counter[tuple[str, int]] = collections.Counter()
        self.reports = 0

    def run(self, coordinator: Coordinator) -> None:
        """Run what the coordinator gives out, to its end.

        Raises:
            Killed: If the driver's process is gone.
        """
        try:
            while True:
                self._start_some(coordinator)
                if not self._events:
                    return
                at, _, what, worker = heapq.heappop(self._events)
                self._clock.wait_until(at)
                if worker.is_over:
                    continue
                if what == "step":
                    self._step(coordinator, worker)
                elif what == "begin":
                    self._begin(coordinator, worker)
                else:
                    self._hear(coordinator, worker)
        finally:
            for worker in list(self._workers.values()):
                self._end(worker)

    def _start_some(self, coordinator: Coordinator) -> None:
        for number in range(self._hardware.workers):
            if number in self._workers:
                continue
            state = None
            if self._paused and coordinator.error is None and self._generator.random() < 0.5:
                spec, state = self._paused.pop(0)
            else:
                given = coordinator.next_spec()
                if given is not None:
                    spec = dataclasses.replace(given, reports_state=self._hardware.sees)
                elif self._paused and coordinator.error is None:
                    spec, state = self._paused.pop(0)
                else:
                    return
            home = self._home / f"{number}_{next(self._order)}"
            worker = self._workers[number] = _Worker(number, spec, iter(()), home, state=state)
            self._later("begin", worker, self._generator.random())

    def _begin(self, coordinator: Coordinator, worker: _Worker) -> None:
        if self._generator.random() * 100 < self._hardware.refuses:
            self._end(worker)
            self._refused[worker.spec.key] += 1
            if self._refused[worker.spec.key] <= MAX_REFUSED:
                coordinator.give_back(worker.spec)
            else:
                coordinator.on_lost(worker.spec, 1.0, "The process takes no trials.")
            return
        coordinator.on_start(worker.spec)
        spec = worker.spec
        if worker.state is not None:
            checkpoints.put(worker.home / "paused", worker.state)
            spec = dataclasses.replace(spec, state=str(worker.home / "paused"), resumes=False)
        elif not self._hardware.sees:
            spec = self._at_home(worker)
        worker.steps = train(spec, self._kind, self._state_every)
        self._later("step", worker)

    def _at_home(self, worker: _Worker) -> ExecutionSpec:
        """The execution for a worker that does not see the project's directory: it gets what it
        goes on from.
        """
        spec, own = worker.spec, worker.home / "own"
        given = None
        if spec.resumes:
            newest = training_states.newest(state_directory(spec.directory))
            if newest is not None:
                training_states.put_state(state_directory(own), checkpoints.packed(newest))
        if spec.state is not None:
            newest = training_states.newest(spec.state)
            if newest is not None:
                training_states.put_state(worker.home / "given", checkpoints.packed(newest))
            given = str(worker.home / "given")
        return dataclasses.replace(spec, directory=str(own), state=given, is_carried=True)

    def _step(self, coordinator: Coordinator, worker: _Worker) -> None:
        """A worker goes on to where it says something, waits, or has worked for a while."""
        self._disk.actor = "worker"
        try:
            step = next(worker.steps, None)
        except PowerCut:
            raise
        except Killed:
            self._disk.actor = "driver"
            self._lose(coordinator, worker, is_heard=self._generator.random() < 0.5)
            return
        finally:
            self._disk.actor = "driver"
        if step is None:
            return
        if isinstance(step, Said):
            worker.on_way.append(step)
            lag = self._hardware.lag * self._generator.random()
            self._later("hear", worker, lag)
            if step.report.outcome is None:
                self._later("step", worker, 0.0)
        elif isinstance(step, Settle) and worker.on_way:
            worker.waits = True
        else:
            self._later(
                "step", worker, 0.0 if isinstance(step, Settle) else self._generator.random()
            )

    def _hear(self, coordinator: Coordinator, worker: _Worker) -> None:
        """What a worker has said arrives, the first of it that was on its way."""
        said = worker.on_way.pop(0)
        loss = self._losses.get(self.reports)
        self.reports += 1
        if loss is not None:
            if loss.is_heard:
                self._take_in(coordinator, worker, said)
            machine = worker.number % self._hardware.machines
            gone = [
                other
                for other in list(self._workers.values())
                if other is worker
                or (loss.machine and other.number % self._hardware.machines == machine)
            ]
            for other in gone:
                if not other.is_over:
                    self._lose(coordinator, other, loss.is_heard)
            return
        self._take_in(coordinator, worker, said)
        if worker.waits and not worker.on_way and not worker.is_over:
            worker.waits = False
            self._later("step", worker, 0.0)

    def _take_in(self, coordinator: Coordinator, worker: _Worker, said: Said) -> None:
        spec, report = worker.spec, said.report
        stops = coordinator.stops(spec, report)
        coordinator.on_report(spec, report)
        if report.outcome is not None:
            self._end(worker)
            coordinator.on_stopped(spec, 1.0)  # as Ray says of each that it is over
        elif stops or coordinator.error is not None:
            self._end(worker)
            if self._hardware.refuses and self._generator.random() * 100 < self._hardware.refuses:
                coordinator.on_lost(spec, 1.0, "The process is gone.")
                return
            coordinator.on_stopped(spec, 1.0)
            coordinator.on_stopped(spec, 1.0)  # as some executors say it twice
        elif said.state is not None and self._pauses(
            f"{spec.trial_id}_{spec.execution}", report.epoch
        ):
            self._end(worker)
            self._paused.append((spec, said.state))

    def _is_paused(self, spec: ExecutionSpec, epoch: int | None) -> bool:
        """Whether a scheduler pauses the training now."""
        return epoch is not None and self._pauses(f"{spec.trial_id}_{spec.execution}", epoch)

    def _lose(self, coordinator: Coordinator, worker: _Worker, is_heard: bool) -> None:
        """A worker is gone, and what it has said may arrive, or not."""
        while is_heard and worker.on_way and not worker.is_over:
            self._take_in(coordinator, worker, worker.on_way.pop(0))
        was_over = worker.is_over
        self._end(worker)
        if not was_over:
            coordinator.on_lost(worker.spec, 1.0, "The process is gone.")

    def _end(self, worker: _Worker) -> None:
        worker.is_over = True
        with contextlib.suppress(Killed, CheckpointError):
            worker.steps.close() if hasattr(worker.steps, "close") else None
        shutil.rmtree(worker.home, ignore_errors=True)
        if self._workers.get(worker.number) is worker:
            del self._workers[worker.number]

    def _later(self, what: str, worker: _Worker, after: float = 0.5) -> None:
        heapq.heappush(
            self._events,
            (self._clock.now + after * EPOCH, next(self._order), what, worker),
        )
