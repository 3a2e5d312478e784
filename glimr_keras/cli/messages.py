"""Errors that a user can fix, and their messages. Runs anywhere."""

from __future__ import annotations

from glimr_keras._utils.text import plain
from glimr_keras.errors import StorageError

EXPECTED = (ValueError, OSError, ImportError, StorageError)
"""Errors whose message tells the user what to do: no project, an unwritable location, or a library
that is not installed.
"""


def said_by(error: BaseException) -> str:
    """Return the message of an error; for an operating-system error, with the file first."""
    if isinstance(error, OSError) and error.filename is not None:
        return plain(f"{error.filename}: {error.strerror}")
    return plain(str(error))
