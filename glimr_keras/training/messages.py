"""The messages about one execution between driver and worker. Runs in driver and worker."""

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
    """An attribute or global of the script that a trial left changed in its worker, where nobody
    else sees it.

    Attributes:
        owner: The class of the object that has the attribute; empty for a global.
        name: The name of the attribute or global.
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
    """A message from a worker to the driver: after an epoch, and at the end.

    Attributes:
        epoch: The epoch that `metrics` belong to, counted from 1; `None` at the end of a trial that
            has already reported all epochs.
        metrics: The metrics of the epoch, by name.
        values: The values that the trial's code has asked for so far, by full name.
        parameters: Definitions that are not in the declared space and were not sent before.
        outcome: Given with the last report.
        state: Directory of a checkpoint from which the training can resume after this epoch. The
            receiver of the report removes it.
        files: Packed files for the driver to write: the `"best"` checkpoint, the `"latest"` state,
            and the `"predictions"` since the last report.
        changes: Given with the last report.
        worker: The process that sends the report.
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
    """The result of an execution.

    Attributes:
        status: A `TrialStatus`; `"RUNNING"` if the execution did not end but cannot continue now.
        duration: The duration of the execution, in seconds.
        score: The value of the objective; `None` if there is none.
        best_epoch: The epoch of the score, counted from 1; `None` if unknown.
        message: The traceback of an error, or a remark for the user.
        fatal: The error that stops the whole search: the user's own, or a failure to store
            anything.
        expected: Whether the failure is due to the configuration and not the code: the training
            diverged, or raised `FailedTrialError`.
        final: Whether a retry would fail again, as the user says with `FailedTrialError`.
        directions: Directions of metrics whose names were not known before, as far as Keras knows
            them.
        returned: The metrics of the score, if the user's code returned others than were reported
            with any epoch.
        is_told: Whether a user-defined loop reported its steps to the oracle.
        lacks_memory: Whether it failed because the model, or its computations, did not fit into
            memory.
        gpu_memory: The peak memory of the execution on one GPU, in bytes; `None` without a GPU, or
            if unknown.
        gpu_peak: The peak memory of its process, in bytes, which is at least as much.
        gpu_size: The memory of the GPU, in bytes; `None` if unknown.
        reused_graph: Whether it trained with graphs that an earlier training had traced.
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
        trial_id: The trial's id, such as `"0007"`.
        execution: The number of the execution, counted from 0.
        values: The configuration that the oracle chose, by full name.
        sampling_key: The seed for values of hyperparameters that the oracle did not know.
        directory: The directory of the execution's checkpoint.
        directions: Directions of the objective's parts, by name; `None` to use those
            that the user gave.
        epochs: The epoch up to which it trains; `None` leaves this to the user's arguments.
        initial_epoch: The number of epochs that were trained before.
        state: Directory of a checkpoint from which the training continues.
        keeps_state: Whether a later trial may continue from its end.
        reports_state: Whether it may be paused after any epoch, and resumed from there.
        resumes: Whether it was started before, and resumes from its newest state.
        last_epoch: The last epoch in the journal; `None` if unknown. A state that is more than one
            epoch ahead, as after a power cut, is not used: the epochs between would be missing.
        attempt: The number of failed attempts before.
        state_interval: The minimum time between two states that are kept in case of an
            interruption, in seconds; `None` to keep none.
        time_limit: The time limit, in seconds; `None` for no limit.
        project: The project's id, which tells a worker whether it sees the same `directory` as the
            driver.
        is_carried: Whether it does not, so that checkpoints and predictions are sent with the
            reports.
        fold: The part of the data for validation, counted from 0; `None` without cross validation.
        num_folds: The number of folds.
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
        """Return a readable name: the trial's id, and which of several executions it is. Examples
        are `"0007_fold_2"` and `"0007_execution_1"`.
        """
        repetition = self.execution // (self.num_folds or 1)
        fold = [] if self.fold is None else [f"fold_{self.fold}"]
        return "_".join(
            [self.trial_id, *fold, *([f"execution_{repetition}"] if repetition else [])]
        )

    @property
    def unique_name(self) -> str:
        """Return a name that is unique among all projects."""
        return self.name if self.project is None else f"{self.project[:8]}_{self.name}"
