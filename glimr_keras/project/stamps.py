"""Checkpoints and predictions in a project by file, with sizes and modification times to detect
changes. Runs in the driver.
"""

from __future__ import annotations

import itertools
import os
import pathlib

from glimr_keras.project import checkpoints, predictions
from glimr_keras.trials.layout import STATES, trial_directories

STATES_PART = f"/{STATES}/"
"""In the name of every file of a state."""
_FILES = frozenset({checkpoints.WEIGHTS, checkpoints.DESCRIPTION})
_LISTED = _FILES | {predictions.FILE}


def listed(directory: pathlib.Path) -> dict[str, dict[str, list[int]]]:
    """Return the local checkpoints by folder, each with its files' sizes and modification times.

    A file of predictions counts as a folder of its own.
    """
    found: dict[str, dict[str, list[int]]] = {}
    trials = (each for each in trial_directories(directory) if not each.is_symlink())
    walks = map(os.walk, trials)
    for place, folders, names in itertools.chain.from_iterable(walks):
        folders[:] = [each for each in folders if not each.startswith(".")]
        name = pathlib.Path(place).relative_to(directory).as_posix()
        for file in _LISTED.intersection(names):
            seen = stamp(pathlib.Path(place, file))
            if seen is not None:  # and not removed meanwhile
                found.setdefault(folder_of(f"{name}/{file}"), {})[f"{name}/{file}"] = seen
    return found


def files_in(directory: pathlib.Path, folder: str) -> dict[str, list[int]]:
    """Return the same for one checkpoint."""
    is_state = STATES_PART in folder
    parts = (folder, f"{folder}/{checkpoints.BEST}") if is_state else (folder,)
    names = [f"{part}/{file}" for part in parts for file in _FILES]
    stamps = ((name, stamp(directory / name)) for name in names)
    return {name: seen for name, seen in stamps if seen is not None}


def folder_of(name: str) -> str:
    """Return the folder of a file's checkpoint; a state's best weights belong to the state."""
    if is_predictions(name):
        return name
    folder = name.rpartition("/")[0]
    return folder.removesuffix(f"/{checkpoints.BEST}") if STATES_PART in name else folder


def is_predictions(name: str) -> bool:
    """Return whether a name is of a file of predictions."""
    return name.endswith(f"/{predictions.FILE}")


def training_of(name: str) -> str:
    """Return the training of a state's file; empty for other files."""
    training, found, _ = name.partition(STATES_PART)
    return training if found else ""


def stamp(path: pathlib.Path) -> list[int] | None:
    """Return a file's size in bytes and modification time in ns; `None` if it does not exist."""
    try:
        found = path.stat()
    except OSError:
        return None
    return [found.st_size, found.st_mtime_ns]
