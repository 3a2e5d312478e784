"""Checkpoints: where a model's weights are, and their description. Runs in driver and worker; needs
neither Keras nor a model, unlike `model_weights`.

A checkpoint is a directory with two files, neither of which holds code:

- `checkpoint.weights.h5`, in Keras' own format, with or without the optimizer's state.
- `checkpoint.json`, with the epoch, a digest of the weights, and the shapes of the model's inputs.
  A subclassed model is rebuilt from these shapes.

First the new weights are written beside the old ones. Then the new description replaces the old
one, and finally the new weights replace the old ones. So at any moment, one of the two places holds
the weights that match the description's digest.

The states of a training, from which it can be resumed, are in `training_states`.
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
"""New weights, before they replace the old ones."""
BEST = "best"
"""In a state: the directory of the training's best weights at that time."""
_LARGEST_SAMPLE = 2**31
"""The maximum number of values in one sample."""


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """The description of a checkpoint.

    Attributes:
        epoch: The number of epochs for which the model was trained.
        inputs: The structure of the model's inputs, `{"shape": …, "dtype": …}` at each leaf with
            the shape of one sample; `None` if unknown.
        has_optimizer: Whether the state of the model's own optimizer is included.
        build_config: Keras' own build config of the model; set by `save`.
        values: The trained configuration, values by name.
        score: The score for which it was saved.
        metrics: The metrics of its epoch.
        digest: The digest of the weights file; set by `save`.
        attempt: The number of times that its training had failed and was restarted.
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
    """Return the content of a checkpoint's files by name, with a state's best weights, for `put`
    and `put_state`.

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
    ):  # it was replaced or removed meanwhile, and a part may be missing
        raise damaged(place)
    return files


def age(description: bytes | None) -> tuple[int, int]:
    """Return the sort key of packed descriptions of a training's states: attempt and epoch."""
    try:
        described = _described(description or b"{}")
    except (ValueError, TypeError):
        return -1, -1
    return described.attempt, described.epoch


def fits(description: bytes, weights: bytes) -> bool:
    """Return whether a packed description matches these weights."""
    try:
        digest = _described(description).digest
    except (ValueError, TypeError):
        return False
    return digest in (None, hashlib.blake2b(weights, digest_size=16).hexdigest())


def put(directory: str | os.PathLike[str], files: Mapping[str, bytes]) -> None:
    """Write a checkpoint that was packed elsewhere, as `save` does.

    Raises:
        StorageError: If it cannot be written.
    """
    place = pathlib.Path(directory)
    with storing(place):
        place.mkdir(parents=True, exist_ok=True)
        place_for_new(place).write_bytes(files[WEIGHTS])
        settle(place, files[DESCRIPTION])


def remove(directory: str | os.PathLike[str]) -> None:
    """Remove a checkpoint, and nothing else in its directory."""
    for name in (DESCRIPTION, WEIGHTS, NEW):
        (pathlib.Path(directory) / name).unlink(missing_ok=True)


def describe(directory: str | os.PathLike[str]) -> Checkpoint:
    """Return the description of the checkpoint in `directory`.

    Raises:
        CheckpointError: If there is none, or its description cannot be read.
    """
    file = pathlib.Path(directory) / DESCRIPTION
    try:
        with _opened(file) as content:  # `read` allocates all the bytes it may read
            size = os.fstat(content.fileno()).st_size
            return _described(content.read(min(size, LONGEST) + 1))
    except FileNotFoundError:
        raise CheckpointError(f"There is no checkpoint in {directory}.") from None
    except (OSError, ValueError, TypeError) as error:
        raise CheckpointError(
            f"The checkpoint in {directory} is damaged: {file.name} cannot be read: {error}"
        ) from error


def _described(text: bytes) -> Checkpoint:
    """Parse a description, which may come from someone else.

    Raises:
        ValueError, TypeError: If no checkpoint can have such a description.
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
    """Return whether a user-defined training loop saved the weights in `directory`.

    As in KerasTuner, such weights have no description.
    """
    place = pathlib.Path(directory)
    return (place / WEIGHTS).exists() and not (place / DESCRIPTION).exists()


def exists(directory: str | os.PathLike[str]) -> bool:
    """Return whether `directory` holds a checkpoint."""
    place = pathlib.Path(directory)
    return (place / DESCRIPTION).exists() and ((place / WEIGHTS).exists() or (place / NEW).exists())


def is_whole(directory: str | os.PathLike[str]) -> bool:
    """Return whether `directory` holds an intact checkpoint."""
    with contextlib.suppress(CheckpointError):
        return intact(pathlib.Path(directory)).exists()
    return False


def force(directory: str | os.PathLike[str]) -> None:
    """Force the checkpoint in `directory`, if any, to the disk (fsync), so that it survives power
    loss.

    New weights left by a killed process replace the old ones, or are removed.

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
    """Keep only the weights file that matches the description."""
    new, is_described = place / NEW, False
    with contextlib.suppress(CheckpointError):
        is_described = intact(place) == new
    with contextlib.suppress(FileNotFoundError):  # a process assumed lost has moved it
        if is_described:
            new.replace(place / WEIGHTS)
        else:
            new.unlink()


def intact(place: pathlib.Path) -> pathlib.Path:
    """Return the weights file that matches the description in `place`.

    Raises:
        CheckpointError: If there is no intact one.
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
    """Open a file for reading.

    Raises:
        OSError: If it cannot be read, such as a pipe, which would block.
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
    """Return the digest of a file's content."""
    with _opened(file) as content:
        summed = hashlib.blake2b(digest_size=16)
        while block := content.read(1 << 20):
            summed.update(block)
        return summed.hexdigest()


def link(checkpoint: pathlib.Path, to: pathlib.Path) -> None:
    """Put a checkpoint into another place too, as hard links where the file system supports
    them.
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
    """Return the file for new weights; an existing symbolic link there is removed."""
    if (place / NEW).is_symlink():
        (place / NEW).unlink()
    return place / NEW


def settle(place: pathlib.Path, description: bytes) -> None:
    """Replace the old description, and then the old weights, by the new ones."""
    write_whole(place / DESCRIPTION, description)
    (place / NEW).replace(place / WEIGHTS)


@contextlib.contextmanager
def storing(place: pathlib.Path) -> Iterator[None]:
    """Turn errors inside into a `StorageError` about a checkpoint."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        if isinstance(error, StorageError) or not (
            isinstance(error, OSError) or "errno" in str(error)
        ):  # HDF5's form of the error
            raise
        raise StorageError(
            f"A checkpoint cannot be written to {place}: {type(error).__name__}: {error}"
        ) from error
