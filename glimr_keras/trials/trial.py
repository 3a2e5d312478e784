"""A trial: its configuration, its executions with their histories, its status and score. Runs
anywhere.

A *trial* is one configuration. It is trained `executions_per_trial` times, and with cross
validation that many times for each fold. Each training is an *execution*. The executions of the
first round come first, one for each fold, then the next round.

The score of an execution is the objective at its best epoch, or at the epoch that `score_epochs`
chooses when the trial ends. The score of a trial is the mean over its executions.
"""

from __future__ import annotations

import json
import math
import os
import pathlib
import statistics
import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

from glimr_keras._utils import html
from glimr_keras._utils.text import MISSING, Column, four_digits, plain, short
from glimr_keras.errors import reason_of
from glimr_keras.space.hp_types import HyperParameter
from glimr_keras.space.hyperparameters import HyperParameters
from glimr_keras.space.reserved_names import Stage
from glimr_keras.trials.execution import Execution, TrialStatus
from glimr_keras.trials.metrics_tracking import MetricsTracker
from glimr_keras.trials.objective import Objective
from glimr_keras.trials.packable import Packable, PackedParts

_WIDEST = 80  # of a value in a notebook


class Trial(Packable):
    """One configuration of a search and its results.

    Args:
        hyperparameters: The values, and the definitions known so far. Defaults to `None`, which
            means none.
        trial_id: The id. Defaults to `None`, which means a random one.
        status: One of `TrialStatus`. Defaults to `TrialStatus.RUNNING`.
        message: The traceback or reason of a failure. Defaults to `None`.

    Attributes:
        trial_id: In a search, the index of the trial in the project, with leading zeros: `"07"` of
            up to 99 trials, `"0007"` without a limit.
        suggested: The values that the oracle chose, by full name.
        sampling_key: The seed for hyperparameters that the oracle did not know.
        num_ended: The number of trials of the search that had ended when this one started; `None`
            if unknown.
        executions: The trainings by number, counted from 0.
        directions: The known directions of the measured metrics, by name.
    """

    _score: float | None = None  # rarely set
    _best_step: int | None = None
    _packed_parts: ClassVar[tuple[str, ...]] = (
        *("hyperparameters", "suggested", "sampling_key", "executions", "_tracker"),
    )

    def __init__(
        self,
        hyperparameters: HyperParameters | None = None,
        trial_id: str | None = None,
        status: str = TrialStatus.RUNNING,
        message: str | None = None,
    ) -> None:
        self.hyperparameters = HyperParameters() if hyperparameters is None else hyperparameters
        self.trial_id = uuid.uuid4().hex if trial_id is None else trial_id
        self.status, self.message = status, message
        self.suggested = dict(self.hyperparameters.values)
        self.sampling_key: tuple[int, ...] = ()
        self.num_ended: int | None = None
        self.executions: dict[int, Execution] = {}
        self.directions: Mapping[str, str | None] = {}
        self._tracker = MetricsTracker()

    @classmethod
    def of(
        cls,
        trial_id: str,
        suggested: Mapping[str, Any],
        sampling_key: tuple[int, ...] = (),
        space: Iterable[HyperParameter] = (),
        executions: Mapping[int, Execution] | None = None,
        directions: Mapping[str, str | None] | None = None,
        status: str = TrialStatus.RUNNING,
        message: str | None = None,
    ) -> Trial:
        """Return a trial of a search."""
        trial = cls(HyperParameters(suggested, space=space), trial_id, status, message)
        trial.sampling_key = sampling_key
        trial.executions = dict(executions or {})
        trial.directions = {} if directions is None else directions
        return trial

    @classmethod
    def of_packed(
        cls,
        trial_id: str,
        packed: PackedParts,
        num_ended: int | None,
        directions: Mapping[str, str | None],
        status: str,
        message: str | None,
        given_score: float | None,
        best_step: int | None,
    ) -> Trial:
        """Return an ended trial of a search from its packed parts."""
        trial = cls.__new__(cls)
        trial.trial_id, trial.status, trial.message = trial_id, status, message
        trial.num_ended, trial.directions = num_ended, directions
        trial._packed = packed
        if (given_score, best_step) != (None, None):
            trial._score, trial._best_step = given_score, best_step
        return trial

    def begin_again(self) -> None:
        """Discard all results, but keep the values that the oracle chose."""
        self.status, self.message, self.executions = TrialStatus.RUNNING, None, {}
        self.values, self.metrics = dict(self.suggested), MetricsTracker()
        self.score, self.best_step = None, None

    def values_to_read(self) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
        """Return the oracle's values and `values`, read-only; the trial stays packed."""
        packed = self._packed
        return (self.suggested, self.values) if packed is None else packed.values()

    @property
    def values(self) -> dict[str, Any]:
        """Return the values by full name.

        They are the oracle's until the trial reports the values that its own `data`, `build` and
        `fit` requested.
        """
        return self.hyperparameters.values

    @values.setter
    def values(self, values: dict[str, Any]) -> None:
        if not values.keys().isdisjoint(Stage.NAMES):  # stage names come last
            order = {name: place + 1 for place, name in enumerate(Stage.NAMES)}
            names = sorted(values, key=lambda name: order.get(name, 0))
            values = {name: values[name] for name in names}
        new, kept = dict(values), self.hyperparameters.values
        kept.clear()  # keep the dict, to which a user's hook may hold a reference
        kept.update(new)

    @property
    def score(self) -> float | None:
        """Return the mean of the executions' scores; `None` until every started one has a score.

        A score that was set takes precedence.
        """
        if self._score is not None:
            return self._score
        packed = self._packed
        return self.mean_score if packed is None else packed.score

    @score.setter
    def score(self, score: float | None) -> None:
        self._score = score

    @property
    def mean_score(self) -> float | None:
        """Return the score computed from its executions."""
        return mean_of_scores([execution.score for execution in self.executions.values()])

    @property
    def given_score(self) -> float | None:
        """Return the score set by an oracle with its own scoring; otherwise `None`."""
        return self._score

    @property
    def best_step(self) -> int:
        """Return the epoch of the score, counted from 0.

        `best_step + 1` is the number of epochs for a final training. If the executions are scored
        at different epochs, it is their mean, rounded down.
        """
        if self._best_step is not None:
            return self._best_step
        epochs = [
            execution.best_epoch
            for execution in self.executions.values()
            if execution.best_epoch is not None
        ]
        return int(statistics.fmean(epochs)) - 1 if epochs else 0

    @best_step.setter
    def best_step(self, step: int | None) -> None:
        self._best_step = step

    @property
    def metrics(self) -> MetricsTracker:
        """Return the metrics at the epoch of the score.

        Each metric has one observation, with a value for each execution. If a user-defined loop
        reported several steps to the oracle, there is one observation for each step. The metrics of
        every epoch are in `executions`.
        """
        if not any(execution.history for execution in self.executions.values()):
            return self._tracker
        tracker = MetricsTracker()
        for _, execution in sorted(self.executions.items()):
            told = (
                execution.history
                if execution.is_told
                else {execution.best_epoch or 0: execution.at_best}
            )
            for epoch, metrics in sorted(told.items()):
                for name, value in metrics.items():
                    if not tracker.exists(name):
                        tracker.register(name, self.directions.get(name) or "min")
                    tracker.update(name, value, epoch - 1 if execution.is_told else self.best_step)
        return tracker

    @metrics.setter
    def metrics(self, tracker: MetricsTracker) -> None:
        self._tracker = tracker

    @property
    def told(self) -> dict[int, dict[str, float]]:
        """Return the metrics that a user-defined loop reported.

        They are means over executions, by step, counted from 0.
        """
        logs: dict[int, dict[str, float]] = {}
        for name, history in self._tracker.metrics.items():
            for observation in history.get_history():
                logs.setdefault(observation.step, {})[name] = observation.mean()
        return dict(sorted(logs.items()))

    # KerasTuner's interface

    def summary(self) -> None:
        """Print the trial."""
        print(self.described())

    def display_hyperparameters(self) -> None:
        """Print the values."""
        print("\n".join(self._described_values()))

    def described(self) -> str:
        """Return the trial as text."""
        lines = [f"Trial {self.trial_id} summary", "Hyperparameters:", *self._described_values()]
        lines += [] if self.score is None else [f"Score: {self.score}"]
        lines += [] if self.message is None else [plain(self.message).rstrip()]
        return "\n".join(lines)

    def _described_values(self) -> list[str]:
        return [plain(f"{name}: {value}") for name, value in self.values.items()] or [
            "default configuration"
        ]

    def get_state(self) -> dict[str, Any]:
        """Return the trial as JSON types, in the format of KerasTuner's `trial.json`."""
        return {
            "trial_id": self.trial_id,
            "hyperparameters": self.hyperparameters.get_config(),
            "metrics": self.metrics.get_config(),
            "score": self.score,
            "best_step": self.best_step,
            "status": self.status,
            "message": self.message,
        }

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Load what `get_state` returned."""
        self.trial_id, self.status, self.message = (
            state["trial_id"],
            state["status"],
            state["message"],
        )
        self.hyperparameters = HyperParameters.from_config(state["hyperparameters"])
        self.suggested = dict(self.values)
        self.executions = {}
        self.metrics = MetricsTracker.from_config(state["metrics"])
        self.score, self.best_step = state["score"], state["best_step"]

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Trial:
        """Return the trial that `get_state` describes."""
        trial = cls()
        trial.set_state(state)
        return trial

    def save(self, fname: str | os.PathLike[str]) -> None:
        """Write the trial to a JSON file."""
        pathlib.Path(fname).write_text(json.dumps(self.get_state()), "utf-8")

    def reload(self, fname: str | os.PathLike[str]) -> None:
        """Load what `save` wrote."""
        self.set_state(json.loads(pathlib.Path(fname).read_text("utf-8")))

    @classmethod
    def load(cls, fname: str | os.PathLike[str]) -> Trial:
        """Return the trial in a JSON file."""
        trial = cls()
        trial.reload(fname)
        return trial

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Trial) and self._compared() == other._compared()

    def __hash__(self) -> int:
        return hash(self.trial_id)

    def _compared(self) -> tuple[Any, ...]:
        described = (self.trial_id, self.status, self.message, self.given_score)
        return (*described, self.suggested, self.values, self.sampling_key, self.executions)

    def __repr__(self) -> str:
        names = (
            "trial_id",
            "status",
            "suggested",
            "values",
            "sampling_key",
            "executions",
            "given_score",
            "message",
        )
        return f"Trial({', '.join(f'{name}={getattr(self, name)!r}' for name in names)})"

    def _repr_html_(self) -> str:
        """Return the trial as HTML for notebooks: its score, configuration and executions."""
        scored = "" if self.score is None else f"score {four_digits(self.score)}"
        took = "" if self.duration is None else f"{self.duration:.1f} s"
        values = Column.of("value", map(short, self.values.values()), _WIDEST)
        names = Column.of("hyperparameter", self.values, None)
        reason = reason_of(self.message or "")
        return html.block(
            html.title(f"Trial {self.trial_id}", self.status, scored, took),
            html.table([names, values]) if self.values else "",
            html.table(self._execution_columns()) if len(self.executions) > 1 else "",
            html.listed([reason]) if reason else "",
        )

    def _execution_columns(self) -> list[Column]:
        executions = [execution for _, execution in sorted(self.executions.items())]
        columns = [Column.of("execution", sorted(self.executions))]
        differs = any(execution.weights_epoch is not None for execution in executions)
        for name in ("status", "score", "best_epoch", *(["weights_epoch"] if differs else [])):
            of = "saved_epoch" if name == "weights_epoch" else name
            found = [getattr(execution, of) for execution in executions]
            cells = [MISSING if value is None else value for value in found]
            columns.append(Column.of(name, cells))
        seconds = [MISSING if e.duration is None else round(e.duration, 1) for e in executions]
        columns.append(Column.of("seconds", seconds))
        return columns

    def fold_scores(self, cv_folds: int) -> dict[int, float]:
        """Return the mean score over the executions of each fold, without unscored folds."""
        scores: dict[int, list[float]] = {}
        for number, execution in sorted(self.executions.items()):
            if execution.score is not None:
                scores.setdefault(number % cv_folds, []).append(execution.score)
        return {fold: statistics.fmean(found) for fold, found in sorted(scores.items())}

    @property
    def is_scored(self) -> bool:
        """Return whether the trial ended with a score; a failed trial never has one."""
        return self.score is not None and self.status in (
            TrialStatus.COMPLETED,
            TrialStatus.STOPPED,
        )

    @property
    def duration(self) -> float | None:
        """Return the seconds of training, summed over executions."""
        durations = [e.duration for e in self.executions.values() if e.duration is not None]
        return sum(durations) if durations else None

    @property
    def gpu_memory(self) -> int | None:
        """Return the peak memory of an execution on one GPU, in bytes; `None` if not measured."""
        return max(
            (e.gpu_memory for e in self.executions.values() if e.gpu_memory is not None),
            default=None,
        )

    @property
    def started(self) -> float | None:
        """Return the start of its first execution, in seconds since 1970, UTC, or `None`."""
        return min((e.started for e in self.executions.values() if e.started), default=None)

    @property
    def ended(self) -> float | None:
        """Return the end of its last execution, in seconds since 1970, UTC.

        It is `None` for a running trial. For an execution without a recorded end, its last known
        time counts.
        """
        if self.status == TrialStatus.RUNNING:
            return None
        times = (e.ended or e.last_seen for e in self.executions.values())
        return max((time for time in times if time is not None), default=None)

    def status_of(self, execution: Execution) -> str:
        """Return the status of one of its executions.

        If the end of the execution is unknown, for example after a kill, it is the trial's status.
        """
        is_left = execution.status == TrialStatus.RUNNING
        return self.status if is_left else execution.status

    @property
    def worker(self) -> str | None:
        """Return the processes that trained it, as `"host:pid"`, joined by commas."""
        known = [e.worker for _, e in sorted(self.executions.items()) if e.worker is not None]
        return ", ".join(dict.fromkeys(known)) or None

    def objective_values(self, objective: Objective) -> tuple[float, ...] | None:
        """Return the value of each part of the objective at the epoch of the score.

        The values are means over executions.
        """
        logs = [
            execution.at_best
            for execution in self.executions.values()
            if objective.has_value(execution.at_best)
        ]
        if not logs or len(logs) < len(self.executions):
            return None
        return tuple(
            statistics.fmean(part.get_value(metrics) for metrics in logs)
            for part in objective.parts
        )

    def best_execution(self, objective: Objective) -> int | None:
        """Return the number of the execution with the best score, or `None` without any score."""
        return next(iter(self.best_executions(objective, 1)), None)

    def best_executions(self, objective: Objective, cv_folds: int) -> list[int]:
        """Return the number of the best execution in each fold, without unscored folds."""
        best: dict[int, int] = {}
        for number, execution in sorted(self.executions.items()):
            fold, score = number % cv_folds, execution.score
            if score is not None and (
                fold not in best or objective.better_than(score, self.executions[best[fold]].score)
            ):
                best[fold] = number
        return [best[fold] for fold in sorted(best)]


def mean_of_scores(scores: Sequence[float | None]) -> float | None:
    """Return the score of a trial, given the scores of its executions."""
    if not scores or any(score is None or math.isnan(score) for score in scores):
        return None
    if len(scores) == 1:
        return float(scores[0])  # type: ignore[arg-type]  # it is not None
    return statistics.fmean(score for score in scores if score is not None)


def fold_of(execution: int, cv_folds: int | None) -> int | None:
    """Return the validation fold of an execution; `None` without cross validation."""
    return None if cv_folds is None else execution % cv_folds
