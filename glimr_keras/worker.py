"""What one worker does: it runs trials, one after the other. Runs in the worker, or in the driver for inline trials.

A trial, top to bottom: configuration, data, build, fit; each epoch is reported and the best one saved. Nothing here knows
Ray: reports go to a function that the executor gives. A mistake in the user's code ends the trial, never the process.
"""

from __future__ import annotations

import contextlib
import dataclasses
import numbers
import time
import zlib
from collections.abc import Callable
from typing import Any

import keras

from glimr_keras import checkpoints, data, folds, pipelines, tasks
from glimr_keras.callback import scalars
from glimr_keras.data import FitArguments
from glimr_keras.errors import CheckpointError, FailedTrialError, FatalError, ModelError, StorageError, user_traceback
from glimr_keras.folds import Folds
from glimr_keras.hypermodel import HyperModel, method_name, overrides
from glimr_keras.hyperparameters import HyperParameters, sample
from glimr_keras.objective import Objective
from glimr_keras.reporting import (
    BatchCallback,
    BeginsAnewError,
    NotANumberError,
    Outcome,
    Reporter,
    TimeIsUpError,
    TrialCallback,
    Voice,
    own_values,
)
from glimr_keras.session import Session
from glimr_keras.signatures import arguments_of
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
        folds: How the data is split for cross validation; `None` without.
        max_model_size: Parameters that a model may have; `None` for any number.
    """

    hypermodel: HyperModel
    space: DeclaredSpace
    objective: Objective
    arguments: FitArguments
    callbacks: tuple[keras.callbacks.Callback, ...] = ()
    cpus: float = 1
    fit_verbose: int = 0
    session: Session = dataclasses.field(default_factory=Session.current)
    folds: Folds | None = None
    max_model_size: int | None = None

    @property
    def first_fold(self) -> tuple[int | None, int | None]:
        """The fold that is tried before a search, and how many there are; `None` for both without cross validation."""
        return (None, None) if self.folds is None else (0, self.folds.count)


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
    given, run = run, _from_its_state(job, run)
    voice = Voice(report, settle, job.space)
    score: float | None = None
    best_epoch: int | None = None
    message: str | None = None
    fatal: FatalError | StorageError | None = None
    expected = final = False
    metrics: dict[str, float] = {}
    with job.session.fresh(_seed(run)):
        try:
            voice.config = configuration(job.space, run.values, run.sampling_key, run.fold, run.num_folds)
            objective = job.objective if run.directions is None else job.objective.directed(run.directions)
            voice.callback = TrialCallback(objective, run, voice, job.max_model_size)
            if overrides(job.hypermodel, "run"):
                score, best_epoch, metrics = _run(job.hypermodel, voice.config, voice.callback)
            else:
                score, best_epoch, metrics = _train(job, run, voice.config, voice.callback)
            status = TrialStatus.COMPLETED
        except BeginsAnewError:
            status = _AGAIN
        except StorageError as error:
            status, fatal = TrialStatus.RUNNING, error
        except TimeIsUpError:
            status, score, best_epoch, message = _out_of_time(run, voice.callback)
            expected = final = True
        except Exception as error:
            status, message = TrialStatus.FAILED, user_traceback(error)
            fatal = error if isinstance(error, FatalError) else None
            expected = isinstance(error, (FailedTrialError, NotANumberError))
            final = isinstance(error, FailedTrialError)
        except SystemExit as error:
            if voice.is_stopped:
                raise
            status, message = TrialStatus.FAILED, user_traceback(error)
        if status != _AGAIN:
            # Said before the session is cleared: an executor may take it in meanwhile
            duration = time.monotonic() - started
            voice.end(metrics, Outcome(status, duration, score, best_epoch, message, fatal, expected, final))
    if status == _AGAIN:
        run_trial(job, dataclasses.replace(given, resumes=False), report, settle)


_AGAIN = "AGAIN"
"""In the place of a status: the training is begun anew."""


def _seed(run: Run) -> int:
    key = (run.sampling_key, run.execution, *filter(None, (run.initial_epoch, run.attempt)))
    return zlib.crc32(repr(key).encode())


def _from_its_state(job: Job, run: Run) -> Run:
    """The run with the checkpoint from which its training goes on, or from its beginning where none is whole."""
    if run.resumes:
        fit = arguments_of(job.hypermodel.fit)
        own = None
        if not overrides(job.hypermodel, "run") and (fit is None or "initial_epoch" in fit):
            own = checkpoints.newest(state_directory(run.directory))
        with contextlib.suppress(StorageError, CheckpointError):
            if own is not None:
                checkpoints.go_back(run.directory, own)
                return dataclasses.replace(run, state=str(own), initial_epoch=checkpoints.describe(own).epoch)
    state = None if run.state is None else checkpoints.newest(run.state)
    if state is None:
        return dataclasses.replace(run, state=None, initial_epoch=0, resumes=False)
    return dataclasses.replace(run, state=str(state), resumes=False)


def _out_of_time(run: Run, callback: TrialCallback | None) -> tuple[str, float | None, int | None, str | None]:
    """Status, score, its epoch and a message for a training that has taken as long as it may."""
    if callback is None or callback.best is None:
        return TrialStatus.FAILED, None, None, f"No epoch was over within `trial_time_limit_s={run.time_limit:g}`."
    return TrialStatus.STOPPED, callback.best, callback.best_epoch, None


def configuration(
    space: DeclaredSpace,
    values: dict[str, Any],
    sampling_key: tuple[int, ...] | None,
    fold: int | None = None,
    num_folds: int | None = None,
) -> HyperParameters:
    """The object that a trial's `data`, `build` and `fit` get: the declared space filled in, and define-by-run beyond it.

    Args:
        space: The declared space, maybe empty.
        values: By full name; declared parameters that are missing are sampled, or default without `sampling_key`.
        sampling_key: Seeds what is sampled; `None` for defaults.
        fold, num_folds: As `HyperParameters` has them.
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
    config = HyperParameters(
        values,
        space=space.parameters,
        tree=tree,
        sampling_key=sampling_key,
        given=space.given,
        new_entries=space.new_entries,
        fold=fold,
        num_folds=num_folds,
    )
    config.mark_declared_as_asked([*existing, *derived, *Stage.NAMES & values.keys()])
    return config


