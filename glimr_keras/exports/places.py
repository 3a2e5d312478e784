"""Places that a user named: outside of projects, and what is said of those that cannot be written
to. Runs anywhere.
"""

from __future__ import annotations

import contextlib
import pathlib
import re
from collections.abc import Iterator

from glimr_keras.errors import ProjectError, StorageError
from glimr_keras.project import keras_tuner_files
from glimr_keras.project.journal import Journal


def is_project(directory: pathlib.Path) -> bool:
    """Tell whether a directory is a project, also one of KerasTuner."""
    return Journal(directory).exists() or keras_tuner_files.exists(directory)


def outside_projects(place: pathlib.Path) -> pathlib.Path:
    """Return a place in which something may be written.

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
    """Return a place as others may see it: `postgresql://me:secret@host/db?sslkey=…` is
    `postgresql://host/db`.
    """
    if "://" not in where:
        return where
    return re.sub(r"://[^/]*@", "://", where.partition("?")[0], count=1)


@contextlib.contextmanager
def telling(tool: str, where: str, *errors: type[Exception]) -> Iterator[None]:
    """Say of a tool's errors, and of those of its database, where they are from.

    Args:
        tool: Its name.
        where: What it writes to.
        *errors: The tool's own.

    Raises:
        StorageError: In place of them.
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
    """Return what an error says; of a database's, without the statement and its values."""
    if isinstance(error, _of_databases()):
        return str(getattr(error, "orig", None) or error).partition("\n")[0]
    cause = error.__cause__
    return f"{error} ({_reason(cause)})" if isinstance(cause, _of_databases()) else str(error)
