"""A console that writes to any file: what the file's encoding lacks becomes a question mark. Rich;
runs in the driver.
"""

from __future__ import annotations

import sys
from typing import IO, Any, cast

import rich.console


class LossyConsole(rich.console.Console):
    """Writes to standard output, as it is then, whatever characters paths and messages have.

    Rich would raise `UnicodeEncodeError`, and try to write the same text again with the next one.
    """

    @property
    def file(self) -> IO[str]:
        """Return what is written to."""
        return cast(IO[str], _Lossy(super().file))

    @file.setter
    def file(self, new_file: IO[str]) -> None:
        self._file = new_file


def say(text: str) -> None:
    """Print a text, whatever characters it has."""
    print(text, file=cast(IO[str], _Lossy(sys.stdout)))


class _Lossy:
    """A file that takes any text.

    Args:
        file: What has all else.
    """

    def __init__(self, file: IO[str]) -> None:
        self._file = file

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def write(self, text: str) -> int:
        try:
            return self._file.write(text)
        except UnicodeEncodeError:
            encoding = getattr(self._file, "encoding", None) or "ascii"
            return self._file.write(text.encode(encoding, "replace").decode(encoding))
