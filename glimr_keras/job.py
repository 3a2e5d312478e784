"""What every trial of a search shares, and how a configuration becomes a model and its data. Runs in driver and worker."""

from __future__ import annotations

import dataclasses
from typing import Any

import keras

from glimr_keras import data, folds, pipelines, tasks
from glimr_keras.compiling import Compiling
from glimr_keras.data import FitArguments
from glimr_keras.errors import ModelError, NoModelError
from glimr_keras.folds import Folds
from glimr_keras.hypermodel import HyperModel, method_name, overrides
from glimr_keras.hyperparameters import HyperParameters, sample
from glimr_keras.objective import Objective
from glimr_keras.session import Session
from glimr_keras.space import DeclaredSpace
from glimr_keras.trials import Stage


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
        compiling: In the place of how models are compiled.
        tuner: The tuner, where a subclass of the user's own runs trials or is told of epochs.
        has_own_loop: Whether it runs trials in its own way.
        is_told_of_batches: Whether it wants to know of batches.
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
    compiling: Compiling = dataclasses.field(default_factory=Compiling)
    tuner: Any = None
    has_own_loop: bool = False
    is_told_of_batches: bool = False

    @property
    def first_fold(self) -> tuple[int | None, int | None]:
        """The fold that is tried before a search, and how many there are; `None` for both without cross validation."""
        return (None, None) if self.folds is None else (0, self.folds.count)


def configuration(
    space: DeclaredSpace,
    values: dict[str, Any],
    sampling_key: tuple[int, ...] | None,
    fold: int | None = None,
    num_folds: int | None = None,
    hypermodel: HyperModel | None = None,
) -> HyperParameters:
    """The object that a trial's `data`, `build` and `fit` get: the declared space filled in, and define-by-run beyond it.

    Args:
        space: The declared space, maybe empty.
        values: By full name; declared parameters that are missing are sampled, or default without `sampling_key`.
        sampling_key: Seeds what is sampled; `None` for defaults.
        fold, num_folds: As `HyperParameters` has them.
        hypermodel: Declares hyperparameters of its own.
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
    config.mark_declared_as_asked([*existing, *derived, *(name for name in Stage.NAMES if name in values)])
    if hypermodel is not None:
        hypermodel.declare_hyperparameters(config)
    return config


def build(hypermodel: HyperModel, config: HyperParameters, compiling: Compiling) -> Any:
    """Builds the model of a configuration, compiles it if it is not compiled and the configuration says how, and checks it.

    Raises:
        NoModelError: If `build` returns no Keras model.
        ModelError: If it returns one that cannot be compiled.
    """
    with compiling.scope():
        built = hypermodel.build(config)
        model, *parts = built if isinstance(built, tuple) else (built,)
        name = method_name(hypermodel, "build")
        if len(parts) not in (0, 3):
            raise ModelError(
                f"{name} must return a model, or (model, losses, loss_weights, metrics). Received: a tuple of {len(built)}"
            )
        _check_is_model(model, name)
        if parts or (not model.compiled and tasks.can_compile(config.declared)):
            if "optimization" not in config.declared:
                raise ModelError(
                    f"{name} returned losses and metrics, and the space has no `optimization` section that says with which "
                    'optimizer the model is to be compiled. Add `"optimization": glimr_keras.optimization_space()` to it.'
                )
            tasks.compile_tasks(model, config.declared, *parts)
        compiling.apply(model)
    if not model.compiled and not overrides(hypermodel, "fit"):
        raise ModelError(
            f"{name} returned a model that is not compiled, and its configuration has no sections `tasks` and `optimization`. "
            "Call `model.compile(optimizer, loss, metrics=…)` before returning it."
        )
    return model


def _check_is_model(model: Any, name: str) -> None:
    wanted = f"Expected the model-building function to return a model: {name} must return a compiled Keras model."
    if model is None:
        raise NoModelError(f"{wanted} Received: None. Is its `return model` missing?")
    if not isinstance(model, keras.Model):
        raise NoModelError(f"{wanted} Received: {model!r} of type {type(model).__name__}")


def with_model(job: Job, config: HyperParameters, arguments: FitArguments) -> tuple[Any, FitArguments]:
    """The model of a configuration, and the data in the form that it takes.

    Raises:
        ModelError: If there is none, or its tasks are not those that have labels.
    """
    model = build(job.hypermodel, config, job.compiling)
    return model, adapted(config, model, arguments)


def adapted(config: HyperParameters, model: Any, arguments: FitArguments) -> FitArguments:
    """The data in the form that the model takes.

    Raises:
        ModelError: If the model's tasks are not those that have labels.
    """
    names = tasks.task_names(config.declared)
    tasks.check_labels(names, data.labels(arguments))
    return data.with_bare_labels(arguments) if names and tasks.takes_bare_labels(model) else arguments


def with_data(job: Job, config: HyperParameters) -> FitArguments:
    """The data of a configuration, in a cross validation that of its fold."""
    arguments = data.with_data(job.hypermodel, config, job.arguments)
    if job.folds is None or job.arguments.x is None:  # else the user's own code splits it
        return arguments
    return folds.split(arguments, job.folds, config.fold or 0)


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
