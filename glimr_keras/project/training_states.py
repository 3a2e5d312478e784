"""Training states, from which an interrupted execution resumes. Runs in driver and worker.

They are checkpoints in a directory of their own, one per epoch. Each has a link to the best weights
at that time.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import shutil
from collections.abc import Iterator, Mapping

from glimr_keras.errors import CheckpointError
from glimr_keras.project import checkpoints
from glimr_keras.project.checkpoints import (
    BEST,
    DESCRIPTION,
    age,
    describe,
    exists,
    intact,
    link,
    put,
    remove,
    storing,
)

_REMOVED = ".old_"
"""The prefix of a directory that is being removed and may be incomplete."""


def save_best(directory: str | os.PathLike[str], best: str | os.PathLike[str]) -> None:
    """Make the best weights of a training, without its optimizer's state, the state from which it
    resumes.

    Args:
        directory: The directory of all states of this training.
        best: The directory of its best checkpoint.

    Raises:
        StorageError: If it cannot be written.
        CheckpointError: If the best checkpoint is damaged.
    """
    with new_state(pathlib.Path(directory), describe(best).epoch) as place:
        link(pathlib.Path(best), place / BEST)
        link(pathlib.Path(best), place)


def put_state(directory: str | os.PathLike[str], files: Mapping[str, bytes]) -> None:
    """Write a state that was packed elsewhere, as `model_weights.save_state` does.

    Raises:
        StorageError: If it cannot be written.
    """
    best = {
        name.removeprefix(f"{BEST}/"): content
        for name, content in files.items()
        if name.startswith(f"{BEST}/")
    }
    with new_state(pathlib.Path(directory), age(files[DESCRIPTION])[1]) as place:
        if best:
            put(place / BEST, best)
        put(place, files)


def newest(directory: str | os.PathLike[str]) -> pathlib.Path | None:
    """Return the intact checkpoint of the latest epoch among a training's states; `None` if there
    is none.

    The latest attempt comes first.

    Args:
        directory: The directory of the states, or of a single checkpoint, which then counts too.
    """
    place = pathlib.Path(directory)
    found = []
    there = place.iterdir() if place.is_dir() else ()
    for each in [place, *(each for each in there if not each.name.startswith(_REMOVED))]:
        with contextlib.suppress(CheckpointError):
            described = describe(each)
            found.append((described.attempt, described.epoch, not each.name.startswith("."), each))
    for *_, each in sorted(found, reverse=True):
        with contextlib.suppress(CheckpointError):
            intact(each)
            if exists(each / BEST):
                intact(each / BEST)
            return each
    return None


def force(directory: str | os.PathLike[str]) -> None:
    """Force a training's state, from which another is to resume, to the disk (fsync).

    Args:
        directory: The directory of all states of this training.

    Raises:
        StorageError: If it cannot be written.
    """
    place = pathlib.Path(directory)
    for state in place.glob("epoch_*"):  # there is one, unless it is being replaced
        checkpoints.force(state)
        checkpoints.force(state / BEST)


def go_back(directory: str | os.PathLike[str], state: pathlib.Path) -> None:
    """Restore the best weights in a training's `directory` to those from when `state` was saved."""
    place, kept = pathlib.Path(directory), state / BEST
    with contextlib.suppress(CheckpointError):
        if exists(kept) and describe(place) == describe(kept):
            intact(place)
            return
    remove(place)
    if exists(kept):
        with storing(place):
            link(kept, place)


@contextlib.contextmanager
def new_state(states: pathlib.Path, epoch: int) -> Iterator[pathlib.Path]:
    """Yield a directory for a new state. On exit, move it into place and remove earlier states."""
    place = states / f"epoch_{epoch:06d}"
    beside = states / f".{place.name}"
    with storing(states):
        shutil.rmtree(beside, ignore_errors=True)
        yield beside
        if place.exists():
            remove_states(place)
        beside.replace(place)
        for other in states.iterdir():
            if other != place:
                remove_states(other)


def remove_states(directory: pathlib.Path) -> None:
    """Remove a training's state, or the directory of all its states, if it exists.

    Concurrent readers find all of it or nothing.
    """
    hidden = directory.with_name(f"{_REMOVED}{directory.name}")
    if not os.path.lexists(directory) and not os.path.lexists(hidden):  # as for most trainings
        return
    shutil.rmtree(hidden, ignore_errors=True)
    with contextlib.suppress(OSError):  # it does not exist
        directory.replace(hidden)
    shutil.rmtree(hidden, ignore_errors=True)
