"""The trial loop of a user-defined tuner, and its hooks. Runs in the worker."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import keras

from glimr_keras.models.data import FitArguments
from glimr_keras.models.hypermodel import HyperModel
from glimr_keras.training.trial_loop import ExecutionResult, LoopRunner, TrialLoop
from glimr_keras.trials.metrics_tracking import MetricsTracker
from glimr_keras.trials.trial import Trial


class TunerLoop(TrialLoop):
    """Train with a user-defined tuner: its `run_trial`, or the inner loop with the tuner's hooks.

    Args:
        tuner: The tuner; in a worker, its copy.
        below: The inner loop, which would train the hypermodel without the tuner.
        is_own: Whether the tuner runs trials in its own way.
        is_told_of_batches: Whether the tuner has hooks for batches, not for epochs only.
    """

    def __init__(
        self, tuner: Any, below: TrialLoop, is_own: bool, is_told_of_batches: bool
    ) -> None:
        self.tuner = tuner
        self.builds_only = is_own
        self.is_keras_fit, self.has_model = below.is_keras_fit, below.has_model
        self._below, self._is_told_of_batches = below, is_told_of_batches

    def train(self, runner: LoopRunner) -> ExecutionResult:
        """Call the tuner's `run_trial`, or `HyperModel.run`, which takes precedence."""
        if not self.has_model:
            return self._below.train(runner)
        tuner, trial = self.tuner, runner.trial
        given = self._placed(runner, runner.data())
        with tuner._glimr.during(runner, tuner.oracle):
            own = tuner.oracle.trials.setdefault(trial.trial_id, trial)
            own.metrics = MetricsTracker()
            tuner.oracle.objective = runner.objective
            returned = tuner.run_trial(trial, *given.args, **given.kwargs)
        steps = own.told
        if returned is None and steps:
            warnings.warn(
                f"`{type(tuner).__name__}.run_trial` tells the oracle itself, by `update_trial`, "
                "which is deprecated, as in KerasTuner. Please remove the call, and return the "
                "metrics.",
                DeprecationWarning,
                stacklevel=2,
            )
            return dataclasses.replace(runner.scored_steps(steps), is_told=True)
        return runner.scored(returned, f"`{type(tuner).__name__}.run_trial`")

    def can_go_on(self, hypermodel: HyperModel) -> bool:
        """Return the answer of the inner loop."""
        return self._below.can_go_on(hypermodel)

    def place_logs(self, runner: LoopRunner, callbacks: Sequence[Any]) -> None:
        """Let the tuner set the directory of each `TensorBoard`."""
        self.tuner._configure_tensorboard_dir(callbacks, runner.trial, runner.spec.execution)

    def hooks(self, runner: LoopRunner) -> list[keras.callbacks.Callback]:
        """Return the callback that calls the tuner's hooks. Keras waits for each batch hook."""
        kind = TunerCallback if self._is_told_of_batches else HookCallback
        return [kind(self.tuner, runner.trial)]

    def _placed(self, runner: LoopRunner, given: FitArguments) -> FitArguments:
        """Return the arguments with callbacks that write to this trial's places.

        This is for a user-defined `run_trial`, which passes them on. Any other value of
        `callbacks` is left unchanged.
        """
        callbacks = given.kwargs.get("callbacks")
        if not self.builds_only or not isinstance(callbacks, (list, tuple)):
            return given
        if not all(isinstance(each, keras.callbacks.Callback) for each in callbacks):
            return given
        super().place_logs(runner, callbacks)
        return FitArguments(given.args, {**given.kwargs, "callbacks": runner.placed(callbacks)})


class HookCallback(keras.callbacks.Callback):
    """Call the epoch hooks of a user-defined tuner.

    Args:
        tuner: A tuner with `on_epoch_begin` and `on_epoch_end`.
        trial: The trial that is passed to the hooks.
    """

    def __init__(self, tuner: Any, trial: Trial) -> None:
        super().__init__()
        self.tuner, self.trial = tuner, trial

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        self.tuner.on_epoch_begin(self.trial, self.model, epoch, logs=logs)

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        self.tuner.on_epoch_end(self.trial, self.model, epoch, logs=logs)


class TunerCallback(HookCallback):
    """Also call `on_batch_begin` and `on_batch_end`, as in KerasTuner."""

    def on_batch_begin(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        self.tuner.on_batch_begin(self.trial, self.model, batch, logs)

    def on_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        self.tuner.on_batch_end(self.trial, self.model, batch, logs)
