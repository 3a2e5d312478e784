"""Reject arguments that Keras' own `fit` cannot train with, before any training.

Runs in driver and worker.

Keras finds some of them only after an epoch, and some of its errors do not name the argument.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping
from typing import Any

import keras
import numpy as np

from glimr_keras._utils.signatures import arguments_of
from glimr_keras.errors import DataError, did_you_mean
from glimr_keras.models import data, samples
from glimr_keras.models.bags import Bags, bags_hint
from glimr_keras.models.data import FitArguments

_AT_LEAST = {
    "epochs": 1,
    "initial_epoch": 0,
    "batch_size": 0,
    "steps_per_epoch": None,
    "validation_steps": None,
    "validation_batch_size": 0,
}
"""The integers that `fit` takes, with their minimum; a batch size of 0 means Keras' default. Any
number of steps below 1 means all data.
"""

_ENCODE = (
    "Encode them before the search, such as by `pandas.get_dummies(frame)`, "
    '`column.cat.codes` or `column.astype("float32")`, and fill in what is missing.'
)


def check_fit(model: keras.Model, arguments: FitArguments) -> None:
    """Reject arguments that Keras' own `fit` cannot train with.

    A model with its own `fit` may take anything.

    Args:
        model: The model.
        arguments: The arguments of the model's `fit`.

    Raises:
        DataError: If a problem is found without reading a batch.
    """
    if type(model).fit is keras.Model.fit:
        for name, at_least in _AT_LEAST.items():
            _check_number(name, arguments.value(name), at_least)
    check_data(model, arguments)


def check_data(model: keras.Model, arguments: FitArguments) -> None:
    """Reject unsuitable data and argument names, but not numbers, which user code chose.

    Args:
        model: The model.
        arguments: The arguments of the model's `fit`.

    Raises:
        DataError: If a problem is found without reading a batch.
    """
    _check_names(model, arguments.kwargs)
    if type(model).fit is keras.Model.fit:
        weight = arguments.value("sample_weight")
        _check_bags(arguments)
        _check_source("x", arguments.x, arguments.y, weight)
        _check_samples({"x": arguments.x, "y": arguments.y, "sample_weight": weight})
        _check_validation(arguments)


def _check_names(model: keras.Model, given: Mapping[str, Any]) -> None:
    """Reject arguments that the model's `fit` does not have."""
    taken = arguments_of(type(model).fit)
    if taken is None:
        return
    known = sorted(taken - {"self"})
    for name in given:
        if name not in known:
            raise DataError(
                f"What `search()` is given goes to `fit`, which has no argument {name!r}."
                f"{did_you_mean(name, known)} Leave it out, or override `HyperModel.fit` to take "
                f"it. It has: {', '.join(known)}"
            )


def _check_number(name: str, value: Any, at_least: int | None) -> None:
    if value is None:
        return
    is_integer = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    if not is_integer or (at_least is not None and value < at_least):
        bound = "" if at_least is None else f" of at least {at_least}"
        raise DataError(f"`{name}` must be an integer{bound}. Received: {name}={value!r}")


def _check_bags(arguments: FitArguments) -> None:
    """Reject a batch size together with bags, which Keras would ignore."""
    validation = arguments.value("validation_data")
    for name, x in (("batch_size", arguments.x), ("validation_batch_size", validation)):
        size = arguments.value(name)
        if isinstance(x, Bags) and size is not None:
            raise DataError(
                f"`Bags` make their own batches, so there is no `{name}` beside them. Give "
                f"`Bags(…, batch_size={size!r})`, or in a `fit` of your own "
                f"`bags.replace(batch_size={size!r})`. Received: {name}={size!r}"
            )


def _check_source(name: str, x: Any, y: Any, weight: Any) -> None:
    """Reject labels together with a source of batches, which has its own."""
    if data.is_source(x):
        for other, part in (("y", y), ("sample_weight", weight)):
            if part is not None:
                how = f" Give `glimr_keras.Bags(bags, {other}=…)`." if isinstance(x, Bags) else ""
                raise DataError(
                    f"`{name}` gives whole batches, with labels and weights in them, so there is "
                    f"no `{other}` beside it. Received: a {type(x).__name__} and `{other}`.{how}"
                )
        if data.num_batches(x) == 0:
            raise DataError(f"`{name}` must have samples. Received: an empty {type(x).__name__}")


def _check_samples(parts: dict[str, Any]) -> None:
    """Reject arrays that Keras does not take, or with different numbers of samples."""
    given = {name: part for name, part in parts.items() if part is not None}
    if not given or data.is_source(next(iter(given.values()))):
        return
    hint = bags_hint(*list(given.values())[:2])
    if hint:
        raise DataError(f"`{next(iter(given))}` must have one array for each input.{hint}")
    sizes: dict[str, list[int]] = {}
    for name, part in given.items():
        found = samples.leaves(part)
        for leaf in found:
            _check_kind(name, leaf)
        sizes[name] = sorted(set(map(samples.count, filter(samples.has_samples, found))))
    counts = {size for each in sizes.values() for size in each}
    received = ", ".join(
        f"{name} with {' and '.join(map(str, each))}" for name, each in sizes.items()
    )
    if len(counts) > 1:
        raise DataError(
            f"All data must have the same number of samples. Received: {received}. Do the arrays "
            "come from the same rows, with samples on their first axis?"
        )
    if counts == {0}:
        raise DataError(f"Data must have samples. Received: {received}")


