"""A training's predictions for its validation samples after each epoch: one file in an execution's
folder. Runs in driver and worker; needs no Keras.

The file starts with a head: a JSON description, the labels, weights, positions and groups, and a
digest of these. Then comes a record per epoch, in ascending order: the epoch, the predictions, and
a digest that also covers the head's. All records have the same size, so each can be read alone. A
record that is incomplete, or of an earlier attempt, is recognised as invalid.

A file may come from someone else: nothing in it is executed, and no more is read than is stored.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import io
import json
import os
import pathlib
import reprlib
import struct
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

import numpy as np

from glimr_keras._utils import untrusted_json
from glimr_keras._utils.files import force_file, write_whole
from glimr_keras._utils.untrusted_json import LARGEST
from glimr_keras.errors import CheckpointError, StorageError
from glimr_keras.project.sample_arrays import (
    PREDICTED,
    Arrays,
    as_float32,
    as_stored,
    check_structure,
    described_as,
    is_count,
    leaves,
    leaves_of,
    sample_size,
    taken,
)

FILE = "predictions.bin"
_MAGIC = b"glimr_keras predictions 1\n"
_LENGTH, _EPOCH = struct.Struct("<I"), struct.Struct("<Q")
_DIGEST = 16
_LONGEST = 1 << 20
"""The maximum size of a description in bytes."""
_BLOCK = 1 << 20
_MOST_BROKEN = 1000
"""The maximum number of consecutive invalid records before reading stops.

A sparse file can be longer than any disk.
"""
_STORED = 20
"""The maximum ratio of a file's size to its size on disk, in addition to `_FREE` bytes."""
_FREE = 1 << 26
_POSITIONS = ("samples", "groups")
"""The fields stored as 64-bit integers."""


@dataclasses.dataclass(frozen=True)
class Validation:
    """The validation samples of a training.

    Attributes:
        labels: The labels of the samples; `None` without labels.
        weights: The weights of the samples, for a mean over them; `None` if they count equally.
        samples: The position of each sample in the data passed to `search`, int, shape (samples,);
            `None` if unknown.
        groups: The group of each sample, such as its patient, as integer codes; `None` without
            groups.
    """

    labels: Arrays = None
    weights: Arrays = None
    samples: np.ndarray | None = None
    groups: np.ndarray | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class KeptPredictions:
    """A training's predictions for its validation samples, by epoch.

    Attributes:
        epochs: The epochs with intact predictions, counted from 1, ascending.
        labels: The labels of the validation samples: an array (samples, …), or a dict, list or
            tuple of such arrays by output; `None` without labels.
        weights: The weights of the samples, in the same form as `labels`; `None` if they count
            equally.
        samples: The position of each sample in the data passed to `search`, int, shape (samples,):
            in `validation_data` if given, otherwise in the training data. `None` if a user-defined
            loader made it.
        groups: The group of each sample, such as its patient, as integer codes over the whole data;
            `None` without `search(groups=…)`.
        attempt: The number of times that the training had failed and was restarted.
    """

    epochs: tuple[int, ...]
    labels: Arrays
    weights: Arrays
    samples: np.ndarray | None
    groups: np.ndarray | None
    attempt: int
    _file: pathlib.Path = dataclasses.field(repr=False)
    _head: _Head = dataclasses.field(repr=False)
    _places: Mapping[int, int] = dataclasses.field(repr=False)

    def at(self, epoch: int) -> Arrays:
        """Return the predictions after an epoch as float32.

        They are an array (samples, …), or a dict, list or tuple of such arrays, like the model's
        outputs.

        Args:
            epoch: The epoch, one of `epochs`.

        Raises:
            KeyError: If there are none for this epoch.
            CheckpointError: If they no longer exist or cannot be read.
        """
        if epoch not in self._places:
            raise KeyError(f"There are no predictions of epoch {epoch}. Received: {self.epochs}")
        with _reading(self._file) as file:
            file.seek(self._places[epoch])
            record = file.read(self._head.record)
        if self._head.epoch_of(record) != epoch:
            raise CheckpointError(f"The predictions in {self._file} have changed meanwhile.")
        content = memoryview(record)[_EPOCH.size : -_DIGEST]
        found, _ = taken(self._head.outputs, self._head.count, content)
        return found


