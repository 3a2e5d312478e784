"""What is known of a trial: its configuration, its executions with their histories, its status and score. Runs anywhere.

A *trial* is one configuration. It is trained `executions_per_trial` times, with cross validation so often for each fold; each
training is an *execution*. Those of the first round come first, one for each fold, then those of the next round. The score of
an execution is the objective at its best epoch; the score of a trial is the mean over its executions.
"""

from __future__ import annotations

import dataclasses
import math
import pathlib
import statistics
from typing import Any

from glimr_keras.objective import Objective


class TrialStatus:
    """What a trial, or an execution, can be."""

    RUNNING = "RUNNING"
    COMPLETED = "COMPLETED"
    STOPPED = "STOPPED"
    """Ended early by a scheduler; it has a score, and ranks below completed ones."""
    FAILED = "FAILED"


class Stage:
    """Which part of a training a trial is: names of values that only some oracles give, as KerasTuner's Hyperband has them."""

    EPOCHS = "tuner/epochs"
    """Up to how many epochs it trains."""
    INITIAL_EPOCH = "tuner/initial_epoch"
    """How many of them were trained before."""
    PARENT = "tuner/trial_id"
    """By which trial."""
    BRACKET = "tuner/bracket"
    ROUND = "tuner/round"
    ITERATION = "tuner/iteration"
    NAMES = frozenset({EPOCHS, INITIAL_EPOCH, PARENT, BRACKET, ROUND, ITERATION})


@dataclasses.dataclass(frozen=True)
class Run:
    """One execution of one trial, as it is sent to a worker.

    Attributes:
        trial_id: Such as `"0007"`.
        execution: Counted from 0.
        values: The configuration that the oracle chose, by full name.
        sampling_key: Seeds the values of hyperparameters that the oracle did not know.
        directory: Where the execution's checkpoint goes.
        directions: Of the objective's parts.
        epochs: Up to how many epochs it trains; `None` for what the user says.
        initial_epoch: How many of them were trained before.
        state: Directory of a checkpoint that the training continues from.
        keeps_state: Whether a later trial may continue from its end.
        reports_state: Whether it may be paused after any epoch, and continued from there.
        resumes: Whether it was begun before, and goes on from the newest state that it has.
        attempt: How many times it failed before.
        state_interval: So many seconds, at least, are between two states that are kept in case it is interrupted; `None` for
            none.
        time_limit: Seconds after which it is ended; `None` for no limit.
        project: The id of the project, by which a worker sees whether `directory` is there the same as in the driver.
        is_carried: Whether it is not, so that checkpoints are sent with the reports.
        fold: Which part of the data it is validated on, counted from 0; `None` without cross validation.
        num_folds: How many such parts there are.
    """

    trial_id: str
    execution: int
    values: dict[str, Any]
    sampling_key: tuple[int, ...]
    directory: str
    directions: tuple[str | None, ...] | None = None
    epochs: int | None = None
    initial_epoch: int = 0
    state: str | None = None
    keeps_state: bool = False
    reports_state: bool = False
    resumes: bool = False
    attempt: int = 0
    state_interval: float | None = None
    time_limit: float | None = None
    project: str | None = None
    is_carried: bool = False
    fold: int | None = None
    num_folds: int | None = None

    @property
    def key(self) -> tuple[str, int]:
        return self.trial_id, self.execution


@dataclasses.dataclass
class Execution:
    """One training of a configuration.

    Attributes:
        history: Metrics by epoch, epochs counted from 1.
        best_epoch: The epoch of the score and of the checkpoint, counted from 1.
        score: The objective at `best_epoch`.
        duration: Seconds from the start of `data` to the end of `fit`; of a training that was paused, since it last went on.
        message: The traceback or reason of a failure.
        attempt: How many times it failed before and was tried again.
        lost: How many times the process that trained it was lost.
    """

    status: str = TrialStatus.RUNNING
    history: dict[int, dict[str, float]] = dataclasses.field(default_factory=dict)
    best_epoch: int | None = None
    score: float | None = None
    duration: float | None = None
    message: str | None = None
    attempt: int = 0
    lost: int = 0

    def observe(self, epoch: int, metrics: dict[str, float], objective: Objective) -> None:
        """Takes in the metrics of an epoch; the score is the best so far.

        An epoch that was seen before is trained again, after a kill or from an earlier checkpoint: what came after it is void.
        """
        if epoch in self.history:
            before = {number: seen for number, seen in self.history.items() if number < epoch}
            self.history, self.best_epoch, self.score = {}, None, None
            for number, seen in before.items():
                self.observe(number, seen, objective)
        self.history[epoch] = metrics
        if objective.has_value(metrics) and objective.better_than(objective.get_value(metrics), self.score):
            self.best_epoch, self.score = epoch, objective.get_value(metrics)


