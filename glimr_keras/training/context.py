"""What all executions of a search share, and the model, data and arguments of one. Runs in driver
and worker.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import keras

from glimr_keras._utils.signatures import arguments_of
from glimr_keras.models import data, folds, tasks, tf_datasets
from glimr_keras.models.build import build
from glimr_keras.models.compile_overrides import CompileOverrides
from glimr_keras.models.data import FitArguments
from glimr_keras.models.folds import Folds
from glimr_keras.models.hypermodel import HyperModel
from glimr_keras.models.label_names import adapted
from glimr_keras.space.declared_space import DeclaredSpace
from glimr_keras.space.hyperparameters import HyperParameters
from glimr_keras.training.keras_session import Session
from glimr_keras.training.tracker_callbacks import Tracker
from glimr_keras.training.trial_loop import TrialLoop
from glimr_keras.trials.objective import Objective


@dataclasses.dataclass(frozen=True)
class TrialContext:
    """What every trial of a search shares; sent to each worker once.

    Attributes:
        objective: As the user gave it; its direction may not be known yet.
        cpus: CPUs of a trial, and so threads; `None` for those that the process has.
        gpus: GPUs of a trial, which may be a part of one.
        fit_verbose: Keras' `verbose` inside the worker.
        session: Keras' settings in the driver.
        folds: How the data is split for cross validation; `None` without.
        max_model_size: Parameters that a model may have; `None` for any number.
        compile_overrides: In the place of how models are compiled.
        trackers: Where the script logs to, by package, where a callback of that package is given.
        reuse_graphs: Whether a model may train by graphs that were traced for an equal one.
        loop: How each execution trains.
        keep_predictions: Whether what models predict for validation samples is kept.
    """

    hypermodel: HyperModel
    space: DeclaredSpace
    objective: Objective
    arguments: FitArguments
    callbacks: tuple[keras.callbacks.Callback, ...] = ()
    cpus: float | None = None
    gpus: float = 0
    fit_verbose: int = 0
    session: Session = dataclasses.field(default_factory=Session.current)
    folds: Folds | None = None
    max_model_size: int | None = None
    compile_overrides: CompileOverrides = dataclasses.field(default_factory=CompileOverrides)
    trackers: Mapping[str, Tracker] = dataclasses.field(default_factory=dict)
    reuse_graphs: bool = True
    keep_predictions: bool = False
    loop: TrialLoop = dataclasses.field(kw_only=True)

    @property
    def first_fold(self) -> tuple[int | None, int | None]:
        """The fold that is tried before a search, and how many there are; `None` for both without
        cross validation.
        """
        return (None, None) if self.folds is None else (0, self.folds.count)


def with_model(
    context: TrialContext, config: HyperParameters, arguments: FitArguments
) -> tuple[Any, FitArguments]:
    """The model of a configuration, and the data in the form that it takes.

    Raises:
        ModelError: If there is none, or its tasks are not those that have labels.
    """
    model = build(context.hypermodel, config, context.compile_overrides)
    return model, adapted(config, model, arguments)


def with_data(context: TrialContext, config: HyperParameters) -> FitArguments:
    """The data of a configuration, in a cross validation that of its fold."""
    arguments = data.with_data(context.hypermodel, config, context.arguments)
    if context.folds is not None and context.arguments.x is not None:
        arguments = folds.split(arguments, context.folds, config.fold or 0)
    return data.with_batches_of_bags(arguments)  # without folds, the user's own code splits it


def fit_kwargs(
    context: TrialContext, config: HyperParameters, arguments: FitArguments
) -> dict[str, Any]:
    """The keyword arguments of `fit`; the configuration may say how many epochs there are."""
    epochs = tasks.epochs_of(config.declared)
    kwargs = {} if epochs is None else {"epochs": epochs}
    if tf_datasets.is_dataset(arguments.x) and context.loop.is_keras_fit:
        kwargs["shuffle"] = False  # by default Keras warns that it cannot shuffle a pipeline
    return {**kwargs, **arguments.kwargs}


def taken_by(model: Any, kwargs: dict[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """The keyword arguments without those that were added here and that the model's `fit` does not
    take, where that is the user's own.

    Args:
        given: What the user gave.
    """
    taken = arguments_of(type(model).fit)
    return {
        name: value
        for name, value in kwargs.items()
        if taken is None or name in taken or name in given or name not in ("shuffle", "verbose")
    }


def task_logs(context: TrialContext, config: HyperParameters) -> list[tasks.TaskLogs]:
    """What names the logs after tasks, where there are any."""
    names = tasks.task_names(config.declared)
    return [tasks.TaskLogs(names, context.hypermodel.logs_validation_only)] if names else []
