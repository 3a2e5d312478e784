"""Labels under the names that Keras takes: none for one output, one for each of several.

Keras; runs in driver and worker.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from glimr_keras.errors import ModelError
from glimr_keras.models import data, samples, tasks, tf_datasets
from glimr_keras.models.bags import Bags
from glimr_keras.models.data import FitArguments
from glimr_keras.space.hyperparameters import HyperParameters

_Named = Callable[[Any, Any], tuple[Any, Any]]
"""A function that renames labels and weights, of all samples or of a batch."""


def adapted(config: HyperParameters, model: Any, arguments: FitArguments) -> FitArguments:
    """Return the data in the form that the model takes.

    Raises:
        ModelError: If the model's tasks are not those that have labels.
    """
    names = tasks.task_names(config.declared)
    bare = tasks.outputs_without_task(model)
    tasks.check_labels(names, data.labels(arguments), bare)
    if bare:
        return with_all_names(arguments, tasks.outputs_with_loss(model), bare)
    if names and tasks.takes_bare_labels(model):
        return with_bare_labels(arguments)
    return arguments


def with_bare_labels(arguments: FitArguments) -> FitArguments:
    """Return the same data, with a single label taken out of its dict.

    Loaders name labels after tasks, but Keras takes no name for the label of a model with one
    output.
    """
    return _renamed(arguments, _bare)


def with_all_names(
    arguments: FitArguments, tasks: Sequence[str], others: Sequence[str]
) -> FitArguments:
    """Return the same data, with placeholder labels for outputs that are not tasks.

    Keras takes labels only for all outputs.

    Args:
        arguments: The data.
        tasks: The outputs with a loss.
        others: The outputs without a loss.

    Raises:
        ModelError: If labels have no names and there are several tasks.
    """
    return _renamed(arguments, functools.partial(_all_named, tuple(tasks), tuple(others)))


def _bare(y: Any, weight: Any) -> tuple[Any, Any]:
    return _only(y), _only(weight)


def _only(part: Any) -> Any:
    return next(iter(part.values())) if isinstance(part, dict) and len(part) == 1 else part


def _all_named(
    tasks: tuple[str, ...], others: tuple[str, ...], y: Any, weight: Any
) -> tuple[Any, Any]:
    if y is None:
        return y, weight
    if not isinstance(y, dict):
        if len(tasks) != 1:
            raise ModelError(
                "Where a model has outputs that are no task, labels must be in a dict by task. "
                f"Received: a {type(y).__name__}, the tasks {list(tasks)} and the other outputs "
                f"{list(others)}"
            )
        y = {tasks[0]: y}
    some = next(label for label in y.values() if label is not None)
    missing = {name: _placeholder(some) for name in others if y.get(name) is None}
    if isinstance(weight, dict):
        weight = {
            **{name: value for name, value in missing.items() if name not in weight},
            **weight,
        }
    return {**y, **missing}, weight


def _placeholder(label: Any) -> Any:
    """Return zeros, one for each sample of a label, shape (samples, 1)."""
    if samples.is_of(label, "tensorflow"):  # perhaps in the graph of a pipeline
        import tensorflow as tf

        return tf.zeros((tf.shape(label)[0], 1))
    return np.zeros((samples.count(label), 1), "float32")


def _renamed(arguments: FitArguments, named: _Named) -> FitArguments:
    args, kwargs = list(arguments.args), dict(arguments.kwargs)
    y, weight = named(arguments.y, kwargs.get("sample_weight"))
    if len(args) > 1:
        args[1] = y
    elif "y" in kwargs:
        kwargs["y"] = y
    elif args:
        args[0] = _source(args[0], named)
    else:
        kwargs["x"] = _source(kwargs.get("x"), named)
    if "sample_weight" in kwargs:
        kwargs["sample_weight"] = weight
    validation = kwargs.get("validation_data")
    if isinstance(validation, (tuple, list)):
        x, y, weight = keras.utils.unpack_x_y_sample_weight(validation)
        kwargs["validation_data"] = (x, *named(y, weight))[: len(validation)]
    elif validation is not None:
        kwargs["validation_data"] = _source(validation, named)
    return FitArguments(tuple(args), kwargs)


def _source(source: Any, named: _Named) -> Any:
    if isinstance(source, Bags):
        return _of_bags(source, named)
    if isinstance(source, keras.utils.PyDataset):
        return _Renamed(source, named)
    if not tf_datasets.is_dataset(source) or not isinstance(source.element_spec, tuple):
        return source

    def renamed(x: Any, *rest: Any) -> tuple[Any, ...]:
        y, weight = named(*(*rest, None, None)[:2])
        return (x, y, weight)[: 1 + len(rest)]

    return source.map(renamed)


def _of_bags(bags: Bags, named: _Named) -> Bags:
    y, weight = named(bags.y, bags.sample_weight)
    return bags.replace(y=y, sample_weight=weight)


class _Renamed(keras.utils.PyDataset):
    """A dataset whose labels have other names."""

    def __init__(self, dataset: keras.utils.PyDataset, named: _Named) -> None:
        super().__init__(dataset.workers, dataset.use_multiprocessing, dataset.max_queue_size)
        self._dataset, self._named = dataset, named

    def __getitem__(self, index: int) -> Any:
        x, y, weight = keras.utils.unpack_x_y_sample_weight(self._dataset[index])
        return keras.utils.pack_x_y_sample_weight(x, *self._named(y, weight))

    @property
    def num_batches(self) -> int | None:
        return self._dataset.num_batches

    def on_epoch_begin(self) -> None:
        self._dataset.on_epoch_begin()

    def on_epoch_end(self) -> None:
        self._dataset.on_epoch_end()
