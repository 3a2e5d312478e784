"""New SQLite databases that other tools fill with thousands of small writes. Uses SQLAlchemy; runs
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
"""The suffixes of SQLite files."""


def file_of(where: str) -> pathlib.Path | None:
    """Return the file of an SQLite URL; `None` for any other URL."""
    driver, _, path = where.partition(":///")
    is_file = driver.partition("+")[0] == "sqlite" and path and path != ":memory:"
    return pathlib.Path(path.partition("?")[0]) if is_file else None


@contextlib.contextmanager
def filled_at_once(where: str | None) -> Iterator[None]:
    """Flush a new database to disk once at the end instead of after each write.

    Flushing after each write would take most of the time. The database's directory is created. A
    power cut during the export leaves a damaged file, and the export must be repeated. An existing
    database is written to as usual.

    Args:
        where: The URL. If it is not a new SQLite database, nothing changes.

    Raises:
        ProjectError: If the file is inside a project.
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
