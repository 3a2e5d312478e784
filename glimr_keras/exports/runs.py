"""A project as trackers have it: one run for each training, with parameters, metrics by epoch and
times. Runs anywhere; needs neither Ray nor a model.
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
        time: When it ended, in seconds since 1970, UTC; 0 where that is not known.
        metrics: By name.
    """

    epoch: int
    time: float
    metrics: dict[str, float]


@dataclasses.dataclass(frozen=True)
class Run:
    """A training of a trial.

    Args:
        content: What is exported.
        trial: Whose training it is.
        number: Of the training, counted from 0.
        execution: What is known of it.
    """

    content: Content
    trial: Trial
    number: int
    execution: Execution

    @property
    def key(self) -> str:
        """What it is called where only letters, digits and a few others may be: `trial_0042` or
        `trial_0042_1`. No other run of the project has it.
        """
        trial_id = re.sub(r"[^\w-]", "_", self.trial.trial_id)
        return f"trial_{trial_id}" + ("" if self.is_alone else f"_{self.number}")

    @property
    def name(self) -> str:
        """What people read: `trial 0042, fold 1`."""
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
        """Whether its trial has no other."""
        return set(self.trial.executions) <= {0} and self.content.per_trial == 1

    @property
    def fold(self) -> int | None:
        """Which fold it is validated on, counted from 0; `None` without cross validation."""
        return fold_of(self.number, self.content.project.cv_folds)

    @property
    def unique_id(self) -> str:
        """Sixteen letters and digits that no run of another project has either."""
        return hashlib.sha256(f"{self.content.owner}/{self.key}".encode()).hexdigest()[:16]

    @property
    def status(self) -> str:
        """One of `TrialStatus`; where its trial ended without its end being known, the trial's."""
        return self.trial.status_of(self.execution)

    @property
    def started(self) -> float:
        """Seconds since 1970, UTC; 0 where that is not known."""
        created = self.content.project.created
        return self.execution.started or self.trial.started or created or 0.0

    @property
    def ended(self) -> float | None:
        """Likewise; `None` of a run that goes on."""
        if self.status == TrialStatus.RUNNING:
            return None
        known = self.execution
        took = self.started + (known.duration or 0.0)
        return known.ended or max(known.last_seen or 0.0, took)

    @property
    def parameters(self) -> dict[str, Any]:
        """The configuration, by full name, as its user declared it."""
        return {n: value for n, value in self.trial.values.items() if n not in Stage.NAMES}

    @property
    def steps(self) -> list[Step]:
        """The epochs; none where nothing was reported."""
        times = self.execution.epoch_times
        return [
            Step(epoch, times.get(epoch, self.started), metrics)
            for epoch, metrics in sorted(self.execution.history.items())
        ]

    @property
    def score(self) -> dict[str, float]:
        """The score and its epoch, by name, and what the user's code returned that no epoch was
        reported with; nothing without a score.
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
        """What else is known, by name."""
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
    """Yield the runs of a trial: one at least, also where nothing was trained."""
    executions = trial.executions or {0: Execution(trial.status, message=trial.message)}
    for number, execution in sorted(executions.items()):
        yield Run(content, trial, number, execution)


def all_runs(content: Content) -> Iterator[Run]:
    """Yield the runs of all trials, in the order in which these were created."""
    for trial in content.project.trials.values():
        yield from runs_of(content, trial)


def digest(steps: list[Step]) -> str:
    """Return a short text that other epochs do not have."""
    said = [(step.epoch, sorted(step.metrics.items())) for step in steps]
    return hashlib.sha256(repr(said).encode()).hexdigest()[:16]
