"""What one worker does: it runs trials, one after the other. Runs in the worker, or in the driver for inline trials.

A trial, top to bottom: configuration, data, build, fit; each epoch is reported and the best one saved. Nothing here knows
Ray: reports go to a function that the executor gives. A mistake in the user's code ends the trial, never the process.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import numbers
import pathlib
import shutil
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import keras

from glimr_keras import checkpoints, data
from glimr_keras.callback import TuneReportCheckpoint, scalars
from glimr_keras.data import FitArguments
from glimr_keras.errors import FailedTrialError, FatalError, ModelError, ObjectiveError, did_you_mean, user_traceback
from glimr_keras.hypermodel import HyperModel, method_name, overrides
from glimr_keras.hyperparameters import HyperParameters, sample
from glimr_keras.objective import Objective
from glimr_keras.parameters import HyperParameter
from glimr_keras.session import Session
from glimr_keras.space import DeclaredSpace
from glimr_keras.trials import Run, Stage, TrialStatus, state_directory


@dataclasses.dataclass(frozen=True)
class Job:
    """What every trial of a search shares; sent to each worker once.

    Attributes:
        objective: As the user gave it; its direction may not be known yet.
        cpus: CPUs of a trial, and so threads.
        fit_verbose: Keras' `verbose` inside the worker.
        session: Keras' settings in the driver.
    """

    hypermodel: HyperModel
    space: DeclaredSpace
    objective: Objective
    arguments: FitArguments
    callbacks: tuple[keras.callbacks.Callback, ...] = ()
    cpus: float = 1
    fit_verbose: int = 0
    session: Session = dataclasses.field(default_factory=Session.current)


@dataclasses.dataclass(frozen=True)
class Report:
    """What a worker says to the driver: after an epoch, and at the end.

    Attributes:
        epoch: The epoch that `metrics` belong to, counted from 1; `None` at the end of a trial that reported all of them.
        values: What the trial's code asked for so far, by full name.
        parameters: Definitions that the declared space does not have and that were not sent before.
        outcome: Given with the last report.
        state: Directory of a checkpoint from which the training can be continued after this epoch. Who takes the report in
            removes it.
    """

    epoch: int | None
    metrics: dict[str, float]
    values: dict[str, Any]
    parameters: list[HyperParameter]
    outcome: Outcome | None = None
    state: str | None = None


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How an execution ended.

    Attributes:
        fatal: The user's own error, when it is to stop the whole search.
        expected: Whether the failure says something of the configuration only, and nothing of the code: it diverged, or
            raised `FailedTrialError`.
    """

    status: str
    duration: float
    score: float | None = None
    best_epoch: int | None = None
    message: str | None = None
    fatal: FatalError | None = None
    expected: bool = False


class NotANumberError(ValueError):
    """The objective became nan."""


Reporter = Callable[[Report], None]


def run_trial(job: Job, run: Run, report: Reporter, settle: Callable[[], None] = lambda: None) -> None:
    """Trains one configuration once and reports it. Errors of the user's code are reported, not raised.

    Args:
        job: What is built and trained.
        run: The configuration.
        report: Called after each epoch but the last, and once at the end with the last epoch and the outcome. Raises
            `SystemExit` if the trial is to stop.
        settle: For a `report` that does not wait for the answer: waits for it, and raises likewise.
    """
    started = time.monotonic()
    voice = _Voice(report, settle, job.space)
    score, best_epoch, message, fatal, expected = None, None, None, None, False
    metrics: dict[str, float] = {}
    with job.session.fresh(_seed(run)):
        try:
            voice.config = configuration(job.space, run.values, run.sampling_key)
            objective = job.objective if run.directions is None else job.objective.directed(run.directions)
            voice.callback = _TrialCallback(objective, run, voice)
            if overrides(job.hypermodel, "run"):
                score, best_epoch, metrics = _run(job.hypermodel, voice.config, voice.callback)
            else:
                score, best_epoch, metrics = _train(job, run, voice.config, voice.callback)
            status = TrialStatus.COMPLETED
        except Exception as error:
            status, message = TrialStatus.FAILED, user_traceback(error)
            fatal = error if isinstance(error, FatalError) else None
            expected = isinstance(error, (FailedTrialError, NotANumberError))
        except SystemExit as error:
            if voice.is_stopped:
                raise
            status, message = TrialStatus.FAILED, user_traceback(error)
        # Said before the session is cleared: an executor may take it in meanwhile
        voice.end(metrics, Outcome(status, time.monotonic() - started, score, best_epoch, message, fatal, expected))


