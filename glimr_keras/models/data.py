"""The data plane: what is trained on, from `search()` or from `HyperModel.data`. Runs in driver and
worker.

Only this module looks into data. It reads a first batch, from which a model's log names and the
shapes of its inputs are found.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from glimr_keras._utils.input_spec import describe_inputs
from glimr_keras.errors import ModelError, ShippingError
from glimr_keras.models import batch_iterators, tf_datasets
from glimr_keras.models.hypermodel import HyperModel, method_name, overrides
from glimr_keras.space.hyperparameters import HyperParameters

_FEW = 3
"""Samples that are evaluated before a search: enough for labels of a wrong shape to be found out.
"""


@dataclasses.dataclass(frozen=True)
class FitArguments:
    """What `HyperModel.fit` gets after `config` and `model`."""

    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def x(self) -> Any:
        return self.args[0] if self.args else self.kwargs.get("x")

    @property
    def y(self) -> Any:
        return self.args[1] if len(self.args) > 1 else self.kwargs.get("y")

    @property
    def has_validation(self) -> bool:
        return self.kwargs.get("validation_data") is not None or bool(
            self.kwargs.get("validation_split")
        )

    def named(self) -> Iterator[tuple[str, Any]]:
        """Each argument with a name for messages, such as `"search()'s validation_data"`."""
        yield from (
            (f"search()'s argument {number}", value)
            for number, value in enumerate(self.args, start=1)
        )
        yield from ((f"search()'s {name}", value) for name, value in self.kwargs.items())

    def check_repeatable(self) -> None:
        """Refuses data that can be read once only, while every trial reads it.

        Raises:
            ShippingError: If a generator or another iterator is among the arguments.
        """
        for name, value in self.named():
            for leaf in _leaves(value):
                if isinstance(leaf, Iterator) and not batch_iterators.can_be_reread(leaf):
                    raise ShippingError(
                        f"{name} is a {type(leaf).__name__}, which can be read once only, while "
                        "every trial reads the data. Make it where it is used: move the code "
                        "that creates it into `HyperModel.data(config)` and return `(train, "
                        "validation)` there."
                    )


def with_data(hypermodel: HyperModel, config: HyperParameters, given: FitArguments) -> FitArguments:
    """Adds what `hypermodel.data(config)` returns, if the class has `data`, to the arguments given
    to `search()`.

    Raises:
        ModelError: If `data` does not return a pair.
    """
    if not overrides(hypermodel, "data"):
        return given
    returned = hypermodel.data(config)
    if not isinstance(returned, (tuple, list)) or len(returned) != 2:
        raise ModelError(
            f"{method_name(hypermodel, 'data')} must return `(train, validation)`. Received: "
            f"{_short(returned)}"
        )
    train, validation = returned
    x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(train)
    kwargs = dict(given.kwargs)
    if validation is not None:
        kwargs["validation_data"] = validation
    if sample_weight is not None:
        kwargs["sample_weight"] = sample_weight
    return FitArguments((x,) if y is None else (x, y), kwargs)


def check_one_source(hypermodel: HyperModel, given: FitArguments) -> None:
    """Refuses a search with no data, or with data from two places.

    Raises:
        ValueError: In both cases, and if there is data where `run` takes none.
    """
    if overrides(hypermodel, "run"):
        received = [name for name, _ in given.named() if name != "search()'s verbose"]
        if received:
            raise ValueError(
                f"{method_name(hypermodel, 'run')} gets nothing but `config`, so `search()` "
                f"takes only `verbose` here. Received: {', '.join(received)}"
            )
        return
    if overrides(hypermodel, "data"):
        if any(
            part is not None for part in (given.x, given.y, given.kwargs.get("validation_data"))
        ):
            raise ValueError(
                "Data came from two places: `search()` was given data, and "
                f"{type(hypermodel).__name__} has `data(config)`. Give it in one of them."
            )
    elif given.x is None and not overrides(hypermodel, "fit"):
        raise ValueError(
            "There is no data to train on: give it to `search(x, y, …)`, or override "
            "`HyperModel.data(config)`. Received: search() with "
            f"{sorted(given.kwargs) or 'no arguments'}"
        )


def labels(arguments: FitArguments) -> Any:
    """The labels of the training data, or only their specification; `None` if they cannot be looked
    at.
    """
    if tf_datasets.is_dataset(arguments.x):
        return keras.utils.unpack_x_y_sample_weight(arguments.x.element_spec)[1]
    return arguments.y


def with_bare_labels(arguments: FitArguments) -> FitArguments:
    """The same data with labels that are not in a dict, where there is a dict with one label.
    Loaders name labels after tasks, but Keras takes no names for the label of a model with one
    output.
    """
    args, kwargs = list(arguments.args), dict(arguments.kwargs)
    if len(args) > 1:
        args[1] = _only(args[1])
    elif "y" in kwargs:
        kwargs["y"] = _only(kwargs["y"])
    elif args:
        args[0] = _bare(args[0])
    else:
        kwargs["x"] = _bare(kwargs.get("x"))
    validation = kwargs.get("validation_data")
    if isinstance(validation, (tuple, list)):
        kwargs["validation_data"] = (validation[0], *map(_only, validation[1:]))
    elif validation is not None:
        kwargs["validation_data"] = _bare(validation)
    if "sample_weight" in kwargs:
        kwargs["sample_weight"] = _only(kwargs["sample_weight"])
    return FitArguments(tuple(args), kwargs)


class _BareLabels(keras.utils.PyDataset):
    """A dataset without names for its one label."""

    def __init__(self, dataset: keras.utils.PyDataset) -> None:
        super().__init__(dataset.workers, dataset.use_multiprocessing, dataset.max_queue_size)
        self._dataset = dataset

    def __getitem__(self, index: int) -> Any:
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(self._dataset[index])
        return keras.utils.pack_x_y_sample_weight(x, _only(y), _only(sample_weight))

    @property
    def num_batches(self) -> int | None:
        return self._dataset.num_batches

    def on_epoch_begin(self) -> None:
        self._dataset.on_epoch_begin()

    def on_epoch_end(self) -> None:
        self._dataset.on_epoch_end()


def _bare(source: Any) -> Any:
    if isinstance(source, keras.utils.PyDataset):
        return _BareLabels(source)
    if not tf_datasets.is_dataset(source) or not isinstance(source.element_spec, tuple):
        return source
    return source.map(lambda x, *rest: (x, *map(_only, rest)))


def _only(part: Any) -> Any:
    return next(iter(part.values())) if isinstance(part, dict) and len(part) == 1 else part


def is_at_hand(arguments: FitArguments) -> bool:
    """Whether a first batch can be read without any work: the data is arrays, tensors or frames,
    and not a source of them.
    """
    return arguments.y is not None


def first_batch(arguments: FitArguments) -> tuple[Any, Any, Any] | None:
    """A few samples of the training data as `(x, y, sample_weight)`, or `None` if they cannot be
    read.
    """
    x, y = arguments.x, arguments.y
    if x is None:
        return None
    if (
        y is not None
        or isinstance(x, (np.ndarray, dict, list))
        or keras.ops.is_tensor(x)
        or hasattr(x, "iloc")
    ):
        return _first_samples((x, y, None))
    if isinstance(x, keras.utils.PyDataset):
        return _first_samples(keras.utils.unpack_x_y_sample_weight(x[0]))
    if tf_datasets.is_dataset(x):
        batch = next(iter(x.take(1)), None)
        if batch is None:
            raise ModelError(
                "The training data is empty. Received: a tf.data.Dataset without elements."
            )
        return _first_samples(keras.utils.unpack_x_y_sample_weight(batch))
    if type(x).__module__.startswith("torch.") and hasattr(x, "__iter__"):
        return _first_samples(keras.utils.unpack_x_y_sample_weight(next(iter(x))))
    return None


def describe(arguments: FitArguments) -> Any:
    """The structure of the model's inputs, for `checkpoints.Checkpoint.inputs`; `None` if it cannot
    be found.
    """
    return _described(_a_batch(arguments), 0)


def shapes_of(arguments: FitArguments) -> dict[str, Any]:
    """The structure of `"inputs"` and `"labels"`, as far as it is known and will be the same for
    the same data: of sources of batches, such as a `PyDataset`, the last axes only, since batches
    may be padded.
    """
    batch = _a_batch(arguments)
    found = {"inputs": _described(batch, 0), "labels": _described(batch, 1)}
    is_batched = isinstance(arguments.x, keras.utils.PyDataset) or type(
        arguments.x
    ).__module__.startswith("torch.")
    return {
        name: _last_axes(shape) if is_batched else shape
        for name, shape in found.items()
        if shape is not None
    }


def _last_axes(shapes: Any) -> Any:
    if "dict" in shapes:
        return {"dict": {name: _last_axes(part) for name, part in shapes["dict"].items()}}
    if "list" in shapes:
        return {"list": [_last_axes(part) for part in shapes["list"]]}
    shape = shapes["shape"]
    return {**shapes, "shape": [None] * (len(shape) - 1) + shape[-1:]}


def _a_batch(arguments: FitArguments) -> Any:
    """A first batch, or of a pipeline, whose first batch may cost a whole shuffle buffer, its
    specification; `None` of what Keras itself would not take: a `fit` of the user's own may take
    anything.
    """
    if tf_datasets.is_dataset(arguments.x):
        return keras.utils.unpack_x_y_sample_weight(arguments.x.element_spec)
    try:
        return first_batch(arguments)
    except Exception:
        return None


def _described(batch: Any, part: int) -> Any:
    try:
        return None if batch is None or batch[part] is None else describe_inputs(batch[part])
    except (AttributeError, TypeError, ValueError):
        return None


def _first_samples(batch: tuple[Any, Any, Any]) -> tuple[Any, Any, Any]:
    x, y, sample_weight = (_sliced(part) for part in batch)
    return x, y, sample_weight


def _sliced(part: Any) -> Any:
    if part is None:
        return None
    if isinstance(part, dict):
        return {key: _sliced(value) for key, value in part.items()}
    if isinstance(part, (list, tuple)):
        return type(part)(_sliced(value) for value in part)
    return part.iloc[:_FEW].to_numpy() if hasattr(part, "iloc") else part[:_FEW]


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        for branch in value.values():
            yield from _leaves(branch)
    elif type(value) in (list, tuple) and len(value) < 1000:  # longer ones are data by the row
        for branch in value:
            yield from _leaves(branch)
    else:
        yield value


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
