"""A project as experiment trackers represent it: one run per training run, with parameters, metrics
by epoch and times. Runs anywhere, without Ray or a model.
"""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections.abc import Iterator
from typing import Any

from glimr_keras.errors import reason_of
from glimr_keras.exports.content import Content
from glimr_keras.space.reserved_names import Stage
from glimr_keras.trials.execution import Execution, TrialStatus
from glimr_keras.trials.trial import Trial, fold_of


@dataclasses.dataclass(frozen=True)
class Step:
    """An epoch of a run.

    Attributes:
        epoch: Counted from 1.
        time: The end of the epoch, in seconds since 1970 (UTC); 0 if unknown.
        metrics: The metrics by name.
    """

    epoch: int
    time: float
    metrics: dict[str, float]


@dataclasses.dataclass(frozen=True)
class Run:
    """A training run of a trial.

    Args:
        content: The exported content.
        trial: The trial.
        number: The number of the training run, counted from 0.
        execution: The recorded execution.
    """

    content: Content
    trial: Trial
    number: int
    execution: Execution

    @property
    def key(self) -> str:
        """Return a unique key within the project: `trial_0042` or `trial_0042_1`.

        It has only letters, digits, `_` and `-`.
        """
        trial_id = re.sub(r"[^\w-]", "_", self.trial.trial_id)
        return f"trial_{trial_id}" + ("" if self.is_alone else f"_{self.number}")

    @property
    def name(self) -> str:
        """Return a readable name: `trial 0042, fold 1`."""
        title = f"trial {self.trial.trial_id}"
        if self.is_alone:
            return title
        return f"{title}, {'execution' if self.fold is None else 'fold'} {self._place}"

    @property
    def _place(self) -> str:
        folds = self.content.project.cv_folds or 1
        if self.fold is None:
            return str(self.number)
        again = self.number // folds
        return f"{self.fold}, execution {again}" if again else str(self.fold)

    @property
    def is_alone(self) -> bool:
        """Return whether this is the trial's only run."""
        return set(self.trial.executions) <= {0} and self.content.per_trial == 1

    @property
    def fold(self) -> int | None:
        """Return the validation fold, counted from 0; `None` without cross validation."""
        return fold_of(self.number, self.content.project.cv_folds)

    @property
    def unique_id(self) -> str:
        """Return an identifier of 16 letters and digits that is unique across projects."""
        return hashlib.sha256(f"{self.content.owner}/{self.key}".encode()).hexdigest()[:16]

    @property
    def status(self) -> str:
        """Return the status, one of `TrialStatus`.

        If the trial has ended but the end of the run is unknown, it is the trial's status.
        """
        return self.trial.status_of(self.execution)

    @property
    def started(self) -> float:
        """Return the start time in seconds since 1970 (UTC); 0 if unknown."""
        created = self.content.project.created
        return self.execution.started or self.trial.started or created or 0.0

    @property
    def ended(self) -> float | None:
        """Return the end time in seconds since 1970 (UTC); `None` if the run has not ended."""
        if self.status == TrialStatus.RUNNING:
            return None
        known = self.execution
        took = self.started + (known.duration or 0.0)
        return known.ended or max(known.last_seen or 0.0, took)

    @property
    def parameters(self) -> dict[str, Any]:
        """Return the configuration by full name, as the user declared it."""
        return {n: value for n, value in self.trial.values.items() if n not in Stage.NAMES}

    @property
    def steps(self) -> list[Step]:
        """Return the epochs; empty if nothing was reported."""
        times = self.execution.epoch_times
        return [
            Step(epoch, times.get(epoch, self.started), metrics)
            for epoch, metrics in sorted(self.execution.history.items())
        ]

    @property
    def score(self) -> dict[str, float]:
        """Return the score and its epoch by name; empty without a score.

        Values that the user's code returned but did not report in any epoch are included.
        """
        known = self.execution
        if known.score is None or self.status == TrialStatus.FAILED:
            return {}
        reported = set().union(*known.history.values())
        found = {n: value for n, value in known.returned.items() if n not in reported}
        found["score"] = known.score
        return found if known.best_epoch is None else {**found, "best_epoch": known.best_epoch}

    @property
    def tags(self) -> dict[str, str]:
        """Return other known facts by name."""
        stage = {name: self.trial.values.get(name) for name in Stage.NAMES}
        message = self.execution.message or self.trial.message
        known = {
            "trial_id": self.trial.trial_id,
            "execution": None if self.is_alone else self.number,
            "fold": self.fold,
            "status": self.status,
            "worker": self.execution.worker,
            "attempt": self.execution.attempt or None,
            "failure": reason_of(message or "") if self.status == TrialStatus.FAILED else None,
            **stage,
        }
        return {name: str(value) for name, value in known.items() if value not in (None, "")}


def runs_of(content: Content, trial: Trial) -> Iterator[Run]:
    """Yield the runs of a trial: at least one, even if nothing was trained."""
    executions = trial.executions or {0: Execution(trial.status, message=trial.message)}
    for number, execution in sorted(executions.items()):
        yield Run(content, trial, number, execution)


def all_runs(content: Content) -> Iterator[Run]:
    """Yield the runs of all trials, in order of creation."""
    for trial in content.project.trials.values():
        yield from runs_of(content, trial)


def digest(steps: list[Step]) -> str:
    """Return a short hash of the epochs."""
    said = [(step.epoch, sorted(step.metrics.items())) for step in steps]
    return hashlib.sha256(repr(said).encode()).hexdigest()[:16]
