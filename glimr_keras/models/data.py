"""The data plane: training data from `search()` or `HyperModel.data`.

Runs in driver and worker.

It reads a first batch, in the size that Keras would use. From it, a model's log names and the
shapes of its inputs are found.
"""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import math
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np

from glimr_keras._utils.input_spec import describe_inputs
from glimr_keras.errors import DataError, ModelError, ShippingError
from glimr_keras.models import batch_iterators, samples, tf_datasets
from glimr_keras.models.bags import MASK, Bags
from glimr_keras.models.hypermodel import HyperModel, method_name, overrides
from glimr_keras.space.hyperparameters import HyperParameters

_OF_FIT = tuple(inspect.signature(keras.Model.fit).parameters)[1:]
"""The arguments of Keras' `fit`, by position."""

_BATCH_SIZE = 32
"""Keras' default."""


@dataclasses.dataclass(frozen=True)
class FitArguments:
    """The arguments of `HyperModel.fit` after `config` and `model`."""

    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def x(self) -> Any:
        return self.args[0] if self.args else self.kwargs.get("x")

    @property
    def y(self) -> Any:
        return self.args[1] if len(self.args) > 1 else self.kwargs.get("y")

    def value(self, name: str) -> Any:
        """Return the argument of Keras' `fit` with this name; `None` if it is not given."""
        position = _OF_FIT.index(name)
        return self.args[position] if position < len(self.args) else self.kwargs.get(name)

    @property
    def has_validation(self) -> bool:
        return self.value("validation_data") is not None or bool(self.value("validation_split"))

    def named(self) -> Iterator[tuple[str, Any]]:
        """Yield each argument with a name for messages, such as `"search()'s validation_data"`."""
        yield from (
            (f"search()'s argument {number}", value)
            for number, value in enumerate(self.args, start=1)
        )
        yield from ((f"search()'s {name}", value) for name, value in self.kwargs.items())

    def check_repeatable(self) -> None:
        """Reject data that can be read only once, since every trial reads it.

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
    """Add what `hypermodel.data(config)` returns, if overridden, to the arguments of `search()`.

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


def with_batches_of_bags(arguments: FitArguments) -> FitArguments:
    """Return the same data, with `Bags` split by `validation_split` and shuffled in each epoch.

    Keras itself does so for arrays only.
    """
    bags = arguments.x
    if not isinstance(bags, Bags):
        return arguments
    kwargs = dict(arguments.kwargs)
    split = kwargs.get("validation_split")
    kept = 0
    if isinstance(split, (float, np.floating)) and 0 < split < 1:
        kept = math.floor(bags.num_bags * (1 - split))
    if 0 < kept < bags.num_bags and kwargs.get("validation_data") is None:
        del kwargs["validation_split"]
        kwargs["validation_data"] = bags.taken(slice(kept, None))
        bags = bags.taken(slice(0, kept))
    if kwargs.get("shuffle", True):
        bags = bags.shuffled(int(np.random.randint(2**31)))
    if "x" in kwargs:
        return FitArguments((), {**kwargs, "x": bags})
    return FitArguments((bags, *arguments.args[1:]), kwargs)