def _own(config: HyperParameters) -> dict[str, Any]:
    """What the configuration was asked for, without what says which part of a training it is."""
    return {name: value for name, value in config.asked.items() if name not in Stage.NAMES}


def _seed(run: Run) -> int:
    key = (run.sampling_key, run.execution, *([run.initial_epoch] if run.initial_epoch else []))
    return zlib.crc32(repr(key).encode())


def configuration(space: DeclaredSpace, values: dict[str, Any], sampling_key: tuple[int, ...] | None) -> HyperParameters:
    """The object that a trial's `data`, `build` and `fit` get: the declared space filled in, and define-by-run beyond it.

    Args:
        space: The declared space, maybe empty.
        values: By full name; declared parameters that are missing are sampled, or default without `sampling_key`.
        sampling_key: Seeds what is sampled; `None` for defaults.
    """
    values = dict(values)
    existing = []
    for parameter in space.parameters:
        if parameter.exists(values):
            existing.append(parameter.name)
            if parameter.name not in values:
                values[parameter.name] = parameter.default_value if sampling_key is None else sample(parameter, sampling_key)
    tree = space.fill(values)
    derived = space.derived_values(tree, values)
    values |= derived
    config = HyperParameters(values, space=space.parameters, tree=tree, sampling_key=sampling_key)
    config.mark_declared_as_asked([*existing, *derived, *Stage.NAMES & values.keys()])
    return config


def build(hypermodel: HyperModel, config: HyperParameters) -> Any:
    """Builds the model of a configuration and checks that it can be trained.

    Raises:
        ModelError: If `build` returns no Keras model, or one that is not compiled.
    """
    model = hypermodel.build(config)
    name = method_name(hypermodel, "build")
    if model is None:
        raise ModelError(f"{name} must return a compiled Keras model. Received: None. Is its `return model` missing?")
    if not isinstance(model, keras.Model):
        raise ModelError(f"{name} must return a compiled Keras model. Received: {model!r} of type {type(model).__name__}")
    if not model.compiled:
        raise ModelError(
            f"{name} returned a model that is not compiled, and its configuration has no `optimization` section. "
            "Call `model.compile(optimizer, loss, metrics=…)` before returning it."
        )
    return model


def _train(job: Job, run: Run, config: HyperParameters, callback: _TrialCallback) -> tuple[float, int | None, dict[str, float]]:
    """Data, build and fit. Returns the score, its epoch and the last metrics."""
    arguments = data.with_data(job.hypermodel, config, job.arguments)
    model = build(job.hypermodel, config)
    if not model.built:
        callback.inputs = data.describe(arguments)
    if not overrides(job.hypermodel, "fit"):
        _build_ahead(model, arguments)
    kwargs = {**arguments.kwargs, "callbacks": [*job.callbacks, callback]}
    if "verbose" in kwargs or not overrides(job.hypermodel, "fit"):
        kwargs["verbose"] = job.fit_verbose
    if run.epochs is not None:
        kwargs["epochs"] = run.epochs
    if run.state is not None:
        kwargs["initial_epoch"] = checkpoints.load(model, run.state, _own(config)).epoch
    returned = job.hypermodel.fit(config, model, *arguments.args, **kwargs)
    if callback.model is None:
        callback.set_model(model)
    score = _score(returned, callback)
    if run.keeps_state:
        callback.save_state(state_directory(run.directory))
    return score


