"""Arrays of samples in dicts, lists and tuples, as bytes and a description. Runs anywhere.

A description may come from someone else, so it is checked before any use.
"""

from __future__ import annotations

import math
import reprlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from glimr_keras._utils.untrusted_json import LARGEST

PREDICTED = "float32"
"""The dtype of stored predictions."""
_TYPES = frozenset(
    (
        *("bool", "float16", "float32", "float64"),
        *("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    )
)
_MOST_AXES = 30
_KINDS = (dict, list, tuple)

Arrays = Any
"""An array whose first axis counts samples, or a nesting of such arrays in dicts, lists and
tuples.
"""


def check_structure(name: str, structure: Any) -> None:
    """Raise an error for a description of a structure that `described_as` does not make.

    Raises:
        ValueError: If it is such a description.
    """
    match structure:
        case None:
            return
        case {"shape": list(sizes), "dtype": str(dtype)} if len(structure) == 2:
            if (
                len(sizes) <= _MOST_AXES
                and all(map(is_count, sizes))
                and dtype in _TYPES
                and 0 < math.prod(sizes) <= LARGEST
            ):
                return
        case {"dict": dict(parts)} if len(structure) == 1:
            for part in parts.values():
                check_structure(name, part)
            return
        case {"list": list(parts)} | {"tuple": list(parts)} if len(structure) == 1:
            for part in parts:
                check_structure(name, part)
            return
    raise ValueError(f"`{name}` cannot be {reprlib.repr(structure)}")


def is_count(number: Any) -> bool:
    """Return whether a value is an integer that can be a count."""
    return type(number) is int and 0 <= number <= LARGEST


def leaves(part: Arrays) -> Iterator[np.ndarray]:
    """Yield the arrays of a structure, in the order in which they are stored."""
    if part is None:
        return
    if not isinstance(part, _KINDS):
        yield part
        return
    for each in part.values() if isinstance(part, dict) else part:
        yield from leaves(each)


def _mapped(change: Any, part: Arrays) -> Arrays:
    """Return a structure with each array changed, in plain dicts, lists and tuples."""
    if isinstance(part, dict):
        return {name: _mapped(change, each) for name, each in part.items()}
    if isinstance(part, (list, tuple)):
        return (tuple if isinstance(part, tuple) else list)(_mapped(change, each) for each in part)
    return None if part is None else change(np.asarray(part))


def as_float32(predictions: Arrays) -> Arrays:
    """Return predictions as they are stored.

    Raises:
        ValueError: If they are not real numbers, there are none, or float32 cannot hold the
            integers.
    """

    def change(array: np.ndarray) -> np.ndarray:
        if array.dtype.kind not in "biuf" and array.dtype.name != "bfloat16":
            raise ValueError(f"predictions must be real numbers. Received: {array.dtype}")
        kept = np.asarray(array, "<f4")
        if array.dtype.kind in "iu" and not np.array_equal(kept.astype(array.dtype), array):
            raise ValueError("predictions are integers that float32 does not have")
        return _with_samples(kept)

    predictions = _mapped(change, predictions)
    if next(leaves(predictions), None) is None:
        raise ValueError("there are no predictions")
    return predictions


def as_stored(part: Arrays) -> Arrays:
    """Return labels, weights and the like as they are stored.

    Raises:
        ValueError: If they are not numbers.
    """

    def change(array: np.ndarray) -> np.ndarray:
        if array.dtype.name == "bfloat16":
            array = array.astype("float32")
        if array.dtype.name not in _TYPES:
            raise ValueError(f"labels and weights must be numbers. Received: {array.dtype}")
        return _with_samples(array.astype(array.dtype.newbyteorder("<"), copy=False))

    return _mapped(change, part)


def _with_samples(array: np.ndarray) -> np.ndarray:
    if array.size == 0 or not 0 < array.ndim <= _MOST_AXES:
        raise ValueError(f"the first axis must count samples. Received: shape {array.shape}")
    return array


def described_as(part: Arrays) -> Any:
    """Return the description of a structure: `{"shape": …, "dtype": …}` of one sample at each leaf.

    Raises:
        ValueError: If a name in it is not a string.
    """
    if part is None:
        return None
    if isinstance(part, dict):
        if not all(isinstance(name, str) for name in part):
            raise ValueError(f"names must be texts. Received: {list(part)}")
        return {"dict": {name: described_as(each) for name, each in part.items()}}
    if isinstance(part, (list, tuple)):
        kind = "tuple" if isinstance(part, tuple) else "list"
        return {kind: [described_as(each) for each in part]}
    return {"shape": list(part.shape[1:]), "dtype": part.dtype.name}


def leaves_of(structure: Any) -> Iterator[Mapping[str, Any]]:
    """Yield the leaves of a described structure."""
    match structure:
        case None:
            return
        case {"shape": _}:
            yield structure
        case {"dict": parts}:
            for part in parts.values():
                yield from leaves_of(part)
        case {"list": parts} | {"tuple": parts}:
            for part in parts:
                yield from leaves_of(part)


def sample_size(structure: Any) -> int:
    """Return the bytes of one sample of a structure."""
    return sum(
        np.dtype(leaf["dtype"]).itemsize * math.prod(leaf["shape"]) for leaf in leaves_of(structure)
    )


def taken(structure: Any, count: int, content: memoryview) -> tuple[Arrays, memoryview]:
    """Return the arrays of a described structure from the start of the content, and the rest."""
    match structure:
        case None:
            return None, content
        case {"dict": parts}:
            named = {}
            for name, part in parts.items():
                named[name], content = taken(part, count, content)
            return named, content
        case {"list": parts} | {"tuple": parts}:
            found = []
            for part in parts:
                each, content = taken(part, count, content)
                found.append(each)
            return (tuple(found) if "tuple" in structure else found), content
    dtype = np.dtype(structure["dtype"]).newbyteorder("<")
    size = count * sample_size(structure)
    array = np.frombuffer(content[:size], dtype).reshape(count, *structure["shape"])
    return array.astype(dtype.newbyteorder("="), copy=True), content[size:]


def concatenated(arrays: Sequence[np.ndarray]) -> np.ndarray:
    """Concatenate the samples of several arrays.

    If the second axis differs, as for outputs with an entry for each instance of a bag, shorter
    ones are padded with zeros.

    Raises:
        ValueError: If they differ otherwise.
    """
    if min(array.ndim for array in arrays) > 1:
        longest = max(array.shape[1] for array in arrays)
        arrays = [
            np.pad(array, [(0, 0), (0, longest - array.shape[1]), *[(0, 0)] * (array.ndim - 2)])
            for array in arrays
        ]
    return np.concatenate(arrays)
