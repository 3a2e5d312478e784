"""Replay: apply the records of a journal to a project, one after the other. Runs anywhere."""

from __future__ import annotations

import sys
from typing import Any, Protocol

from glimr_keras.project import records
from glimr_keras.trials.execution import Execution
from glimr_keras.trials.objective import Objective
from glimr_keras.trials.score_epochs import take_chosen
from glimr_keras.trials.trial import Trial


class Replayed(Protocol):
    """The parts of a project that records change; `Project` describes them."""

    late_space: list[dict[str, Any]]
    trials: dict[str, Trial]
    directions: dict[str, str | None]
    end_order: list[str]

    @property
    def objective(self) -> Objective: ...

    def begin_again(self, trial: Trial) -> None:
        """Restart a trial: forget how it ended."""


def replay(project: Replayed, record: dict[str, Any]) -> None:
    """Apply a record to a project."""
    match record["record"]:
        case "epoch":
            _add_epoch(_execution(project, record), record, project.objective)
        case "space":
            records.checked_space(record["parameters"])
            project.late_space += record["parameters"]
        case "trial":
            _begin(project, record)
        case "start":
            _execution(project, record).started = time_in(record, "time")
        case "loss":
            _execution(project, record).lost += 1
        case "retry":
            execution = _execution(project, record)
            project.trials[record["trial_id"]].executions[record["execution"]] = Execution(
                attempt=execution.attempt + 1
            )
        case "again":
            project.begin_again(project.trials[record["trial_id"]])
        case "execution":
            _end(project, record)
        case "end":
            trial = project.trials[record["trial_id"]]
            trial.status, trial.values, trial.message = (
                sys.intern(record["status"]),
                _named(record["values"]),
                records.readable(record["message"]),
            )
            project.end_order.append(trial.trial_id)
            take_chosen(trial, record, project.objective)
            if "score" in record:
                trial.score, trial.best_step = float(record["score"]), record["best_step"]
        case "directions":
            project.directions.update(record["directions"])


def _begin(project: Replayed, record: dict[str, Any]) -> None:
    """Add a new trial."""
    key = tuple(record["sampling_key"])
    values = _named(record["values"])
    trial = Trial.of(record["trial_id"], values, key, directions=project.directions)
    trial.num_ended = len(project.end_order)
    project.trials[trial.trial_id] = trial


def _add_epoch(execution: Execution, record: dict[str, Any], objective: Objective) -> None:
    """Add an epoch. Interned metric names save memory."""
    metrics = record["metrics"]
    numbers = map(float, metrics.values())
    named = dict(zip(map(sys.intern, metrics), numbers, strict=True))
    execution.observe(record["epoch"], named, objective)
    if "time" in record:
        execution.epoch_times[record["epoch"]] = float(record["time"])
    if "worker" in record:
        execution.worker = record["worker"]


def _named(values: dict[str, Any]) -> dict[str, Any]:
    """Return values with interned names, which saves memory."""
    return dict(zip(map(sys.intern, values), values.values(), strict=True))


def _end(project: Replayed, record: dict[str, Any]) -> None:
    """Record how an execution ended."""
    execution = _execution(project, record)
    if "values" in record:
        project.trials[record["trial_id"]].values = record["values"]
    execution.status, execution.message = record["status"], records.readable(record["message"])
    execution.duration, execution.best_epoch = record["duration"], record["best_epoch"]
    execution.score = None if record["score"] is None else float(record["score"])
    execution.is_told = record.get("told", False)
    execution.gpu_memory = record.get("gpu_memory")
    execution.reused_graph = record.get("reused_graph", False)
    execution.started = time_in(record, "started") or execution.started
    execution.ended = time_in(record, "time")
    execution.worker = record.get("worker", execution.worker)
    execution.returned = {name: float(value) for name, value in record.get("returned", {}).items()}


def _execution(project: Replayed, record: dict[str, Any]) -> Execution:
    executions, number = project.trials[record["trial_id"]].executions, record["execution"]
    if number not in executions:
        executions[number] = Execution()
    return executions[number]


def time_in(record: dict[str, Any], name: str) -> float | None:
    """Return a time of a record, which records of earlier versions lack."""
    return None if record.get(name) is None else float(record[name])
