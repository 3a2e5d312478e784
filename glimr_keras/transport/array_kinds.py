"""Arrays of other kinds than NumPy's usual one, on their way to workers: masked ones, those of a
class of the user's, JAX's, and files that are mapped. Runs in driver and worker.

What they hold becomes a usual array, which the pickler keeps apart where it is large. A large file
that is mapped is mapped again, read-only, so that it is never read as a whole.
"""

from __future__ import annotations

import mmap
import pathlib
import sys
import zlib
from typing import Any

import numpy as np

from glimr_keras.errors import ShippingError

_MAPPED_FROM = 2**20
"""Arrays of at least this many bytes are mapped, not sent."""
_SAMPLE = 2**12
"""Bytes at the beginning, in the middle and at the end by which a file is recognised."""


def reduced(value: Any) -> tuple[Any, ...] | None:
    """How such an array is pickled; `None` for what NumPy or its own class does."""
    if type(value).__module__.startswith("jaxlib.") and hasattr(value, "is_fully_addressable"):
        return sys.modules["jax"].numpy.asarray, (np.asarray(value),)
    if not isinstance(value, np.ndarray) or type(value) is np.ndarray:
        return None
    if type(value) is np.ma.MaskedArray:
        how = {"hard_mask": value.hardmask, "fill_value": value.fill_value}
        return _masked, (np.asarray(value.data), np.ma.getmask(value), how)
    if isinstance(value, np.memmap) and value.nbytes >= _MAPPED_FROM:
        where = _place(value)
        if where is not None:
            return _mapped, where
    if any(
        getattr(type(value), name) is not getattr(np.ndarray, name)
        for name in ("__reduce__", "__reduce_ex__", "__setstate__")
    ):
        return None
    attributes = {} if isinstance(value, np.memmap) else dict(getattr(value, "__dict__", {}))
    return _viewed, (value.view(np.ndarray), type(value), attributes)


def _viewed(array: np.ndarray, kind: type[np.ndarray], attributes: dict[str, Any]) -> Any:
    found = array.view(kind)
    for name, value in attributes.items():  # of which NumPy's own pickles tell nothing
        setattr(found, name, value)
    return found


def _masked(data: np.ndarray, mask: Any, how: dict[str, Any]) -> Any:
    mask = mask if mask is np.ma.nomask else np.asarray(mask)
    return np.ma.MaskedArray(np.asarray(data), mask, copy=False, **how)


def _place(value: Any) -> tuple[Any, ...] | None:
    """Return the arguments of `_mapped`; `None` if a file's content differs from the array's."""
    if (
        value._mmap is None
        or value.mode == "c"
        or not isinstance(value.filename, (str, pathlib.Path))
    ):
        return None
    if value.mode != "r":
        value._mmap.flush()  # for a machine that has the file from a server
    first = value.ctypes.data
    steps = [
        (length - 1) * stride for length, stride in zip(value.shape, value.strides, strict=True)
    ]
    low = first + sum(step for step in steps if step < 0)
    high = first + sum(step for step in steps if step > 0) + value.itemsize
    begin = np.frombuffer(value._mmap, np.uint8)
    granularity = mmap.ALLOCATIONGRANULARITY
    position = value.offset // granularity * granularity + low - begin.ctypes.data
    length = high - low
    start = low - begin.ctypes.data
    fingerprint = _fingerprint(begin[start : start + length])
    place = (str(value.filename), position, length)
    try:
        if _fingerprint(np.memmap(place[0], np.uint8, "r", *place[1:])) != fingerprint:
            return None
    except (OSError, ValueError):  # it was removed, or is another one now
        return None
    return *place, fingerprint, value.dtype, value.shape, first - low, value.strides


def _mapped(
    path: str,
    position: int,
    length: int,
    fingerprint: int,
    dtype: np.dtype[Any],
    shape: tuple[int, ...],
    start: int,
    strides: tuple[int, ...],
) -> Any:
    """Map a part of a file.

    Raises:
        ShippingError: If this machine does not have it.
    """
    try:
        there = np.memmap(path, np.uint8, "r", position, length)
    except (OSError, ValueError) as error:
        raise _missing(path, f"{type(error).__name__}: {error}") from error
    if _fingerprint(there) != fingerprint:
        raise _missing(path, "a file with other content")
    found = np.ndarray.__new__(np.memmap, shape, dtype, there, start, strides)
    for name in ("_mmap", "filename", "mode", "offset"):
        setattr(found, name, getattr(there, name))
    return found


def _missing(path: str, found: str) -> ShippingError:
    return ShippingError(
        "A file that the script maps (np.memmap) must be there on every machine. Received: "
        f"{path!r}, and on the machine of this worker: {found}. Put it on storage that all "
        "machines share, or read it in the script: `np.array(mapped)`."
    )


def _fingerprint(content: np.ndarray) -> int:
    """Return a checksum of the length and some bytes."""
    middle = len(content) // 2
    parts = (content[:_SAMPLE], content[middle : middle + _SAMPLE], content[-_SAMPLE:])
    return zlib.crc32(b"".join([str(len(content)).encode(), *(part.tobytes() for part in parts)]))