@dataclasses.dataclass
class Trial:
    """One configuration of a search.

    Attributes:
        trial_id: The index of the trial in the project with leading zeros, such as `"0007"`.
        suggested: The values that the oracle chose, by full name.
        values: The same until the trial says better: exactly the values that its own `data`, `build` and `fit` asked for.
        executions: By number, counted from 0.
        message: The traceback or reason of a failure.
    """

    trial_id: str
    suggested: dict[str, Any]
    sampling_key: tuple[int, ...] = ()
    values: dict[str, Any] = dataclasses.field(default_factory=dict)
    status: str = TrialStatus.RUNNING
    executions: dict[int, Execution] = dataclasses.field(default_factory=dict)
    message: str | None = None

    def __post_init__(self) -> None:
        self.values = self.values or dict(self.suggested)

    @property
    def score(self) -> float | None:
        """Mean of the executions' scores; `None` until every execution that was started has one."""
        scores = [execution.score for execution in self.executions.values()]
        if not scores or any(score is None or math.isnan(score) for score in scores):
            return None
        return statistics.fmean(score for score in scores if score is not None)

    def fold_scores(self, cv_folds: int) -> dict[int, float]:
        """The score of each fold, as the mean over its executions, without the folds that have none."""
        scores: dict[int, list[float]] = {}
        for number, execution in sorted(self.executions.items()):
            if execution.score is not None:
                scores.setdefault(number % cv_folds, []).append(execution.score)
        return {fold: statistics.fmean(found) for fold, found in sorted(scores.items())}

    @property
    def is_scored(self) -> bool:
        """Whether the trial ended with a score; a failed one has none, whatever its epochs were."""
        return self.score is not None and self.status in (TrialStatus.COMPLETED, TrialStatus.STOPPED)

    @property
    def duration(self) -> float | None:
        """Seconds of training, summed over executions."""
        durations = [e.duration for e in self.executions.values() if e.duration is not None]
        return sum(durations) if durations else None

    def objective_values(self, objective: Objective) -> tuple[float, ...] | None:
        """The value of each part of the objective at the epoch of the score, as the mean over executions."""
        best = [execution.history.get(execution.best_epoch or 0) for execution in self.executions.values()]
        logs = [metrics for metrics in best if metrics is not None and objective.has_value(metrics)]
        if not logs or len(logs) < len(best):
            return None
        return tuple(statistics.fmean(part.get_value(metrics) for metrics in logs) for part in objective.parts)

    def best_execution(self, objective: Objective) -> int | None:
        """The number of the execution with the best score, or `None` without any score."""
        return next(iter(self.best_executions(objective, 1)), None)

    def best_executions(self, objective: Objective, cv_folds: int) -> list[int]:
        """The number of the execution with the best score in each fold, without the folds that have no score."""
        best: dict[int, int] = {}
        for number, execution in sorted(self.executions.items()):
            fold, score = number % cv_folds, execution.score
            if score is not None and (fold not in best or objective.better_than(score, self.executions[best[fold]].score)):
                best[fold] = number
        return [best[fold] for fold in sorted(best)]


def fold_of(execution: int, cv_folds: int | None) -> int | None:
    """Which fold the execution of this number is validated on; `None` without cross validation."""
    return None if cv_folds is None else execution % cv_folds


def execution_directory(project: pathlib.Path, trial_id: str, execution: int) -> pathlib.Path:
    """The folder of an execution's checkpoint: the trial's own for the first, a folder inside it for the others."""
    trial = project / f"trial_{trial_id}"
    return trial if execution == 0 else trial / f"execution_{execution}"


def state_directory(directory: str | pathlib.Path) -> pathlib.Path:
    """Where in an execution's folder the states are from which its training can be continued."""
    return pathlib.Path(directory) / "latest"


def ranked(trials: list[Trial], objective: Objective) -> list[Trial]:
    """Trials from best to worst: completed ones by score, then stopped ones by score, then those without a score."""

    def key(trial: Trial) -> tuple[bool, bool, float, int]:
        return not trial.is_scored, trial.status == TrialStatus.STOPPED, objective.sort_key(trial.score), int(trial.trial_id)

    return sorted(trials, key=key)


def pareto_front(trials: list[Trial], objective: Objective) -> list[Trial]:
    """The trials that no other beats in one part of the objective without being worse in another, best in the first first."""
    costs: dict[str, tuple[float, ...]] = {}
    for trial in trials:
        values = trial.objective_values(objective)
        if trial.is_scored and values is not None:
            costs[trial.trial_id] = tuple(part.sort_key(value) for part, value in zip(objective.parts, values, strict=True))

    def is_beaten(mine: tuple[float, ...]) -> bool:
        return any(
            other != mine and all(theirs <= ours for theirs, ours in zip(other, mine, strict=True)) for other in costs.values()
        )

    front = [trial for trial in trials if trial.trial_id in costs and not is_beaten(costs[trial.trial_id])]
    return sorted(front, key=lambda trial: costs[trial.trial_id])