def _build_ahead(model: Any, arguments: FitArguments) -> None:
    """Makes the variables of optimizer, loss and metrics, as Keras itself does before it trains on JAX.

    On TensorFlow it leaves that to the first training step, which therefore is traced twice, a fifth of a small trial's time,
    and the first trace is never freed. It is left alone where it might not be the same: when `fit` is the user's own, which may
    freeze or unfreeze layers first; before the model has its weights; when a first batch is not at hand.
    """
    if keras.backend.backend() != "tensorflow" or not model.built or not data.is_at_hand(arguments):
        return
    with contextlib.suppress(Exception):  # then Keras does it later, or says what is wrong
        model._symbolic_build(data_batch=data.first_batch(arguments))


def _run(hypermodel: HyperModel, config: HyperParameters, callback: _TrialCallback) -> tuple[float, int, dict[str, float]]:
    """A trial of the user's own. Returns the score, and as the metrics of its one epoch what it returned.

    Raises:
        ModelError: If that is neither a number nor a dict.
    """
    returned = hypermodel.run(config)
    metrics = _returned_metrics(returned, callback)
    if metrics is None:
        raise ModelError(
            f"{method_name(hypermodel, 'run')} must return the objective's value or a dict of metrics. "
            f"Received: {returned!r} of type {type(returned).__name__}"
        )
    return callback.objective.get_value(metrics), 1, metrics


def _returned_metrics(returned: Any, callback: _TrialCallback) -> dict[str, float] | None:
    """The metrics that a user's method returned, as a dict or as the objective's value alone; `None` if it was neither."""
    if isinstance(returned, numbers.Real):
        returned = {callback.objective.name: float(returned)}
    if not isinstance(returned, dict):
        return None
    metrics = scalars(returned)
    callback.check(metrics)
    return metrics


def _score(returned: Any, callback: _TrialCallback) -> tuple[float, int | None, dict[str, float]]:
    """The score that `fit` returned, or that the callback saw where `fit` returned a `History` or nothing.

    Raises:
        ModelError: If there is neither.
    """
    objective = callback.objective
    if isinstance(returned, keras.callbacks.History) and callback.best is None:
        # `fit` did not pass the callbacks on: only the weights of the last epoch are there
        callback.last_epoch = len(returned.epoch)
        returned = {name: values[-1] for name, values in returned.history.items() if values}
    metrics = _returned_metrics(returned, callback)
    if metrics is not None:
        if objective.get_value(metrics) != callback.best:  # the score is that of the model as `fit` left it
            callback.save(callback.last_epoch or 1)
        return objective.get_value(metrics), callback.best_epoch, metrics
    if returned is not None and not isinstance(returned, keras.callbacks.History):
        raise ModelError(
            "`HyperModel.fit` must return Keras' History, a dict of metrics, the objective's value, or None. "
            f"Received: {returned!r} of type {type(returned).__name__}"
        )
    if callback.best is None and callback.last_logs:
        callback.check(callback.last_logs)
    if callback.best is None:
        raise ModelError(
            "`HyperModel.fit` returned nothing and no epoch was reported. Pass `callbacks` on to `model.fit`, or return the "
            f"objective's value. Received: {returned!r}"
        )
    return callback.best, callback.best_epoch, {}


class _Voice:
    """Speaks for one trial: adds what its configuration was asked for to what it reports."""

    def __init__(self, report: Reporter, settle: Callable[[], None], space: DeclaredSpace) -> None:
        self._report, self._settle = report, settle
        self._known = {parameter.key for parameter in space.parameters}
        self.config = HyperParameters()
        self.callback: _TrialCallback | None = None
        self.is_stopped = False  # by the executor, from inside a report

    def say(
        self, epoch: int | None, metrics: dict[str, float], outcome: Outcome | None = None, state: str | None = None
    ) -> None:
        news = [parameter for parameter in self.config.space if parameter.key not in self._known]
        self._known.update(parameter.key for parameter in news)
        with self._listening():
            self._report(Report(epoch, metrics, self.config.asked, news, outcome, state))

    def settle(self) -> None:
        """Waits until what was said has been taken in."""
        with self._listening():
            self._settle()

    @contextlib.contextmanager
    def _listening(self) -> Iterator[None]:
        try:
            yield
        except SystemExit:
            self.is_stopped = True
            raise

    def end(self, metrics: dict[str, float], outcome: Outcome) -> None:
        """Sends the outcome together with the last epoch and the metrics that `fit` returned."""
        epoch, last = (None, {}) if self.callback is None else self.callback.take_held()
        if metrics and epoch is None:
            epoch = 1
        self.say(epoch, last | metrics, outcome)