def read(directory: str | os.PathLike[str]) -> KeptPredictions | None:
    """Return the predictions kept in an execution's folder; `None` if there are none.

    Raises:
        CheckpointError: If the file is too damaged to read any epoch.
    """
    file = pathlib.Path(directory) / FILE
    if not file.exists():
        return None
    with _reading(file) as content:
        size = _size(content)
        head = _read_head(content, size)
        validation = head.validation()
        places = dict(_records(content, head, size))
    return KeptPredictions(
        tuple(places),
        validation.labels,
        validation.weights,
        validation.samples,
        validation.groups,
        head.attempt,
        file,
        head,
        places,
    )


class PredictionsWriter:
    """Write the predictions of a training into its folder.

    Args:
        directory: The execution's folder.
        attempt: The number of times that the training had failed and was restarted. Predictions of
            earlier attempts are removed.
        after: The epoch from which the training resumes; 0 from the start. Records of later epochs
            are removed: an interrupted training left them. Defaults to `0`.

    Attributes:
        last: The last epoch in the file; 0 for none.

    Raises:
        StorageError: If the folder cannot be written to.
    """

    def __init__(self, directory: str | os.PathLike[str], attempt: int, after: int = 0) -> None:
        self.last = 0
        self._after, self._attempt = after, attempt
        self._path = pathlib.Path(directory) / FILE
        self._head: _Head | None = None
        with _storing(self._path):
            self._go_on(after)

    def _go_on(self, after: int) -> None:
        with contextlib.suppress(CheckpointError, FileNotFoundError):
            if after > 0:
                self._head, self.last = _cut(self._path, self._attempt, after)
                return
        self._path.unlink(missing_ok=True)

    def add(self, epoch: int, validation: Validation, predictions: Arrays) -> int:
        """Write the predictions after an epoch, which must be later than those written before.

        Return the number of bytes written.

        Raises:
            ValueError: If the samples differ from those of earlier epochs, or the values cannot be
                stored.
            StorageError: If it cannot be written.
        """
        predictions = as_float32(predictions)
        head = _Head.of(self._attempt, validation, predictions)
        if self._head is not None and head.content != self._head.content:
            raise ValueError(
                "the validation samples, or the shapes of the predictions, are not those of the "
                "epochs before"
            )
        record = head.made(epoch, predictions)
        with _storing(self._path):
            if self._head is None:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                write_whole(self._path, head.content + record)
            else:
                with self._path.open("r+b") as file:
                    file.seek(0, os.SEEK_END)
                    file.write(record)
        self._head, self.last = head, epoch
        return len(record)

    def packed(self) -> dict[str, bytes]:
        """Return what was written since the last call, for `put` on another machine; empty if
        nothing was.
        """
        if self._head is None or self.last <= self._after:
            return {}
        with _reading(self._path) as file:
            size = os.fstat(file.fileno()).st_size
            places = dict(_records(file, self._head, size))
            new = [place for epoch, place in places.items() if epoch > self._after]
            file.seek(new[0] if new else size)
            files = {
                FILE: self._head.content + file.read(),
                "after": str(self._after).encode(),
            }
        self._after = self.last
        return files


def put(directory: str | os.PathLike[str], files: Mapping[str, bytes]) -> None:
    """Add packed predictions to the existing ones of the same training.

    Raises:
        StorageError: If it cannot be written.
    """
    path = pathlib.Path(directory) / FILE
    content, after = files[FILE], int(files["after"])
    head = _parsed_head(content)
    with _storing(path):
        if after > 0:
            with contextlib.suppress(CheckpointError, FileNotFoundError):
                there, last = _cut(path, head.attempt, after)
                if there.content == head.content and last > 0:
                    with path.open("ab") as file:
                        file.write(content[len(head.content) :])
                    return
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, content)


def put_whole(directory: str | os.PathLike[str], content: bytes) -> None:
    """Write a whole file of predictions from its content.

    Raises:
        StorageError: If it cannot be written.
    """
    path = pathlib.Path(directory) / FILE
    with _storing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, content)


def remove(directory: str | os.PathLike[str]) -> None:
    """Remove the predictions in an execution's folder, if there are any."""
    (pathlib.Path(directory) / FILE).unlink(missing_ok=True)


def force(directory: str | os.PathLike[str]) -> None:
    """Force existing predictions to the disk (fsync), so that they survive power loss.

    Raises:
        StorageError: If they cannot be written.
    """
    path = pathlib.Path(directory) / FILE
    with _storing(path), contextlib.suppress(FileNotFoundError):
        force_file(path)


