"""The context that all executions of a search share, and the model, data and arguments of one
execution. Runs in driver and worker.
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
    """The settings that all trials of a search share, sent to each worker once.

    Attributes:
        hypermodel: Builds the models.
        space: The declared hyperparameters.
        objective: The objective as the user gave it; its direction may not be known yet.
        arguments: The data and arguments of `fit`.
        callbacks: The user's callbacks.
        cpus: The number of CPUs of a trial, and so of threads; `None` means those of the process.
        gpus: The number of GPUs of a trial, which may be a fraction.
        fit_verbose: Keras' `verbose` inside the worker.
        session: Keras' settings in the driver.
        folds: How cross validation splits the data; `None` without cross validation.
        max_model_size: The largest number of parameters of a model; `None` for no limit.
        compile_overrides: Overrides of how models are compiled.
        trackers: Where the script logs to, by package, for each package with a callback.
        reuse_graphs: Whether a model may reuse the graphs that were traced for an equal one.
        keep_predictions: Whether to keep the models' predictions for validation samples.
        loop: The loop that trains each execution.
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
        """Return the fold that is tried before a search, and the number of folds; `None` for both
        without cross validation.
        """
        return (None, None) if self.folds is None else (0, self.folds.count)


def with_model(
    context: TrialContext, config: HyperParameters, arguments: FitArguments
) -> tuple[Any, FitArguments]:
    """Build a configuration's model, and return it with the data in the form that it takes.

    Raises:
        ModelError: If no model is built, or its tasks do not match the labels.
    """
    model = build(context.hypermodel, config, context.compile_overrides)
    return model, adapted(config, model, arguments)


def with_data(context: TrialContext, config: HyperParameters) -> FitArguments:
    """Return the data of a configuration; in a cross validation, the data of its fold."""
    arguments = data.with_data(context.hypermodel, config, context.arguments)
    if context.folds is not None and context.arguments.x is not None:
        arguments = folds.split(arguments, context.folds, config.fold or 0)
    return data.with_batches_of_bags(arguments)  # without folds, the user's code splits the data


def fit_kwargs(
    context: TrialContext, config: HyperParameters, arguments: FitArguments
) -> dict[str, Any]:
    """Return the keyword arguments of `fit`. The configuration may set the number of epochs."""
    epochs = tasks.epochs_of(config.declared)
    kwargs = {} if epochs is None else {"epochs": epochs}
    if tf_datasets.is_dataset(arguments.x) and context.loop.is_keras_fit:
        kwargs["shuffle"] = False  # by default Keras warns that it cannot shuffle a pipeline
    return {**kwargs, **arguments.kwargs}


def taken_by(model: Any, kwargs: dict[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keyword arguments without those that a user-defined `fit` of the model does not
    accept.

    Only arguments that were added here are left out.

    Args:
        model: The model to be trained.
        kwargs: The keyword arguments of `fit`.
        given: The arguments that the user gave.
    """
    taken = arguments_of(type(model).fit)
    return {
        name: value
        for name, value in kwargs.items()
        if taken is None or name in taken or name in given or name not in ("shuffle", "verbose")
    }


def task_logs(context: TrialContext, config: HyperParameters) -> list[tasks.TaskLogs]:
    """Return the objects that name the logs after tasks, if there are any tasks."""
    names = tasks.task_names(config.declared)
    return [tasks.TaskLogs(names, context.hypermodel.logs_validation_only)] if names else []