class _TrialCallback(TuneReportCheckpoint):
    """The callback of our own trials: reports through the executor, and saves the best epoch's weights in the project.

    An epoch is reported when the next begins, so the last one can be sent together with the outcome: a scheduler then sees
    as many reports as there were epochs.
    """

    waits_for_next_epoch = True

    def __init__(self, objective: Objective, run: Run, voice: _Voice) -> None:
        super().__init__(checkpoint="best", monitor=objective.name, mode=objective.direction or "auto")
        self.objective = objective
        if all(part.direction is not None for part in objective.parts):
            self._objective = objective
        self.inputs: Any = None
        self.best_epoch: int | None = None
        self.last_epoch: int | None = None
        self.last_logs: dict[str, float] = {}
        self._offset = 0
        self._directory, self._voice = pathlib.Path(run.directory), voice
        self._reports_state = run.reports_state
        self._state: str | None = None
        if run.reports_state and run.state is not None and checkpoints.exists(self._directory):
            earlier = checkpoints.describe(self._directory)  # what it saved before it was paused
            self.best, self.best_epoch = earlier.score, earlier.epoch

    def improves(self, logs: Any) -> bool:
        if not self.objective.has_value(logs):
            return False  # as with `validation_freq`; that it never came is said at the end
        self.check(logs)
        return super().improves(logs)

    def check(self, logs: Any) -> None:
        """Refuses metrics without the objective, or with nan as its value."""
        missing = self.objective.missing(logs)
        if missing is not None:
            raise ObjectiveError(
                f"The objective {missing!r} is not among the metrics.{did_you_mean(missing, logs)} Received: {sorted(logs)}"
            )
        if math.isnan(self.objective.get_value(logs)):
            raise NotANumberError(f"The objective {self.objective.name!r} is nan: the training diverged.")

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if self.last_epoch is not None and self._offset + epoch < self.last_epoch:
            self._offset = self.last_epoch - epoch  # a second `fit` counts from the start again
        self.last_epoch, self.last_logs = self._offset + epoch + 1, scalars(logs or {})
        super().on_epoch_end(self._offset + epoch, logs)
        if self._reports_state:
            self._state = tempfile.mkdtemp(prefix="glimr_keras-")
            self.save_state(pathlib.Path(self._state))

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Leaves the last epoch to `run_trial`, which sends it with the outcome."""

    def save(self, epoch: int) -> pathlib.Path:
        self._voice.settle()  # if the trial was stopped before this epoch, the checkpoint is that of an earlier one
        self.best_epoch = epoch
        described = checkpoints.Checkpoint(epoch, self.inputs, values=_own(self._voice.config), score=self.best)
        checkpoints.save(self.model, self._directory, described)
        return self._directory

    def save_state(self, directory: pathlib.Path) -> None:
        """Writes what the training can be continued from."""
        epoch = self.last_epoch or 1
        values = _own(self._voice.config)
        checkpoints.save(self.model, directory, checkpoints.Checkpoint(epoch, self.inputs, has_optimizer=True, values=values))

    def deliver(self, epoch: int, metrics: dict[str, float], directory: pathlib.Path | None) -> None:
        state, self._state = self._state, None
        self._voice.say(epoch, metrics, state=state)

    def take_held(self) -> tuple[int | None, dict[str, float]]:
        """The epoch that is over and not reported yet, and its metrics."""
        if self._state is not None:
            shutil.rmtree(self._state, ignore_errors=True)
        held, self._held = self._held, None
        return (None, {}) if held is None else (held.epoch, held.logs)
