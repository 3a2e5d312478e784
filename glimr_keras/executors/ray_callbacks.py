"""The user's Ray Tune callbacks, such as loggers for MLflow, W&B, TensorBoard or CSV files. Runs in
the driver.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

from ray import tune
from ray.tune.callback import CallbackList

from glimr_keras.executors.logged_trial import LoggedTrial, known_values
from glimr_keras.executors.ray_bridge import Bridge
from glimr_keras.trials.execution import TrialStatus
from glimr_keras.trials.trial import Trial


class UserCallbacks(tune.Callback):
    """Call the user's callbacks for the search's own trials, each as a `LoggedTrial`.

    To callbacks, a search is one experiment, however many phases it has: they are set up once and
    ended once. An execution starts and ends once, even if a scheduler paused it or it was retried.
    If its hyperparameters are not all known in advance, it starts with its first epoch. An error in
    a callback ends the search.

    Ray's state of callbacks is not saved: a search that resumes in another session is a new
    experiment to them.

    Args:
        callbacks: The user's callbacks.
    """

    def __init__(self, callbacks: Sequence[tune.Callback]) -> None:
        self._callbacks = list(callbacks)
        self._bridge: Bridge | None = None
        self._is_set_up = False
        self._seen: dict[tuple[str, int], LoggedTrial] = {}
        self._running: dict[str, LoggedTrial] = {}  # by the Ray trial that runs it
        self._iteration = 0
        self._error: Exception | None = None
        for callback in self._callbacks:
            _go_on_with_runs(callback)

    @contextlib.contextmanager
    def experiment(self) -> Iterator[None]:
        """Run a whole search. Callbacks are notified that unfinished executions failed.

        Raises:
            Exception: Any exception that a callback raised, unless the search has its own error.
        """
        try:
            yield
        except BaseException:
            self._end()
            raise
        self._end()
        if self._error is not None:
            raise self._error

    def follow(self, bridge: Bridge) -> None:
        """Pass on the events of the phase that begins."""
        self._bridge = bridge

    def setup(self, *args: Any, **info: Any) -> None:
        if not self._is_set_up:
            self._is_set_up = True
            self._warn_of_checkpoints()
            CallbackList(self._callbacks).setup(**info)

    def on_step_begin(self, iteration: int, trials: list[Any], **info: Any) -> None:
        self._tell("on_step_begin", iteration=iteration, **info)

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        self._iteration = iteration
        self._tell("on_step_end", iteration=iteration, **info)

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        bridge = self._bridge
        if bridge is None or bridge.coordinator is None or trial.trial_id not in bridge.specs:
            return
        spec = bridge.specs[trial.trial_id]
        seen = self._seen.setdefault(spec.key, LoggedTrial(spec))
        seen.ray_trial, self._running[trial.trial_id] = trial, seen
        values = known_values(spec, bridge.coordinator.oracle.space)
        if values is not None:
            self._start(seen, values, iteration, **info)

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        seen, known = self._of(trial)
        if seen is None or known is None:
            return
        if result["training_iteration"] not in known.executions[seen.spec.execution].history:
            return  # it reports the end of the training, not an epoch
        self._start(seen, known.values, iteration, **info)
        seen.take_in(result)
        self._tell("on_trial_result", iteration=iteration, trial=seen, result=result, **info)

    def on_trial_save(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._pass_on("on_trial_save", iteration, trial, **info)

    def on_trial_restore(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._pass_on("on_trial_restore", iteration, trial, **info)

    def on_checkpoint(
        self, iteration: int, trials: list[Any], trial: Any, checkpoint: Any, **info: Any
    ) -> None:
        self._pass_on("on_checkpoint", iteration, trial, checkpoint=checkpoint, **info)

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Pass on how the execution ended, according to the coordinator and not to Ray."""
        seen, known = self._of(trial)
        if seen is None or known is None:
            return
        execution = known.executions[seen.spec.execution]
        goes_on = execution.status == TrialStatus.RUNNING  # or is retried
        if seen.has_started or not goes_on:  # otherwise hyperparameters may be unknown
            self._start(seen, known.values, iteration, **info)
        if goes_on:
            self._pass_on("on_trial_recover", iteration, trial, **info)
        elif execution.status == TrialStatus.FAILED:
            self._fail(seen, execution.message, iteration, **info)
        else:
            seen.has_ended = True
            self._pass_on("on_trial_complete", iteration, trial, **info)
        del self._running[trial.trial_id]

    on_trial_error = on_trial_complete

    def __reduce__(self) -> tuple[type, tuple[tuple[()]]]:
        return UserCallbacks, (
            (),
        )  # Ray pickles callbacks into its snapshots, which are never read

    def _of(self, trial: Any) -> tuple[LoggedTrial | None, Trial | None]:
        """Return the execution of a Ray trial, as callbacks see it and as the search knows it."""
        seen = self._running.get(trial.trial_id)
        coordinator = None if self._bridge is None else self._bridge.coordinator
        if seen is None or coordinator is None:
            return None, None
        return seen, coordinator.oracle.trials[seen.spec.trial_id]

    def _start(
        self, seen: LoggedTrial, values: dict[str, Any], iteration: int, **info: Any
    ) -> None:
        """Set an execution's values, and announce its start if that was not done."""
        seen.know(values)
        if not seen.has_started:
            seen.has_started = True
            seen.init_local_path()  # some loggers write there at once
            self._tell("on_trial_start", iteration=iteration, trial=seen, **info)

    def _fail(self, seen: LoggedTrial, why: str | None, iteration: int, **info: Any) -> None:
        seen.has_ended, seen.failure = True, why or "It failed without a message."
        self._tell("on_trial_error", iteration=iteration, trial=seen, **info)

    def _pass_on(self, hook: str, iteration: int, trial: Any, **info: Any) -> None:
        seen = self._running.get(trial.trial_id)
        if seen is not None and seen.has_started:
            self._tell(hook, iteration=iteration, trial=seen, **info)

    def _tell(self, hook: str, **info: Any) -> None:
        """Call a method of each callback; the first error ends the search."""
        for callback in self._callbacks:
            try:
                getattr(callback, hook)(trials=list(self._seen.values()), **info)
            except Exception as error:
                self._error = self._error or error
                if self._bridge is not None:
                    self._bridge.error = self._bridge.error or error

    def _end(self) -> None:
        for seen in self._seen.values():
            if seen.has_started and not seen.has_ended:
                self._fail(seen, "The search was interrupted.", self._iteration)
        if self._is_set_up:
            self._tell("on_experiment_end")

    def _warn_of_checkpoints(self) -> None:
        uploading = [each for each in self._callbacks if getattr(each, "upload_checkpoints", False)]
        if uploading and self._bridge is not None and not self._bridge.pauses:
            warnings.warn(
                "Ray has checkpoints where a scheduler pauses trials; the best weights of each "
                "trial are in the project. Received: "
                f"{type(uploading[0]).__name__}(upload_checkpoints=True), which uploads nothing.",
                stacklevel=2,
            )


def file_writers(callbacks: Sequence[tune.Callback]) -> list[str]:
    """Return the names of the loggers that write files into the trials' folders."""
    return [type(each).__name__ for each in callbacks if each._SAVED_FILE_TEMPLATES]


def _go_on_with_runs(callback: tune.Callback) -> None:
    """Let W&B resume a trial's run from an earlier session instead of overwriting it."""
    if any(kind.__name__ == "WandbLoggerCallback" for kind in type(callback).__mro__):
        callback.kwargs.setdefault("resume", "allow")
