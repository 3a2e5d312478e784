"""What one worker does: it runs trials, one after the other. Runs in the worker, or in the driver for inline trials.

A trial, top to bottom: configuration, data, build, fit; each epoch is reported and the best one saved. Nothing here knows
Ray: reports go to a function that the executor gives. A mistake in the user's code ends the trial, never the process.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import math
import numbers
import pathlib
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
from glimr_keras.objective import Objective, infer_direction, log_directions
from glimr_keras.parameters import HyperParameter
from glimr_keras.session import Session
from glimr_keras.space import DeclaredSpace
from glimr_keras.trials import Run, TrialStatus


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
    """

    epoch: int | None
    metrics: dict[str, float]
    values: dict[str, Any]
    parameters: list[HyperParameter]
    outcome: Outcome | None = None


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


@dataclasses.dataclass(frozen=True)
class Probe:
    """What one configuration, built once before the search, tells about all of them.

    Attributes:
        log_directions: Every name that Keras will log, with its direction where known; `None` if a custom `fit` or `run`
            decides.
        inferred_direction: Of the objective, by its name alone.
        parameters: The hyperparameters met by `data` and `build`.
        error: The user's error, as a traceback of their own code.
    """

    log_directions: dict[str, str | None] | None = None
    inferred_direction: str | None = None
    parameters: tuple[HyperParameter, ...] = ()
    error: str | None = None


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
    with job.session.fresh(zlib.crc32(repr((run.sampling_key, run.execution)).encode())):
        try:
            voice.config = configuration(job.space, run.values, run.sampling_key)
            objective = dataclasses.replace(job.objective, direction=run.direction or job.objective.direction)
            voice.callback = _TrialCallback(objective, pathlib.Path(run.directory), voice)
            if overrides(job.hypermodel, "run"):
                score, best_epoch, metrics = _run(job.hypermodel, voice.config, voice.callback)
            else:
                score, best_epoch, metrics = _train(job, voice.config, voice.callback)
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


def configuration(space: DeclaredSpace, values: dict[str, Any], sampling_key: tuple[int, ...] | None) -> HyperParameters:
    """The object that a trial's `data`, `build` and `fit` get: the declared space filled in, and define-by-run beyond it.

    Args:
        space: The declared space, maybe empty.
        values: By full name; declared parameters that are missing are sampled, or default without `sampling_key`.
        sampling_key: Seeds what is sampled; `None` for defaults.
    """
    values = dict(values)
    for parameter in space.parameters:
        if parameter.name not in values:
            values[parameter.name] = parameter.default_value if sampling_key is None else sample(parameter, sampling_key)
    tree = space.fill(values)
    derived = space.derived_values(tree)
    values |= derived
    config = HyperParameters(values, space=space.parameters, tree=tree, sampling_key=sampling_key)
    config.mark_declared_as_asked([*(parameter.name for parameter in space.parameters), *derived])
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


PROBED: tuple[tuple[int, ...] | None, ...] = (None, (0,), (1,))
"""The configurations that are built before a search until one succeeds, by sampling key: the default one first."""


def probe(job: Job, skipped: int = 0) -> Probe:
    """Builds one configuration and evaluates a few samples, to learn which names Keras will log. Runs in a worker.

    Args:
        job: What will be searched.
        skipped: How many of `PROBED` are left out; the others are tried in turn until one can be built.

    Returns:
        What was found, or else the first error.
    """
    first_error = None
    for sampling_key in PROBED[skipped:]:
        found = _probe(job, sampling_key)
        if found.error is None:
            return found
        first_error = first_error or found
    return first_error or Probe()


def _probe(job: Job, sampling_key: tuple[int, ...] | None) -> Probe:
    try:
        with job.session.fresh():
            config = configuration(job.space, {}, sampling_key)
            if overrides(job.hypermodel, "run"):  # which is a whole trial, so its hyperparameters are met in trials
                return Probe(None, infer_direction(job.objective.name), tuple(config.space))
            arguments = data.with_data(job.hypermodel, config, job.arguments)
            model = build(job.hypermodel, config)
            batch = None if overrides(job.hypermodel, "fit") else data.first_batch(arguments)
            directions = None if batch is None else _directions(model, batch, arguments.has_validation)
            return Probe(directions, infer_direction(job.objective.name), tuple(config.space))
    except (Exception, SystemExit) as error:
        return Probe(error=user_traceback(error))