def _check_kind(name: str, leaf: Any) -> None:
    """Reject an array, frame or tensor that Keras cannot convert to numbers."""
    if not samples.has_samples(leaf):
        if type(leaf).__module__ != "builtins":  # another version of Keras may take it
            return
        raise DataError(
            f"`{name}` must be arrays, frames or tensors, or lists and dicts of those. Received: "
            f"a {type(leaf).__name__} in it, {leaf!r:.80}. Make an array of it: "
            f"`numpy.asarray({name})`."
        )
    rows = samples.rows_of_entries(leaf) if keras.backend.backend() == "tensorflow" else None
    if rows is not None and (np.diff(rows) < 0).any():
        raise DataError(
            f"`{name}` must hold its entries row by row, or Keras cannot cut it into batches. "
            f"Received: a {type(leaf).__name__}. Give `.tocsr()` of a SciPy matrix, and "
            "`tf.sparse.reorder` of a tensor."
        )
    odd = list(_odd_columns(leaf))
    if not odd:
        return
    try:
        samples.as_keras_has_it(leaf)
    except Exception as error:
        reason = str(error).splitlines() or [type(error).__name__]
        raise DataError(
            f"`{name}` must be numbers that Keras can make a tensor of. Received: {_listed(odd)}. "
            f"{_ENCODE} Keras says: {reason[0]}"
        ) from error


def _odd_columns(leaf: Any) -> Iterator[str]:
    """Yield the columns that are not plain numbers, with their types."""
    if isinstance(leaf, np.ndarray):
        if not samples.is_plain(leaf.dtype):
            yield f"an array of {_named(leaf.dtype, leaf)}"
    elif hasattr(leaf, "iloc") and len(leaf.shape) == 1:
        if not samples.is_plain(leaf.dtype):
            yield f"the column {leaf.name!r} of {_named(leaf.dtype, leaf)}"
    elif hasattr(leaf, "iloc"):
        columns = [leaf.iloc[:, position] for position in range(leaf.shape[1])]
        types = {column.dtype.kind for column in columns}
        are_mixed = "b" in types and types <= set("biuf") and len(types) > 1
        for column in columns:
            if not samples.is_plain(column.dtype) or (are_mixed and column.dtype.kind == "b"):
                yield f"the column {column.name!r} of {_named(column.dtype, column)}"


def _named(dtype: Any, values: Any) -> str:
    missing = 0
    with contextlib.suppress(Exception):
        missing = int(values.isna().sum())
    return f"type {dtype}" + (f" with {missing} missing" if missing else "")


def _listed(odd: list[str]) -> str:
    shown = ", ".join(odd[:10])
    return shown if len(odd) <= 10 else f"{shown} and {len(odd) - 10} more"


def _check_validation(arguments: FitArguments) -> None:
    given, split = arguments.value("validation_data"), arguments.value("validation_split")
    if given is None:
        if split is not None:
            _check_split(split, arguments)
        return
    x, y, weight = _unpacked(given)
    names = ("validation_data's x", "validation_data's y", "validation_data's sample_weight")
    _check_source(names[0], x, y, weight)
    _check_samples(dict(zip(names, (x, y, weight), strict=True)))


def _unpacked(given: Any) -> tuple[Any, Any, Any]:
    if isinstance(given, (tuple, list)) and not 1 <= len(given) <= 3:
        raise DataError(
            "`validation_data` must be `(x, y)`, `(x, y, sample_weight)` or a source of batches. "
            f"Received: a {type(given).__name__} of {len(given)}"
        )
    return keras.utils.unpack_x_y_sample_weight(given)


def _check_split(split: Any, arguments: FitArguments) -> None:
    is_number = isinstance(split, (int, float, np.number)) and not isinstance(split, bool)
    if not is_number or not 0 <= split < 1:
        raise DataError(
            "`validation_split` must be a number from 0 to less than 1, the part of the samples "
            f"that models are validated on. Received: validation_split={split!r}"
        )
    bags = arguments.x if isinstance(arguments.x, Bags) else None
    if split and data.is_source(arguments.x) and bags is None:
        raise DataError(
            "`validation_split` splits arrays, frames and tensors. Give `validation_data` instead. "
            f"Received: a {type(arguments.x).__name__}"
        )
    parts = samples.leaves((arguments.x, arguments.y))
    if split and (bags is not None or (parts and all(map(samples.has_samples, parts)))):
        count = samples.count(parts[0]) if bags is None else bags.num_bags
        if math.floor(count * (1 - split)) in (0, count):
            raise DataError(
                "`validation_split` must leave samples on both sides. Received: "
                f"validation_split={split!r} of {count} samples"
            )