@dataclasses.dataclass(frozen=True)
class _Head:
    """The head of a file.

    Attributes:
        content: All its bytes, with the digest.
        attempt: The number of times that the training had failed and was restarted.
        count: The number of samples.
        outputs: The structure of the predictions: `{"shape": …, "dtype": …}` at each leaf, with the
            shape of one sample.
        record: The size of a record in bytes.
    """

    content: bytes
    attempt: int
    count: int
    outputs: Any
    record: int

    @classmethod
    def of(cls, attempt: int, validation: Validation, predictions: Arrays) -> _Head:
        """Return the head of a file with predictions like these."""
        parts = {
            field.name: as_stored(getattr(validation, field.name))
            for field in dataclasses.fields(validation)
        }
        for name in _POSITIONS:
            parts[name] = None if parts[name] is None else parts[name].astype("<i8")
        counts = {len(leaf) for part in (predictions, *parts.values()) for leaf in leaves(part)}
        if len(counts) != 1:
            raise ValueError(
                "there must be as many predictions as labels and weights. Received: "
                f"{sorted(counts)}"
            )
        described = {
            "attempt": attempt,
            "count": counts.pop(),
            "outputs": described_as(predictions),
            **{name: described_as(part) for name, part in parts.items()},
        }
        text = json.dumps(described).encode()
        arrays = b"".join(leaf.tobytes() for part in parts.values() for leaf in leaves(part))
        content = _MAGIC + _LENGTH.pack(len(text)) + text + arrays
        return _head(content + _digest(content), described)

    def validation(self) -> Validation:
        """Return the validation samples stored in the head."""
        start = len(_MAGIC) + _LENGTH.size
        length = _LENGTH.unpack(self.content[len(_MAGIC) : start])[0]
        described = untrusted_json.parsed(self.content[start : start + length], _LONGEST)
        rest = memoryview(self.content)[start + length : -_DIGEST]
        found = {}
        for field in dataclasses.fields(Validation):
            found[field.name], rest = taken(described[field.name], self.count, rest)
        return Validation(**found)

    def made(self, epoch: int, predictions: Arrays) -> bytes:
        """Return the record of an epoch."""
        content = _EPOCH.pack(epoch) + b"".join(leaf.tobytes() for leaf in leaves(predictions))
        return content + _digest(self.content[-_DIGEST:], content)

    def epoch_of(self, record: bytes) -> int | None:
        """Return the epoch of a record; `None` if the record is invalid."""
        content = memoryview(record)
        if len(record) != self.record or content[-_DIGEST:] != _digest(
            self.content[-_DIGEST:], content[:-_DIGEST]
        ):
            return None
        epoch: int = _EPOCH.unpack_from(record)[0]
        return epoch


def _head(content: bytes, described: Mapping[str, Any]) -> _Head:
    count, outputs = described["count"], described["outputs"]
    size = _EPOCH.size + count * sample_size(outputs) + _DIGEST
    return _Head(content, described["attempt"], count, outputs, size)


def _read_head(file: BinaryIO, size: int) -> _Head:
    """Return the head of a file; reads no more than the file's size.

    Raises:
        CheckpointError: If the head is invalid.
    """
    try:
        start = file.read(len(_MAGIC) + _LENGTH.size)
        if not start.startswith(_MAGIC) or len(start) != len(_MAGIC) + _LENGTH.size:
            raise ValueError("it does not begin as such a file does")
        length = _LENGTH.unpack(start[len(_MAGIC) :])[0]
        if length > _LONGEST:
            raise ValueError(f"its description would have {length} bytes")
        text = file.read(length)
        described = untrusted_json.parsed(text, _LONGEST)
        _check(described)
        names = [field.name for field in dataclasses.fields(Validation)]
        stored = described["count"] * sum(sample_size(described[name]) for name in names)
        if len(start) + length + stored + _DIGEST > size:
            raise ValueError(f"it would have {stored} bytes of labels, and has {size} in all")
        content = start + text + file.read(stored)
        digest = file.read(_DIGEST)
        if digest != _digest(content):
            raise ValueError("its head is not as it was written")
        return _head(content + digest, described)
    except (ValueError, TypeError, KeyError) as error:
        raise CheckpointError(
            f"The predictions in {getattr(file, 'name', FILE)} are damaged: "
            f"{type(error).__name__}: {error}"
        ) from error


def _parsed_head(content: bytes) -> _Head:
    """Return the head at the start of the content."""
    return _read_head(io.BytesIO(content), len(content))


