"""The project that a command works on: found, read, and read again when it has grown. Runs
anywhere.
"""

from __future__ import annotations

import argparse
import os
import pathlib
from collections.abc import Iterator
from typing import Any

from glimr_keras.errors import ProjectError
from glimr_keras.exports.places import is_project
from glimr_keras.project.journal import FILE, HIDDEN, Project
from glimr_keras.project.remote_files import is_uri, project_name, without_keys
from glimr_keras.project.remote_mirror import Mirror, project_place
from glimr_keras.results.sources import project_of
from glimr_keras.trials import stored_trial
from glimr_keras.trials.objective import DIRECTIONS, Objective

_SECONDS_OF_REMOTE = 10.0
_SHOWN = 20
"""The number of projects that a message names."""


class Opened:
    """A project that a command looks at.

    Args:
        place: The project's directory or URI, as the user typed it.
        objective: A metric to use instead of the optimised objective. Defaults to `None`, which
            means the optimised objective.

    Attributes:
        place: The directory or URI, without any keys in the URI.
        name: The project's name.
        directory: The project's directory on this machine.
        is_remote: Whether `directory` is a copy of a project at a URI.

    Raises:
        ProjectError: If there is no project.
    """

    def __init__(self, place: str, objective: Objective | None = None) -> None:
        self.place, self.objective, self.is_remote = without_keys(place), objective, is_uri(place)
        self.directory, self._mirror = project_place(place)
        self.name = project_name(place)
        self._there: tuple[int, int] | None = None
        if self._mirror is not None:
            self._pull(self._mirror)
        else:
            self.directory = self.directory.resolve()
            self.name = self.directory.name
        if not is_project(self.directory):
            raise ProjectError(_nothing_in(self))

    @classmethod
    def of(cls, arguments: argparse.Namespace) -> Opened:
        """Open the project that a command's arguments name."""
        return cls(arguments.place, arguments.objective)

    def read(self) -> Project:
        """Return the current project; at a URI, its state at the last call of `stamp`."""
        return project_of(self.directory, self.objective)

    def stamp(self) -> tuple[Any, ...]:
        """Return a value that changes when the project grows, without reading the project.

        Raises:
            ProjectError: If it is no longer at its URI.
            StorageError: If the URI cannot be accessed.
        """
        if self._mirror is not None:
            self._pull(self._mirror)
        return tuple(_stamps(self.directory))

    def pause(self, seconds: float) -> float:
        """Return the seconds between two looks: the requested number, or more for a remote
        project.
        """
        return max(seconds, _SECONDS_OF_REMOTE) if self.is_remote else seconds

    def _pull(self, mirror: Mirror) -> None:
        """Download the journal if it has changed since the last download."""
        there = mirror.stamp()
        if there is None or there != self._there:
            mirror.pull_existing()
            self.directory = mirror.directory
            here = max((size for size, _ in _stamps(self.directory)), default=0)
            self._there = there if there is not None and here >= there[0] else None


def add_place(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that select the project."""
    parser.add_argument(
        "place",
        metavar="DIR",
        help="a project's directory, its URI, such as s3://bucket/runs/digits, or a project of "
        "KerasTuner",
    )
    parser.add_argument(
        "--objective",
        type=objective_of,
        metavar="METRIC",
        help="another metric than what was optimised, at the epoch of the score, such as val_loss, "
        "or my_metric:max with its direction",
    )


def objective_of(text: str) -> Objective:
    """Return the objective that an argument names: `val_loss`, or `my_metric:max`."""
    name, colon, direction = text.rpartition(":")
    if colon and direction in DIRECTIONS:
        return Objective(name, direction)
    return Objective(text)


def _stamps(directory: pathlib.Path) -> Iterator[tuple[int, int]]:
    journal = directory / HIDDEN / FILE
    is_ours = journal.exists()
    for file in [journal] if is_ours else stored_trial.files_in(directory):
        try:
            found = file.stat()
        except OSError:  # removed in the meantime
            continue
        yield found.st_size, found.st_mtime_ns


def _nothing_in(opened: Opened) -> str:
    """Return a message that there is no project, and where there are some."""
    directory = pathlib.Path(opened.place)
    if not directory.exists():
        return f"There is no directory {opened.place}."
    if not directory.is_dir():
        return f"{opened.place} is no directory. Give the project's directory."
    found = list(_projects_below(directory))
    if not found:
        return (
            f"There is no project in {opened.place}. A project is the directory "
            "`directory/project_name` of a tuner."
        )
    others = f"\n  and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    listed = "\n".join(f"  {os.path.relpath(path)}" for path in found[:_SHOWN])
    return f"{opened.place} is no project, but has projects. Choose one:\n{listed}{others}"


def _projects_below(directory: pathlib.Path, depth: int = 2) -> Iterator[pathlib.Path]:
    """Yield the projects in a directory and its subdirectories."""
    try:
        folders = sorted(path for path in directory.iterdir() if path.is_dir())
    except OSError:
        return
    for folder in folders:
        if is_project(folder):
            yield folder
        elif depth > 1 and not folder.name.startswith("."):
            yield from _projects_below(folder, depth - 1)
