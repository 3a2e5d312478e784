"""Checkpoints: where a model's weights are, and what is known of them. Runs in driver and worker;
needs neither Keras nor a model, which `model_weights` has.

A checkpoint is a directory with `checkpoint.weights.h5` (Keras' own format, with or without the
optimizer's state) and `checkpoint.json` (the epoch, the shapes of the model's inputs, from which a
subclassed model is built again, and a digest of the weights). Neither holds code. The new weights
are written beside the old ones, then the new description replaces the old one, then the weights
follow; so at any moment the weights that the description's digest is of are in one of the two
places.

The states of a training, from which it can be continued, are in `training_states`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import math
import os
import pathlib
import reprlib
import shutil
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

from glimr_keras._utils import untrusted_json
from glimr_keras._utils.files import force_file, write_whole
from glimr_keras._utils.untrusted_json import LARGEST, LONGEST
from glimr_keras.errors import CheckpointError, StorageError

WEIGHTS = "checkpoint.weights.h5"
DESCRIPTION = "checkpoint.json"
NEW = "new.weights.h5"
"""Of weights that are to take the place of those before."""
BEST = "best"
"""Beside a state: the directory of the training's best weights then."""
_LARGEST_SAMPLE = 2**31
"""Numbers that one sample may have."""


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint says about itself.

    Attributes:
        epoch: The number of epochs that the model was trained for.
        inputs: The structure of the model's inputs, `{"shape": …, "dtype": …}` at each leaf with
            the shape of one sample; `None` if unknown.
        has_optimizer: Whether the state of the model's own optimizer is included.
        build_config: What Keras itself knows of how the model was built; filled in by `save`.
        values: The configuration that was trained, value by name.
        score: That it was saved for.
        metrics: Of its epoch.
        digest: Of the weights' file; filled in by `save`.
        attempt: How often its training had failed and was begun again.
    """

    epoch: int
    inputs: Any = None
    has_optimizer: bool = False
    build_config: Any = None
    values: dict[str, Any] | None = None
    score: float | None = None
    metrics: dict[str, float] | None = None
    digest: str | None = None
    attempt: int = 0


def packed(directory: str | os.PathLike[str]) -> dict[str, bytes]:
    """The content of a checkpoint's files by their names, and of those that a state has beside it;
    for `put` and `put_state`.

    Raises:
        CheckpointError: If there is none, or it is damaged.
    """
    place = pathlib.Path(directory)
    files = {DESCRIPTION: _read(place / DESCRIPTION)}
    candidates = (file for file in (place / WEIGHTS, place / NEW) if file.exists())
    weights = (content for content in map(_read, candidates) if fits(files[DESCRIPTION], content))
    files[WEIGHTS] = next(weights, b"")
    if not files[WEIGHTS]:
        raise damaged(place)
    if exists(place / BEST):
        files |= {f"{BEST}/{name}": content for name, content in packed(place / BEST).items()}
    if (
        _read(place / DESCRIPTION) != files[DESCRIPTION]
    ):  # another took its place, or it is gone, and a part may be missing
        raise damaged(place)
    return files


def age(description: bytes | None) -> tuple[int, int]:
    """By which packed descriptions of a training's states are ordered: attempt and epoch."""
    try:
        described = _described(description or b"{}")
    except (ValueError, TypeError):
        return -1, -1
    return described.attempt, described.epoch


def fits(description: bytes, weights: bytes) -> bool:
    """Whether a packed description is of these weights."""
    try:
        digest = _described(description).digest
    except (ValueError, TypeError):
        return False
    return digest in (None, hashlib.blake2b(weights, digest_size=16).hexdigest())


def put(directory: str | os.PathLike[str], files: Mapping[str, bytes]) -> None:
    """Writes a checkpoint that was packed elsewhere, as `save` does.

    Raises:
        StorageError: If it cannot be written.
    """
    place = pathlib.Path(directory)
    with storing(place):
        place.mkdir(parents=True, exist_ok=True)
        place_for_new(place).write_bytes(files[WEIGHTS])
        settle(place, files[DESCRIPTION])


def remove(directory: str | os.PathLike[str]) -> None:
    """Removes a checkpoint, and nothing else in its directory."""
    for name in (DESCRIPTION, WEIGHTS, NEW):
        (pathlib.Path(directory) / name).unlink(missing_ok=True)


def describe(directory: str | os.PathLike[str]) -> Checkpoint:
    """What the checkpoint in `directory` says about itself.

    Raises:
        CheckpointError: If there is none, or what it says cannot be read.
    """
    file = pathlib.Path(directory) / DESCRIPTION
    try:
        with _opened(file) as content:  # which makes room for as much as it is asked for
            size = os.fstat(content.fileno()).st_size
            return _described(content.read(min(size, LONGEST) + 1))
    except FileNotFoundError:
        raise CheckpointError(f"There is no checkpoint in {directory}.") from None
    except (OSError, ValueError, TypeError) as error:
        raise CheckpointError(
            f"The checkpoint in {directory} is damaged: {file.name} cannot be read: {error}"
        ) from error