def check_one_source(hypermodel: HyperModel, given: FitArguments) -> None:
    """Reject a search without data, or with data from two places.

    Raises:
        ValueError: In both cases, and if data is given although `run` takes none.
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
    """Return the labels of the training data, or only their specification.

    `None` if they cannot be read.
    """
    if tf_datasets.is_dataset(arguments.x):
        return keras.utils.unpack_x_y_sample_weight(arguments.x.element_spec)[1]
    return arguments.x.y if isinstance(arguments.x, Bags) else arguments.y


def is_at_hand(arguments: FitArguments) -> bool:
    """Return whether a first batch can be read without any work.

    The data is then arrays, tensors or frames, not a source of them.
    """
    return arguments.y is not None


def first_batch(arguments: FitArguments, reads_once: bool = False) -> tuple[Any, Any, Any] | None:
    """Return the first batch of the training data, as Keras passes it to a model.

    Args:
        arguments: The arguments of Keras' `fit`.
        reads_once: Whether to read from an iterator, which then loses its first batch. Defaults to
            `False`.

    Returns:
        `(x, y, sample_weight)`, or `None` if it cannot be read.

    Raises:
        DataError: If the data is empty.
        Exception: Any error of a source of batches.
    """
    batch = _first_batch(arguments, reads_once)
    return None if batch is None else samples.as_keras_has_it(batch)


def first_validation_batch(arguments: FitArguments) -> tuple[Any, Any, Any] | None:
    """Return the first batch of the validation data, as `first_batch`.

    `None` also if there is no such data, or if it is a part of the training data.
    """
    given = arguments.value("validation_data")
    if given is None:
        return None
    size = arguments.value("validation_batch_size") or arguments.value("batch_size")
    x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(given)
    batch = _batch_of(x, y, sample_weight, lambda count: _size_or(size, _BATCH_SIZE), False)
    return None if batch is None else samples.as_keras_has_it(batch)


def batch_sizes(arguments: FitArguments) -> Iterator[tuple[str, int, int]]:
    """Yield the name, sample count and batch size of data that Keras itself splits into batches.

    Sources of batches are left out, and so are epochs limited to some steps.
    """
    size = _size_or(arguments.value("batch_size"), _BATCH_SIZE)
    given, count = arguments.value("validation_data"), _count_of(arguments.x)
    if count is not None and arguments.value("steps_per_epoch") is None:
        split = arguments.value("validation_split") if given is None else None
        kept = math.floor(count * (1 - (split or 0.0)))
        yield from _batches_of("training data", kept, size)
        yield from _batches_of("validation data", count - kept, size)
    if given is not None:
        size = _size_or(arguments.value("validation_batch_size"), size)
        count = _count_of(keras.utils.unpack_x_y_sample_weight(given)[0])
        if count is not None and arguments.value("validation_steps") is None:
            yield from _batches_of("validation data", count, size)


def _batches_of(name: str, count: int, size: int) -> Iterator[tuple[str, int, int]]:
    if count > 0:
        yield name, count, min(size, count)


def _count_of(x: Any) -> int | None:
    """Return the number of samples of arrays; `None` for a source of batches or no data."""
    if x is None or is_source(x):
        return None
    leaves = samples.leaves(x)
    return samples.count(leaves[0]) if leaves and samples.has_samples(leaves[0]) else None


def is_source(x: Any) -> bool:
    """Return whether it yields whole batches, with labels and weights, like a `PyDataset`."""
    return (
        isinstance(x, (keras.utils.PyDataset, Iterator))
        or tf_datasets.is_dataset(x)
        or (
            any(kind.__module__.startswith(_LOADERS) for kind in type(x).__mro__)
            and hasattr(x, "__iter__")
            and not hasattr(x, "shape")
        )
    )


_LOADERS = ("torch.utils.data.dataloader", "grain.")
"""Modules of loaders of other libraries whose batches Keras takes."""


def num_batches(source: Any) -> int | None:
    """Return the number of batches of a source; `None` if unknown."""
    if tf_datasets.is_dataset(source):
        count = int(source.cardinality())
        return count if count >= 0 else None
    with contextlib.suppress(TypeError, NotImplementedError):  # it has no end, or does not know it
        if isinstance(source, keras.utils.PyDataset):
            return source.num_batches
        return len(source)
    return None


def _first_batch(arguments: FitArguments, reads_once: bool) -> tuple[Any, Any, Any] | None:
    def size(count: int) -> int:
        split = arguments.value("validation_split")
        if isinstance(split, (float, np.floating)) and arguments.value("validation_data") is None:
            count = math.floor(count * (1 - split))
        steps = _size_or(arguments.value("steps_per_epoch"), 0)
        usual = math.ceil(count / steps) if steps else _BATCH_SIZE
        return min(_size_or(arguments.value("batch_size"), usual), count)

    weight = arguments.value("sample_weight")
    return _batch_of(arguments.x, arguments.y, weight, size, reads_once)


def _batch_of(
    x: Any, y: Any, sample_weight: Any, size: Callable[[int], int], reads_once: bool
) -> tuple[Any, Any, Any] | None:
    if is_source(x):
        is_read_again = isinstance(x, keras.utils.PyDataset) or not isinstance(x, Iterator)
        if not is_read_again and not reads_once:
            return None
        return keras.utils.unpack_x_y_sample_weight(_from_source(x))
    data = samples.leaves((x, y, sample_weight))
    if x is None or not all(map(samples.has_samples, data)):
        return None
    chosen = slice(0, size(samples.count(data[0])))
    return samples.taken((x, y, sample_weight), chosen)


def _from_source(source: Any) -> Any:
    """Return a first batch.

    Raises:
        DataError: If the source is empty.
    """
    if num_batches(source) != 0:
        if isinstance(source, keras.utils.PyDataset):
            try:
                return source[0]
            except Exception:  # it may prepare itself at the start of an epoch
                source.on_epoch_begin()
                return source[0]
        batches = source.take(1) if tf_datasets.is_dataset(source) else source
        for batch in batches:
            return batch
    raise DataError(
        "Data must have samples. Received: an empty "
        f"{'tf.data.Dataset' if tf_datasets.is_dataset(source) else type(source).__name__}. "
        "Does a filter, `take` or `skip` leave nothing of it?"
    )


def _size_or(given: Any, usual: int) -> int:
    is_size = isinstance(given, (int, np.integer)) and not isinstance(given, bool) and given > 0
    return int(given) if is_size else usual


def describe(arguments: FitArguments) -> Any:
    """Return the structure of the model's inputs, for `checkpoints.Checkpoint.inputs`.

    `None` if it cannot be found.
    """
    batch = _a_batch(arguments)
    if tf_datasets.is_dataset(arguments.x):
        return _described(batch, 0)
    try:
        return _described(None if batch is None else samples.as_keras_has_it(batch), 0)
    except Exception:
        return None


def shapes_of(arguments: FitArguments) -> dict[str, Any]:
    """Return the structure of `"inputs"` and `"labels"`, as far as known and stable.

    It is the same for the same data. For sources of batches, such as a `PyDataset`, it has the last
    axes only, since batches may be padded.
    """
    batch = _a_batch(arguments)
    if batch is not None:
        batch = samples.plain(batch)
    found = {"inputs": _described(batch, 0), "labels": _described(batch, 1)}
    is_batched = is_source(arguments.x) and not tf_datasets.is_dataset(arguments.x)
    found = {
        name: _last_axes(shape) if is_batched else shape
        for name, shape in found.items()
        if shape is not None
    }
    if isinstance(arguments.x, Bags):  # the last axis counts the tiles of one batch
        found["inputs"]["dict"][MASK]["shape"] = [None]
    return found


def _last_axes(shapes: Any) -> Any:
    if "dict" in shapes:
        return {"dict": {name: _last_axes(part) for name, part in shapes["dict"].items()}}
    if "list" in shapes:
        return {"list": [_last_axes(part) for part in shapes["list"]]}
    shape = shapes["shape"]
    return {**shapes, "shape": [None] * (len(shape) - 1) + shape[-1:]}


def _a_batch(arguments: FitArguments) -> Any:
    """Return a first batch, or the specification of a pipeline.

    A pipeline's first batch may cost a whole shuffle buffer. `None` for data that Keras would not
    take; a user-defined `fit` may take anything.
    """
    if tf_datasets.is_dataset(arguments.x):
        return keras.utils.unpack_x_y_sample_weight(arguments.x.element_spec)
    try:
        return _first_batch(arguments, reads_once=False)
    except Exception:
        return None


def _described(batch: Any, part: int) -> Any:
    try:
        return None if batch is None or batch[part] is None else describe_inputs(batch[part])
    except (AttributeError, TypeError, ValueError):
        return None


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        for branch in value.values():
            yield from _leaves(branch)
    elif type(value) in (list, tuple) and len(value) < 1000:  # longer ones are rows of data
        for branch in value:
            yield from _leaves(branch)
    else:
        yield value


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
