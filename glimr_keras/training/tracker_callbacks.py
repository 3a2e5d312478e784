"""Trackers' own Keras callbacks, such as `mlflow.keras.MlflowCallback` and
`wandb.integration.keras.WandbMetricsLogger`: each execution logs to a run of its own. Runs in
driver and worker.

The driver notes where the script logs to. In the worker, a run begins with the training, when the
hyperparameters are known, and ends with the execution. Where the user's own code has begun one by
then, it is used, and left to that code.
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
    """A tracker's run of one execution."""

    def log(self, values: Mapping[str, Any]) -> None:
        """Log hyperparameters, of which some may have been logged before."""

    def end(self, status: str) -> None:
        """End the run.

        Args:
            status: A `TrialStatus`; `"RUNNING"` where the training was interrupted.
        """


class Tracker(Protocol):
    """Where a script logs to, and its trials with it."""

    def is_taken(self) -> bool:
        """Return whether another run than the script's is active in this process."""

    def begin(self, spec: ExecutionSpec, callbacks: Sequence[Any]) -> TrackedRun:
        """Begin the run of an execution, or go on with the one that it has.

        Args:
            spec: The execution.
            callbacks: The tracker's own that log to the run; they are made ready for it.
        """


_TRACKERS: dict[str, Callable[[str], Tracker]] = {
    "mlflow": mlflow_runs.MLflow.of_script,
    "wandb": wandb_runs.Wandb.of_script,
}


def package_of(callback: Any) -> str | None:
    """Return which tracker's a callback is; `None` if it is none's. No tracker is imported."""
    packages = (kind.__module__.partition(".")[0] for kind in type(callback).__mro__)
    return next((package for package in packages if package in _TRACKERS), None)


def trackers_of(callbacks: Any, project: str) -> dict[str, Tracker]:
    """Return where the script logs to now, by package, for each tracker that has a callback.

    Args:
        callbacks: What the script gives to `fit`.
        project: The project's name.
    """
    given = callbacks if isinstance(callbacks, (list, tuple)) else ()
    packages = dict.fromkeys(map(package_of, given))
    return {name: make(project) for name, make in _TRACKERS.items() if name in packages}


class ExecutionRuns:
    """The runs of one execution, one for each tracker.

    Args:
        trackers: By package.
        spec: The execution.
        config: Its hyperparameters, which may still be asked for.
    """

    def __init__(
        self, trackers: Mapping[str, Tracker], spec: ExecutionSpec, config: HyperParameters
    ) -> None:
        self._trackers, self._spec, self._config = trackers, spec, config
        self._runs: dict[str, TrackedRun | None] = {}  # `None`: it is the user's own code's
        self._logged: dict[str, dict[str, Any]] = {}
        self._begun: set[str] = set()  # or where beginning one has failed

    def placed(
        self, callbacks: Sequence[keras.callbacks.Callback]
    ) -> list[keras.callbacks.Callback]:
        """Return the callbacks with one before those of each tracker, which begins the run."""
        found = list(callbacks)
        has_one = {each.package for each in found if isinstance(each, _RunBeginner)}
        for package in self._trackers.keys() - has_one:
            own = [each for each in found if package_of(each) == package]
            if own:
                found.insert(found.index(own[0]), _RunBeginner(self, package, own))
        return found

    def begin(self, package: str, callbacks: Sequence[Any] = ()) -> None:
        """Begin the run of a tracker, if there is none, and log what hyperparameters are new."""
        if package not in self._runs:
            self._begun.add(package)
            tracker = self._trackers[package]
            own = None if tracker.is_taken() else tracker.begin(self._spec, callbacks)
            self._runs[package] = own
        self._log(package)

    def end(self, status: str) -> None:
        """End the runs as the execution has ended. What failed before its training has a run too.

        Args:
            status: A `TrialStatus`; `"RUNNING"` where the training was interrupted.
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
        """Do what must not take the result of a training with it.

        Args:
            what: What could not be done to the run, if it fails.
            task: What is done.
            *arguments: Of the task.
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
    """Begins the run that a tracker's callbacks after it log to, at the latest where a loop of the
    user's own calls it first. Its copies are of the same execution.
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
