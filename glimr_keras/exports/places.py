"""Checks and errors for the locations that a user chose to write to. Runs anywhere."""

from __future__ import annotations

import contextlib
import pathlib
import re
from collections.abc import Iterator

from glimr_keras.errors import ProjectError, StorageError
from glimr_keras.project import keras_tuner_files
from glimr_keras.project.journal import Journal


def is_project(directory: pathlib.Path) -> bool:
    """Return whether a directory is a project, including a KerasTuner project."""
    return Journal(directory).exists() or keras_tuner_files.exists(directory)


def outside_projects(place: pathlib.Path) -> pathlib.Path:
    """Return a location if it may be written to.

    Raises:
        ProjectError: If it is a project, or inside one.
    """
    found = place.resolve()
    for directory in (found, *found.parents):
        if is_project(directory):
            other = directory.with_name(f"{directory.name}-export")
            raise ProjectError(
                f"Nothing is written into a project, which is only read. Received: {place}, in the "
                f"project {directory}. Choose another place, such as {other}."
            )
    return place


def shown(where: str) -> str:
    """Return a location without its secrets.

    For example, `postgresql://me:secret@host/db?sslkey=…` becomes `postgresql://host/db`.
    """
    if "://" not in where:
        return where
    return re.sub(r"://[^/]*@", "://", where.partition("?")[0], count=1)


@contextlib.contextmanager
def telling(tool: str, where: str, *errors: type[Exception]) -> Iterator[None]:
    """Replace errors of a tool and of its database by a `StorageError` that names the location.

    Args:
        tool: The tool's name.
        where: The location that it writes to.
        *errors: The tool's own error types.

    Raises:
        StorageError: Instead of these errors.
    """
    try:
        yield
    except (*errors, *_of_databases()) as error:
        raise StorageError(f"{tool} cannot write to {shown(where)}: {_reason(error)}") from error


def _of_databases() -> tuple[type[Exception], ...]:
    try:
        import sqlalchemy
    except ImportError:
        return ()
    return (sqlalchemy.exc.SQLAlchemyError,)


def _reason(error: BaseException) -> str:
    """Return an error's message; for database errors, without the statement and its values."""
    if isinstance(error, _of_databases()):
        return str(getattr(error, "orig", None) or error).partition("\n")[0]
    cause = error.__cause__
    return f"{error} ({_reason(cause)})" if isinstance(cause, _of_databases()) else str(error)