def _directions(model: Any, batch: tuple[Any, Any, Any], has_validation: bool) -> dict[str, str | None]:
    model.run_eagerly = True  # a few samples are evaluated: tracing would cost more
    x, y, sample_weight = batch
    with contextlib.redirect_stdout(io.StringIO()):
        try:
            names = list(model.test_on_batch(x, y, sample_weight, return_dict=True))
        except Exception:  # a model with a `train_step` of its own, or data that only `fit` takes
            names = list(model.fit(x, y, sample_weight=sample_weight, verbose=0).history)
    if has_validation:
        names += [f"val_{name}" for name in names]
    return log_directions(model, names)


def _train(job: Job, config: HyperParameters, callback: _TrialCallback) -> tuple[float, int | None, dict[str, float]]:
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
    returned = job.hypermodel.fit(config, model, *arguments.args, **kwargs)
    if callback.model is None:
        callback.set_model(model)
    return _score(returned, callback)


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
        self._known = {parameter.name for parameter in space.parameters}
        self.config = HyperParameters()
        self.callback: _TrialCallback | None = None
        self.is_stopped = False  # by the executor, from inside a report

    def say(self, epoch: int | None, metrics: dict[str, float], outcome: Outcome | None = None) -> None:
        news = [parameter for parameter in self.config.space if parameter.name not in self._known]
        self._known.update(parameter.name for parameter in news)
        with self._listening():
            self._report(Report(epoch, metrics, self.config.asked, news, outcome))

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

    def __init__(self, objective: Objective, directory: pathlib.Path, voice: _Voice) -> None:
        super().__init__(checkpoint="best", monitor=objective.name, mode=objective.direction or "auto")
        self.objective = objective
        self.inputs: Any = None
        self.best_epoch: int | None = None
        self.last_epoch: int | None = None
        self.last_logs: dict[str, float] = {}
        self._offset = 0
        self._directory, self._voice = directory, voice

    def improves(self, logs: Any) -> bool:
        if not self.objective.has_value(logs):
            return False  # as with `validation_freq`; that it never came is said at the end
        self.check(logs)
        return super().improves(logs)

    def check(self, logs: Any) -> None:
        """Refuses metrics without the objective, or with nan as its value."""
        if not self.objective.has_value(logs):
            raise ObjectiveError(
                f"The objective {self.objective.name!r} is not among the metrics.{did_you_mean(self.objective.name, logs)} "
                f"Received: {sorted(logs)}"
            )
        if math.isnan(self.objective.get_value(logs)):
            raise NotANumberError(f"The objective {self.objective.name!r} is nan: the training diverged.")

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if self.last_epoch is not None and self._offset + epoch < self.last_epoch:
            self._offset = self.last_epoch - epoch  # a second `fit` counts from the start again
        self.last_epoch, self.last_logs = self._offset + epoch + 1, scalars(logs or {})
        super().on_epoch_end(self._offset + epoch, logs)

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Leaves the last epoch to `run_trial`, which sends it with the outcome."""

    def save(self, epoch: int) -> pathlib.Path:
        self._voice.settle()  # if the trial was stopped before this epoch, the checkpoint is that of an earlier one
        self.best_epoch = epoch
        checkpoints.save(self.model, self._directory, checkpoints.Checkpoint(epoch, self.inputs))
        return self._directory

    def deliver(self, epoch: int, metrics: dict[str, float], directory: pathlib.Path | None) -> None:
        self._voice.say(epoch, metrics)

    def take_held(self) -> tuple[int | None, dict[str, float]]:
        """The epoch that is over and not reported yet, and its metrics."""
        held, self._held = self._held, None
        return (None, {}) if held is None else (held.epoch, held.logs)
