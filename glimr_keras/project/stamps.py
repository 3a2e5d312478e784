"""Checkpoints and predictions in a project by their files, with sizes and times of change, by which
it is seen what has changed. Runs in the driver.
"""

from __future__ import annotations

import itertools
import os
import pathlib

from glimr_keras.project import checkpoints, predictions
from glimr_keras.trials.layout import STATES, trial_directories

STATES_PART = f"/{STATES}/"
"""In the name of each file of a state."""
_FILES = frozenset({checkpoints.WEIGHTS, checkpoints.DESCRIPTION})
_LISTED = _FILES | {predictions.FILE}


def listed(directory: pathlib.Path) -> dict[str, dict[str, list[int]]]:
    """Checkpoints that are here: by folder, the files with sizes and times of change. A file of
    predictions is a folder of its own.
    """
    found: dict[str, dict[str, list[int]]] = {}
    trials = (each for each in trial_directories(directory) if not each.is_symlink())
    walks = map(os.walk, trials)
    for place, folders, names in itertools.chain.from_iterable(walks):
        folders[:] = [each for each in folders if not each.startswith(".")]
        name = pathlib.Path(place).relative_to(directory).as_posix()
        for file in _LISTED.intersection(names):
            seen = stamp(pathlib.Path(place, file))
            if seen is not None:  # and not gone again
                found.setdefault(folder_of(f"{name}/{file}"), {})[f"{name}/{file}"] = seen
    return found


def files_in(directory: pathlib.Path, folder: str) -> dict[str, list[int]]:
    """The same of one checkpoint."""
    is_state = STATES_PART in folder
    parts = (folder, f"{folder}/{checkpoints.BEST}") if is_state else (folder,)
    names = [f"{part}/{file}" for part in parts for file in _FILES]
    stamps = ((name, stamp(directory / name)) for name in names)
    return {name: seen for name, seen in stamps if seen is not None}


def folder_of(name: str) -> str:
    """That of a file's checkpoint; the best weights of a state are a part of it."""
    if is_predictions(name):
        return name
    folder = name.rpartition("/")[0]
    return folder.removesuffix(f"/{checkpoints.BEST}") if STATES_PART in name else folder


def is_predictions(name: str) -> bool:
    """Whether it is the name of a file of predictions."""
    return name.endswith(f"/{predictions.FILE}")


def training_of(name: str) -> str:
    """The training that a state's file is of; empty for other files."""
    training, found, _ = name.partition(STATES_PART)
    return training if found else ""


def stamp(path: pathlib.Path) -> list[int] | None:
    """A file's size and time of change; `None` if it is not there."""
    try:
        found = path.stat()
    except OSError:
        return None
    return [found.st_size, found.st_mtime_ns]
