"""Errors that a user can do something about, and what they say. Runs anywhere."""

from __future__ import annotations

from glimr_keras._utils.text import plain
from glimr_keras.errors import StorageError

EXPECTED = (ValueError, OSError, ImportError, StorageError)
"""Errors that say what is to be done: no project, a place that cannot be written to, a library that
is not installed.
"""


def said_by(error: BaseException) -> str:
    """Return what an error says; of one of the system's, first of which file."""
    if isinstance(error, OSError) and error.filename is not None:
        return plain(f"{error.filename}: {error.strerror}")
    return plain(str(error))
