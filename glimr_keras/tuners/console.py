"""A Rich console that replaces characters missing from the file's encoding with question marks.
Runs in the driver.
"""

from __future__ import annotations

import sys
from typing import IO, Any, cast

import rich.console


class LossyConsole(rich.console.Console):
    """Write any characters to the current standard output.

    Rich would raise `UnicodeEncodeError`, and retry the same text with the next one.
    """

    @property
    def file(self) -> IO[str]:
        """Return the file to write to."""
        return cast(IO[str], _Lossy(super().file))

    @file.setter
    def file(self, new_file: IO[str]) -> None:
        self._file = new_file


def say(text: str) -> None:
    """Print a text, whatever its characters."""
    print(text, file=cast(IO[str], _Lossy(sys.stdout)))


class _Lossy:
    """A file that accepts any text.

    Args:
        file: The file to write to, which provides all other attributes.
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