def _check(described: Any) -> None:
    """Raise an error for a description that this module does not write.

    Raises:
        ValueError, TypeError, KeyError: If it is such a description.
    """
    if type(described) is not dict:
        raise TypeError(f"its description cannot be {reprlib.repr(described)}")
    if not is_count(described["attempt"]):
        raise ValueError(f"`attempt` cannot be {reprlib.repr(described['attempt'])}")
    if not is_count(described["count"]) or described["count"] == 0:
        raise ValueError(f"`count` cannot be {reprlib.repr(described['count'])}")
    for name in ("labels", "weights"):
        check_structure(name, described[name])
    for name in _POSITIONS:
        if described[name] not in (None, {"shape": [], "dtype": "int64"}):
            raise ValueError(f"`{name}` cannot be {reprlib.repr(described[name])}")
    check_structure("outputs", described["outputs"])
    if described["outputs"] is None or {
        each["dtype"] for each in leaves_of(described["outputs"])
    } != {PREDICTED}:
        raise ValueError(f"`outputs` cannot be {reprlib.repr(described['outputs'])}")


def _records(file: BinaryIO, head: _Head, size: int) -> Iterator[tuple[int, int]]:
    """Yield the epochs with intact records, ascending, and their positions."""
    broken, last = 0, 0
    for place in range(len(head.content), size - head.record + 1, head.record):
        file.seek(place)
        start = file.read(_EPOCH.size)
        epoch = _EPOCH.unpack(start)[0] if len(start) == _EPOCH.size else 0
        if not last < epoch <= LARGEST or not _is_whole(file, head, start):
            broken += 1
            if broken > _MOST_BROKEN:
                return
            continue
        broken, last = 0, epoch
        yield epoch, place


def _is_whole(file: BinaryIO, head: _Head, start: bytes) -> bool:
    """Return whether a record, whose first bytes were read, is intact."""
    summed = hashlib.blake2b(head.content[-_DIGEST:] + start, digest_size=_DIGEST)
    left = head.record - len(start) - _DIGEST
    while left > 0:
        block = file.read(min(left, _BLOCK))
        if not block:
            return False
        summed.update(block)
        left -= len(block)
    return file.read(_DIGEST) == summed.digest()


def _cut(path: pathlib.Path, attempt: int, after: int) -> tuple[_Head, int]:
    """Truncate a file to the intact records of this attempt up to an epoch; return its head and
    last epoch.

    Raises:
        CheckpointError: If the file is damaged or of another attempt.
        FileNotFoundError: If there is no file.
    """
    with path.open("r+b") as file:
        size = os.fstat(file.fileno()).st_size
        head = _read_head(file, size)
        if head.attempt != attempt:
            raise CheckpointError(f"The predictions in {path} are of another attempt.")
        end, last = len(head.content), 0
        for epoch, place in _records(file, head, size):
            if epoch > after:
                break
            end, last = place + head.record, epoch
        file.truncate(end)
    return head, last


def _digest(*parts: bytes | memoryview) -> bytes:
    summed = hashlib.blake2b(digest_size=_DIGEST)
    for part in parts:
        summed.update(part)
    return summed.digest()


def _size(file: BinaryIO) -> int:
    """Return the size of a file in bytes.

    Raises:
        CheckpointError: If it is mostly sparse; such a file can be larger than any memory.
    """
    found = os.fstat(file.fileno())
    stored = 512 * getattr(found, "st_blocks", 0)
    if stored and found.st_size > _STORED * stored + _FREE:
        raise CheckpointError(
            f"The predictions in {file.name} are damaged: it has {found.st_size} bytes, and "
            f"{stored} are stored."
        )
    return found.st_size


@contextlib.contextmanager
def _reading(file: pathlib.Path) -> Iterator[BinaryIO]:
    """Open a file for reading.

    Raises:
        CheckpointError: If it cannot be read.
    """
    try:
        if file.exists() and not file.is_file():  # such as a pipe, which would block
            raise OSError(f"{file} is no file")
        with file.open("rb") as content:
            yield content
    except OSError as error:
        raise CheckpointError(f"The predictions in {file} cannot be read: {error}") from error


@contextlib.contextmanager
def _storing(file: pathlib.Path) -> Iterator[None]:
    """Turn errors inside into a `StorageError` about predictions."""
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"Predictions cannot be written to {file}: {type(error).__name__}: {error}"
        ) from error
