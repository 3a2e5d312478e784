"""Callbacks of experiment trackers, such as `mlflow.keras.MlflowCallback` and
`wandb.integration.keras.WandbMetricsLogger`: each execution logs to a separate run. Runs in driver
and worker.

The driver records where the script logs to. In the worker, a run begins with the training, when the
hyperparameters are known, and ends with the execution. If the user's code has already begun a run,
it is used, and ending it is left to that code.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import keras

from glimr_keras.space.hyperparameters import HyperParameters
from glimr_keras.training import mlflow_runs, wandb_runs
from glimr_keras.training.messages import ExecutionSpec
from glimr_keras.training.trial_callback import own_values
from glimr_keras.trials.execution import TrialStatus


class TrackedRun(Protocol):
    """A tracker's run for one execution."""

    def log(self, values: Mapping[str, Any]) -> None:
        """Log hyperparameters, some of which may have been logged before."""

    def end(self, status: str) -> None:
        """End the run.

        Args:
            status: A `TrialStatus`; `"RUNNING"` if the training was interrupted.
        """


class Tracker(Protocol):
    """Where a script logs to, and so do its trials."""

    def is_taken(self) -> bool:
        """Return whether a run other than the script's is active in this process."""

    def begin(self, spec: ExecutionSpec, callbacks: Sequence[Any]) -> TrackedRun:
        """Begin the run of an execution, or resume its existing one.

        Args:
            spec: The execution.
            callbacks: The tracker's callbacks that log to the run; they are prepared for it.
        """


_TRACKERS: dict[str, Callable[[str], Tracker]] = {
    "mlflow": mlflow_runs.MLflow.of_script,
    "wandb": wandb_runs.Wandb.of_script,
}


def package_of(callback: Any) -> str | None:
    """Return the tracker package that a callback belongs to, or `None`. No tracker is imported."""
    packages = (kind.__module__.partition(".")[0] for kind in type(callback).__mro__)
    return next((package for package in packages if package in _TRACKERS), None)


def trackers_of(callbacks: Any, project: str) -> dict[str, Tracker]:
    """Return where the script logs to now, by package, for each tracker that has a callback.

    Args:
        callbacks: The callbacks that the script passes to `fit`.
        project: The project's name.
    """
    given = callbacks if isinstance(callbacks, (list, tuple)) else ()
    packages = dict.fromkeys(map(package_of, given))
    return {name: make(project) for name, make in _TRACKERS.items() if name in packages}


class ExecutionRuns:
    """The runs of one execution, one for each tracker.

    Args:
        trackers: The trackers, by package.
        spec: The execution.
        config: Its hyperparameters; more may be asked for later.
    """

    def __init__(
        self, trackers: Mapping[str, Tracker], spec: ExecutionSpec, config: HyperParameters
    ) -> None:
        self._trackers, self._spec, self._config = trackers, spec, config
        self._runs: dict[str, TrackedRun | None] = {}  # `None`: a run of the user's code
        self._logged: dict[str, dict[str, Any]] = {}
        self._begun: set[str] = set()  # also if the attempt failed

    def placed(
        self, callbacks: Sequence[keras.callbacks.Callback]
    ) -> list[keras.callbacks.Callback]:
        """Return the callbacks, with one that begins the run before each tracker's first
        callback.
        """
        found = list(callbacks)
        has_one = {each.package for each in found if isinstance(each, _RunBeginner)}
        for package in self._trackers.keys() - has_one:
            own = [each for each in found if package_of(each) == package]
            if own:
                found.insert(found.index(own[0]), _RunBeginner(self, package, own))
        return found

    def begin(self, package: str, callbacks: Sequence[Any] = ()) -> None:
        """Begin a tracker's run if there is none, and log new hyperparameters."""
        if package not in self._runs:
            self._begun.add(package)
            tracker = self._trackers[package]
            own = None if tracker.is_taken() else tracker.begin(self._spec, callbacks)
            self._runs[package] = own
        self._log(package)

    def end(self, status: str) -> None:
        """End the runs with the execution's status. An execution that failed before its training
        gets a run too.

        Args:
            status: A `TrialStatus`; `"RUNNING"` if the training was interrupted.
        """
        if status == TrialStatus.FAILED:
            for package in self._trackers.keys() - self._begun:
                self._kept("begun", self.begin, package)
        for package, run in self._runs.items():
            if run is not None:
                self._kept("written", self._log, package)
                self._kept("ended", run.end, status)

    def _log(self, package: str) -> None:
        run, values = self._runs[package], own_values(self._config)
        if run is not None and self._logged.get(package) != values:
            self._logged[package] = values
            run.log(values)

    def _kept(self, what: str, task: Callable[..., None], *arguments: Any) -> None:
        """Run a task whose failure must not lose the result of a training.

        Args:
            what: The verb for the warning, such as `"ended"`.
            task: The task.
            *arguments: The task's arguments.
        """
        try:
            task(*arguments)
        except Exception as error:
            warnings.warn(
                f"The run of trial {self._spec.trial_id} could not be {what} where it is tracked. "
                f"Received: {type(error).__name__}: {error}",
                stacklevel=2,
            )


class _RunBeginner(keras.callbacks.Callback):
    """Begin the run for the tracker's callbacks after it, at the latest when a user-defined loop
    first calls it. Its copies belong to the same execution.
    """

    def __init__(self, runs: ExecutionRuns, package: str, callbacks: Sequence[Any]) -> None:
        super().__init__()
        self.package, self._runs, self._callbacks = package, runs, callbacks

    def __deepcopy__(self, memo: dict[int, Any]) -> _RunBeginner:
        return _RunBeginner(self._runs, self.package, copy.deepcopy(self._callbacks, memo))

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        self._runs.begin(self.package, self._callbacks)

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        self._runs.begin(self.package, self._callbacks)

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        self._runs.begin(self.package, self._callbacks)
