"""Checks of weights files before Keras reads them. HDF5; runs anywhere.

Such a file may come from someone else. HDF5 allows datasets whose content is in other files, and
datasets larger than their stored content, even larger than any memory. Keras writes neither.
"""

from __future__ import annotations

import pathlib
from collections.abc import Iterator
from typing import Any

import h5py

from glimr_keras.errors import CheckpointError

_COMPRESSED = 20
"""The maximum ratio of a dataset's size to its compressed size, in addition to `_FREE` bytes."""
_FREE = 1 << 26


def check(file: pathlib.Path) -> None:
    """Raise an error for a file that contains anything but plain datasets.

    Raises:
        CheckpointError: If it is not an HDF5 file, refers to other places, or has a dataset larger
            in memory than its stored content. Compressed content may expand up to the limit above.
    """
    try:
        with h5py.File(file, "r") as content:
            for name, dataset in _datasets(content):
                _check_dataset(name, dataset)
    except (OSError, RuntimeError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"The weights in {file} cannot be read: {error}") from error


def _datasets(content: h5py.File) -> Iterator[tuple[str, Any]]:
    """Yield all datasets, each once, with their paths."""
    waiting, seen = [("", content)], set()
    while waiting:
        path, group = waiting.pop()
        for name in group:
            place = f"{path}/{name}"
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                raise ValueError(f"{place} is a link to another place")
            part = group[name]
            found = h5py.h5o.get_info(part.id)
            if (found.fileno, found.addr) in seen:  # such as a group that contains itself
                continue
            seen.add((found.fileno, found.addr))
            if isinstance(part, h5py.Group):
                waiting.append((place, part))
            else:
                yield place, part


def _check_dataset(name: str, dataset: Any) -> None:
    if not isinstance(dataset, h5py.Dataset):
        raise ValueError(f"{name} is neither a group nor a dataset")
    if dataset.external or dataset.is_virtual:
        raise ValueError(f"{name} has its content elsewhere")
    if dataset.dtype.hasobject and h5py.check_string_dtype(dataset.dtype) is None:
        raise ValueError(f"{name} has neither numbers nor texts")
    stored = dataset.id.get_storage_size()
    most = stored if dataset.compression is None else _COMPRESSED * stored + _FREE
    if dataset.nbytes > most:
        raise ValueError(f"{name} would have {dataset.nbytes} bytes, and {stored} are stored")