def build(hypermodel: HyperModel, config: HyperParameters) -> Any:
    """Builds the model of a configuration, compiles it if it is not compiled and the configuration says how, and checks it.

    Raises:
        ModelError: If `build` returns no Keras model, or one that cannot be compiled.
    """
    built = hypermodel.build(config)
    name = method_name(hypermodel, "build")
    model, *compiling = built if isinstance(built, tuple) else (built,)
    if len(compiling) not in (0, 3):
        raise ModelError(
            f"{name} must return a model, or (model, losses, loss_weights, metrics). Received: a tuple of {len(built)}"
        )
    if model is None:
        raise ModelError(f"{name} must return a compiled Keras model. Received: None. Is its `return model` missing?")
    if not isinstance(model, keras.Model):
        raise ModelError(f"{name} must return a compiled Keras model. Received: {model!r} of type {type(model).__name__}")
    if compiling or (not model.compiled and tasks.can_compile(config.declared)):
        if "optimization" not in config.declared:
            raise ModelError(
                f"{name} returned losses and metrics, and the space has no `optimization` section that says with which "
                'optimizer the model is to be compiled. Add `"optimization": glimr_keras.optimization_space()` to it.'
            )
        tasks.compile_tasks(model, config.declared, *compiling)
    if not model.compiled:
        raise ModelError(
            f"{name} returned a model that is not compiled, and its configuration has no sections `tasks` and `optimization`. "
            "Call `model.compile(optimizer, loss, metrics=…)` before returning it."
        )
    return model