def _described(text: bytes) -> Checkpoint:
    """What a description says, which somebody else may have written.

    Raises:
        ValueError, TypeError: If it says what no checkpoint can be.
    """
    described = Checkpoint(**untrusted_json.parsed(text))
    fields = {
        "epoch": _is_count(described.epoch),
        "attempt": _is_count(described.attempt),
        "inputs": described.inputs is None or _is_structure(described.inputs),
        "has_optimizer": isinstance(described.has_optimizer, bool),
        "build_config": isinstance(described.build_config, (dict, type(None))),
        "values": isinstance(described.values, (dict, type(None))),
        "score": isinstance(described.score, (int, float, type(None))),
        "metrics": isinstance(described.metrics, (dict, type(None))),
        "digest": isinstance(described.digest, (str, type(None))),
    }
    for name, is_right in fields.items():
        if not is_right:
            raise ValueError(f"`{name}` cannot be {reprlib.repr(getattr(described, name))}")
    return described


def _is_count(number: Any) -> bool:
    return type(number) is int and 0 <= number <= LARGEST


def _is_structure(inputs: Any) -> bool:
    match inputs:
        case {"shape": list(sizes), "dtype": str()}:
            return all(map(_is_count, sizes)) and math.prod(sizes) <= _LARGEST_SAMPLE
        case {"dict": dict(parts)}:
            return all(map(_is_structure, parts.values()))
        case {"list": list(parts)}:
            return all(map(_is_structure, parts))
    return False


def are_of_own_loop(directory: str | os.PathLike[str]) -> bool:
    """Whether a training of the user's own saved the weights in `directory`, as KerasTuner has it,
    and nothing about them.
    """
    place = pathlib.Path(directory)
    return (place / WEIGHTS).exists() and not (place / DESCRIPTION).exists()


def exists(directory: str | os.PathLike[str]) -> bool:
    """Whether `directory` holds a checkpoint."""
    place = pathlib.Path(directory)
    return (place / DESCRIPTION).exists() and ((place / WEIGHTS).exists() or (place / NEW).exists())


def is_whole(directory: str | os.PathLike[str]) -> bool:
    """Whether `directory` holds a checkpoint as it was written."""
    with contextlib.suppress(CheckpointError):
        return intact(pathlib.Path(directory)).exists()
    return False


def force(directory: str | os.PathLike[str]) -> None:
    """Has the system put the checkpoint in `directory`, if there is one, on the disk, as a power
    cut asks for. What a process that was killed has left beside it is put in its place, or removed.

    Raises:
        StorageError: If it cannot be written.
    """
    place = pathlib.Path(directory)
    with storing(place):
        if (place / NEW).exists():
            _tidy(place)
        for file in (place / WEIGHTS, place / DESCRIPTION):
            with contextlib.suppress(FileNotFoundError):
                force_file(file)


def _tidy(place: pathlib.Path) -> None:
    """Leaves one file of weights, that of the description."""
    new, is_described = place / NEW, False
    with contextlib.suppress(CheckpointError):
        is_described = intact(place) == new
    with contextlib.suppress(FileNotFoundError):  # a process that was thought lost has moved it
        if is_described:
            new.replace(place / WEIGHTS)
        else:
            new.unlink()


def intact(place: pathlib.Path) -> pathlib.Path:
    """The file with the weights that the description in `place` is of.

    Raises:
        CheckpointError: If it is not there as it was written.
    """
    digest = describe(place).digest
    for file in (
        place / WEIGHTS,
        place / NEW,
    ):  # the second if the process died between two renames
        with contextlib.suppress(OSError):
            if digest is None or digest_of(file) == digest:
                return file
    raise damaged(place)


def damaged(place: pathlib.Path) -> CheckpointError:
    return CheckpointError(
        f"The checkpoint in {place} is damaged: its weights are not those that were written."
    )


def _opened(file: pathlib.Path) -> BinaryIO:
    """A file that is read.

    Raises:
        OSError: If it cannot be, as a pipe, which would be waited for.
    """
    if file.exists() and not file.is_file():
        raise OSError(f"{file} is no file")
    return file.open("rb")


def _read(file: pathlib.Path) -> bytes:
    try:
        with _opened(file) as content:
            return content.read()
    except OSError as error:
        raise CheckpointError(f"The checkpoint in {file.parent} cannot be read: {error}") from error


def digest_of(file: pathlib.Path) -> str:
    """That of a file's content."""
    with _opened(file) as content:
        summed = hashlib.blake2b(digest_size=16)
        while block := content.read(1 << 20):
            summed.update(block)
        return summed.hexdigest()


def link(checkpoint: pathlib.Path, to: pathlib.Path) -> None:
    """Has a checkpoint at another place too, without a second copy where the file system can do
    that.
    """
    to.mkdir(parents=True, exist_ok=True)
    for source, name in ((intact(checkpoint), WEIGHTS), (checkpoint / DESCRIPTION, DESCRIPTION)):
        beside = to / f".{name}"
        beside.unlink(missing_ok=True)
        try:
            os.link(source, beside)
        except OSError:
            shutil.copyfile(source, beside)
        beside.replace(to / name)


def place_for_new(place: pathlib.Path) -> pathlib.Path:
    """The file of weights that are to be written; not one that a link there leads to."""
    if (place / NEW).is_symlink():
        (place / NEW).unlink()
    return place / NEW


def settle(place: pathlib.Path, description: bytes) -> None:
    """Puts a description, and the new weights that it is of, in the places of the old ones."""
    write_whole(place / DESCRIPTION, description)
    (place / NEW).replace(place / WEIGHTS)


@contextlib.contextmanager
def storing(place: pathlib.Path) -> Iterator[None]:
    """Says of errors inside that a checkpoint cannot be written."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        if isinstance(error, StorageError) or not (
            isinstance(error, OSError) or "errno" in str(error)
        ):  # as HDF5 says it
            raise
        raise StorageError(
            f"A checkpoint cannot be written to {place}: {type(error).__name__}: {error}"
        ) from error
