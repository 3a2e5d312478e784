"""What driver and worker say to each other about one execution. Runs in driver and worker."""

from __future__ import annotations

import dataclasses
import os
import platform
from collections.abc import Callable
from typing import Any

from glimr_keras.errors import FatalError, StorageError
from glimr_keras.space.hp_types import HyperParameter


@dataclasses.dataclass(frozen=True)
class Change:
    """Something of the script's that a trial in a worker left changed, which nobody else sees.

    Attributes:
        owner: The class of the object that has it; empty for a global.
        was_none: Whether it was `None` before.
    """

    owner: str
    name: str
    was_none: bool


def this_worker() -> str:
    """Return the name of this process, as `"host:pid"`."""
    return f"{platform.node()}:{os.getpid()}"


@dataclasses.dataclass(frozen=True)
class Report:
    """What a worker says to the driver: after an epoch, and at the end.

    Attributes:
        epoch: The epoch that `metrics` belong to, counted from 1; `None` at the end of a trial that
            reported all of them.
        values: What the trial's code asked for so far, by full name.
        parameters: Definitions that the declared space does not have and that were not sent before.
        outcome: Given with the last report.
        state: Directory of a checkpoint from which the training can be continued after this epoch.
            Who takes the report in removes it.
        files: What the driver is to write, as it is packed: the `"best"` checkpoint, the `"latest"`
            state, and `"predictions"` since the last report.
        changes: Given with the last report.
        worker: The process that says it.
    """

    epoch: int | None
    metrics: dict[str, float]
    values: dict[str, Any]
    parameters: list[HyperParameter]
    outcome: Outcome | None = None
    state: str | None = None
    files: dict[str, dict[str, bytes]] = dataclasses.field(default_factory=dict)
    changes: tuple[Change, ...] = ()
    worker: str = dataclasses.field(default_factory=this_worker)


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How an execution ended.

    Attributes:
        status: `"RUNNING"` if it did not, but cannot go on now.
        fatal: What is to stop the whole search: the user's own error, or that nothing can be
            stored.
        expected: Whether the failure says something of the configuration only, and nothing of the
            code: it diverged, or raised `FailedTrialError`.
        final: Whether it would only fail again, as the user says by `FailedTrialError`.
        directions: Of metrics whose names were not known before, as far as Keras knows them.
        returned: The metrics of the score, where the user's code returned others than any epoch was
            reported with.
        is_told: Whether a loop of the user's own told the oracle of its steps.
        lacks_memory: Whether it failed because the model, or what it computes, did not fit.
        gpu_memory: The most bytes that it took on one GPU; `None` without a GPU, or where that is
            not known.
        gpu_peak: The most that its process took, at least as much.
        gpu_size: The bytes of the GPU; `None` where that is not known.
        reused_graph: Whether it trained by graphs that an earlier training had traced.
    """

    status: str
    duration: float
    score: float | None = None
    best_epoch: int | None = None
    message: str | None = None
    fatal: FatalError | StorageError | None = None
    expected: bool = False
    final: bool = False
    directions: dict[str, str | None] = dataclasses.field(default_factory=dict)
    returned: dict[str, float] = dataclasses.field(default_factory=dict)
    is_told: bool = False
    lacks_memory: bool = False
    gpu_memory: int | None = None
    gpu_peak: int | None = None
    gpu_size: int | None = None
    reused_graph: bool = False


Reporter = Callable[[Report], None]


@dataclasses.dataclass(frozen=True)
class ExecutionSpec:
    """One execution of one trial, as it is sent to a worker.

    Attributes:
        trial_id: Such as `"0007"`.
        execution: Counted from 0.
        values: The configuration that the oracle chose, by full name.
        sampling_key: Seeds the values of hyperparameters that the oracle did not know.
        directory: Where the execution's checkpoint goes.
        directions: Of the objective's parts, by name; `None` for those that the user gave.
        epochs: Up to how many epochs it trains; `None` for what the user says.
        initial_epoch: How many of them were trained before.
        state: Directory of a checkpoint that the training continues from.
        keeps_state: Whether a later trial may continue from its end.
        reports_state: Whether it may be paused after any epoch, and continued from there.
        resumes: Whether it was begun before, and goes on from the newest state that it has.
        last_epoch: The last epoch that the journal has; `None` if that is not known. A state that
            is more than one epoch ahead of it, as after a power cut, is not gone on from: the
            epochs between would be missing.
        attempt: How many times it failed before.
        state_interval: So many seconds, at least, are between two states that are kept in case it
            is interrupted; `None` for none.
        time_limit: Seconds after which it is ended; `None` for no limit.
        project: The id of the project, by which a worker sees whether `directory` is there the same
            as in the driver.
        is_carried: Whether it is not, so that checkpoints and predictions are sent with the
            reports.
        fold: Which part of the data it is validated on, counted from 0; `None` without cross
            validation.
        num_folds: How many such parts there are.
    """

    trial_id: str
    execution: int
    values: dict[str, Any]
    sampling_key: tuple[int, ...]
    directory: str
    directions: dict[str, str | None] | None = None
    epochs: int | None = None
    initial_epoch: int = 0
    state: str | None = None
    keeps_state: bool = False
    reports_state: bool = False
    resumes: bool = False
    last_epoch: int | None = None
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

    @property
    def name(self) -> str:
        """For people: that of the trial, and of several executions which one it is, such as
        `"0007_fold_2"` or `"0007_execution_1"`.
        """
        repetition = self.execution // (self.num_folds or 1)
        fold = [] if self.fold is None else [f"fold_{self.fold}"]
        return "_".join(
            [self.trial_id, *fold, *([f"execution_{repetition}"] if repetition else [])]
        )

    @property
    def unique_name(self) -> str:
        """Its name among those of all projects."""
        return self.name if self.project is None else f"{self.project[:8]}_{self.name}"