def with_model(job: Job, config: HyperParameters, arguments: FitArguments) -> tuple[Any, FitArguments]:
    """The model of a configuration, and the data in the form that it takes.

    Raises:
        ModelError: If there is none, or its tasks are not those that have labels.
    """
    model = build(job.hypermodel, config)
    names = tasks.task_names(config.declared)
    tasks.check_labels(names, data.labels(arguments))
    return model, data.with_bare_labels(arguments) if names and tasks.takes_bare_labels(model) else arguments


def with_data(job: Job, config: HyperParameters) -> FitArguments:
    """The data of a configuration, in a cross validation that of its fold."""
    arguments = data.with_data(job.hypermodel, config, job.arguments)
    if job.folds is None or job.arguments.x is None:  # else the user's own code splits it
        return arguments
    return folds.split(arguments, job.folds, config.fold or 0)


def _train(job: Job, run: Run, config: HyperParameters, callback: TrialCallback) -> tuple[float, int | None, dict[str, float]]:
    """Data, build and fit. Returns the score, its epoch and the last metrics."""
    model, arguments = with_model(job, config, with_data(job, config))
    if model.built:
        callback.check_size(model)
    else:
        callback.inputs = data.describe(arguments)
    if not overrides(job.hypermodel, "fit"):
        _build_ahead(model, arguments)
    callbacks = [*task_logs(job, config), *job.callbacks, callback]
    if run.time_limit is not None or (job.max_model_size is not None and not model.built):
        callbacks.append(BatchCallback(callback))
    kwargs = {**fit_kwargs(job, config, arguments), "callbacks": callbacks}
    if "verbose" in kwargs or not overrides(job.hypermodel, "fit"):
        kwargs["verbose"] = job.fit_verbose
    if run.epochs is not None:
        kwargs["epochs"] = run.epochs
    if run.state is not None:
        try:
            state = checkpoints.load(model, run.state, own_values(config))
        except ModelError as error:
            if run.resumes:  # the script was changed since
                raise BeginsAnewError from error
            raise
        kwargs["initial_epoch"] = state.epoch
        if run.resumes:
            callback.go_on_from(state)
    returned = job.hypermodel.fit(config, model, *arguments.args, **kwargs)
    if callback.model is None:
        callback.set_model(model)
    score = _score(returned, callback)
    checkpoints.force(run.directory)
    if run.keeps_state:
        callback.save_state()
    return score


def fit_kwargs(job: Job, config: HyperParameters, arguments: FitArguments) -> dict[str, Any]:
    """The keyword arguments of `fit`; the configuration may say how many epochs there are."""
    epochs = tasks.epochs_of(config.declared)
    kwargs = {} if epochs is None else {"epochs": epochs}
    if pipelines.is_dataset(arguments.x) and not overrides(job.hypermodel, "fit"):
        kwargs["shuffle"] = False  # by default Keras warns that it cannot shuffle a pipeline
    return {**kwargs, **arguments.kwargs}


def task_logs(job: Job, config: HyperParameters) -> list[tasks.TaskLogs]:
    """What names the logs after tasks, where there are any."""
    names = tasks.task_names(config.declared)
    return [tasks.TaskLogs(names, job.hypermodel.logs_validation_only)] if names else []


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


def _run(hypermodel: HyperModel, config: HyperParameters, callback: TrialCallback) -> tuple[float, int, dict[str, float]]:
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


def _returned_metrics(returned: Any, callback: TrialCallback) -> dict[str, float] | None:
    """The metrics that a user's method returned, as a dict or as the objective's value alone; `None` if it was neither."""
    if isinstance(returned, numbers.Real):
        returned = {callback.objective.name: float(returned)}
    if not isinstance(returned, dict):
        return None
    metrics = scalars(returned)
    callback.check(metrics)
    return metrics


def _score(returned: Any, callback: TrialCallback) -> tuple[float, int | None, dict[str, float]]:
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
