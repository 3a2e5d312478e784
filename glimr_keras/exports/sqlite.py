"""New databases of SQLite that other tools fill by thousands of small writes. SQLAlchemy; runs
anywhere.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
from collections.abc import Iterator
from typing import Any

from glimr_keras.exports.places import outside_projects

SUFFIXES = (".db", ".sqlite", ".sqlite3")
"""Of files that are such databases."""


def file_of(where: str) -> pathlib.Path | None:
    """Return the file of a database by its URL; `None` of what is no file of SQLite."""
    driver, _, path = where.partition(":///")
    is_file = driver.partition("+")[0] == "sqlite" and path and path != ":memory:"
    return pathlib.Path(path.partition("?")[0]) if is_file else None


@contextlib.contextmanager
def filled_at_once(where: str | None) -> Iterator[None]:
    """Have a database that is not there yet be put on the disk once, at the end, and not after each
    write, which takes most of the time. Its directory is made.

    A power cut leaves a damaged file then, which an export makes again. A database that is there
    already, with what else it has, is written to as ever.

    Args:
        where: The URL; of what is no new database of SQLite nothing is changed.

    Raises:
        ProjectError: If it is inside a project.
    """
    file = None if where is None else file_of(where)
    if file is None or outside_projects(file).exists():
        yield
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    import sqlalchemy

    def begin(connection: Any, record: object) -> None:
        connection.execute("PRAGMA synchronous=OFF")

    sqlalchemy.event.listen(sqlalchemy.engine.Engine, "connect", begin)
    try:
        yield
    finally:
        sqlalchemy.event.remove(sqlalchemy.engine.Engine, "connect", begin)
    with file.open("rb+") as content:
        os.fsync(content.fileno())
