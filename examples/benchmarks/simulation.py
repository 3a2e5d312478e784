"""A search without any training: a virtual clock, as many workers as are wanted, and trials whose
curves are made up. All that is in the driver is real: the coordinator, the oracle, the journal.
"""

import heapq
import itertools
import math
import pathlib
import random
import time
from collections.abc import Iterator

from glimr_keras.executors.coordinator import Coordinator
from glimr_keras.oracles import Oracle
from glimr_keras.project.journal import Journal, Project, serialized
from glimr_keras.space.hp_types import Choice, Condition, Float, Int, deserialize
from glimr_keras.space.search_space import SearchSpace
from glimr_keras.training.messages import ExecutionSpec, Outcome, Report
from glimr_keras.trials.objective import Objective
from glimr_keras.tuners.progress import Progress

OBJECTIVE = Objective("val_loss", "min")
SEED = 1
SPACE = [
    Int("layers", 1, 4),
    Int("units", 16, 512, sampling="log"),
    Float("dropout", 0.0, 0.5, step=0.05),
    Choice("activation", ("relu", "gelu", "tanh")),
    Float("learning_rate", 1e-4, 1e-1, sampling="log"),
    Float("weight_decay", 1e-6, 1e-2, sampling="log"),
    Choice("optimizer", ("adam", "sgd")),
    Float("momentum", 0.5, 0.99, conditions=(Condition("optimizer", ("sgd",)),)),
]


class Simulation:
    """Runs what a coordinator gives out, to its end.

    Args:
        coordinator: Of a search.
        workers: How many executions run at once.
        epochs: Of each trial, where its oracle does not say how many.
        marks: After so many trials the time is looked at.

    Attributes:
        ended: How many trials have ended.
        seconds: For each mark, the CPU time of this process and the wall-clock time that were spent
            until then.
    """

    def __init__(
        self, coordinator: Coordinator, workers: int, epochs: int, marks: tuple[int, ...] = ()
    ) -> None:
        self._coordinator, self._workers, self._epochs = coordinator, workers, epochs
        self._marks = set(marks)
        self._events: list[tuple] = []  # a heap: when, a number that no other has, and what
        self._numbers = itertools.count()
        self._idle = list(range(workers))
        self.ended = 0
        self.seconds: dict[int, tuple[float, float]] = {}

    def run(self) -> None:
        """Runs until nothing is left to be started, and nothing runs."""
        clock = 0.0
        while True:
            while self._idle and (spec := self._coordinator.next_spec()) is not None:
                self._begin(spec, self._idle.pop(), clock)
            if self._coordinator.error is not None:
                raise self._coordinator.error
            if not self._events:
                return
            clock, _, training = heapq.heappop(self._events)
            report = next(training.reports)
            assert not self._coordinator.stops(training.spec, report)
            self._coordinator.on_report(training.spec, report)
            if report.outcome is None:
                self._push(clock, training)
            else:
                self._end(training)

    def _begin(self, spec, worker: int, clock: float) -> None:
        self._coordinator.on_start(spec)
        self._push(clock, Training(spec, worker, self._epochs))

    def _push(self, clock: float, training: "Training") -> None:
        heapq.heappush(
            self._events, (clock + training.epoch_seconds, next(self._numbers), training)
        )

    def _end(self, training: "Training") -> None:
        self._idle.append(training.worker)
        self.ended += 1
        if self.ended in self._marks:
            self.seconds[self.ended] = time.process_time(), time.perf_counter()


class Training:
    """The reports of an execution, which depend on its trial alone."""

    def __init__(self, spec, worker: int, epochs: int) -> None:
        self.spec, self.worker = spec, worker
        drawn = random.Random(f"{SEED}/{spec.trial_id}")
        self.epoch_seconds = drawn.uniform(0.5, 2.0)
        last = epochs if spec.epochs is None else spec.epochs
        self.reports = reports_of(spec, last, worker, self.epoch_seconds, drawn)


def reports_of(
    spec: ExecutionSpec, last: int, worker: int, epoch_seconds: float, drawn: random.Random
) -> Iterator[Report]:
    """What a worker says of an execution; it keeps none of its trainings."""
    values = dict(spec.values)  # as another process has it
    for epoch in range(spec.initial_epoch + 1, last + 1):
        loss = cost(values) + 1 / epoch + drawn.uniform(0, 0.05)
        metrics = {"loss": 0.9 * loss, "val_loss": loss}
        outcome = None
        if epoch == last:
            duration = epoch_seconds * (epoch - spec.initial_epoch)
            outcome = Outcome("COMPLETED", duration, loss, epoch)
        yield Report(epoch, metrics, values, [], outcome, worker=f"node{worker // 8}:1000")


def cost(values) -> float:
    """What a configuration is worth; smaller is better."""
    distance = abs(math.log10(values["learning_rate"]) + 2.5) + abs(values["dropout"] - 0.2)
    return distance + 0.1 * (values["activation"] == "tanh") + 8 / values["units"]


def opened(directory: pathlib.Path) -> tuple[Journal, Project]:
    """The project in a directory, which is begun where it is not there."""
    journal = Journal(directory)
    if not journal.exists():
        journal.create(Project(OBJECTIVE, SEED, 1, serialized(SPACE), oracle="Oracle"))
    return journal, journal.read()


def coordinator_of(
    directory: pathlib.Path, oracle: Oracle, journal: Journal, project: Project
) -> Coordinator:
    """A coordinator that knows a project's trials, as a tuner's search makes it."""
    space = SearchSpace(map(deserialize, project.space))
    oracle.begin(project.objective, project.seed, space)
    oracle.restore_trials(project.trials, project.end_order)
    oracle._set_project_dir(directory.parent, directory.name)
    progress = Shown(0, project.objective, oracle)
    coordinator = Coordinator(
        oracle,
        journal,
        directory,
        1,
        progress,
        project_id=project.project_id,
        directions=project.directions,
    )
    done = [project.trials[trial_id] for trial_id in project.end_order]
    progress.on_search_begin(project.objective, done)
    coordinator.resume()
    return coordinator


class Shown(Progress):
    """A search's progress, as a tuner without hooks shows it."""

    def before_trial(self) -> None:
        """Nothing."""

    def on_trial_begin(self, trial) -> None:
        """Nothing."""
