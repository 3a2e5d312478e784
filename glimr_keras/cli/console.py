"""Terminal output of commands: lines of text, optionally with a style. Uses Rich; runs anywhere."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import shutil
import sys
from collections.abc import Iterable

from rich.console import Console
from rich.text import Text

WIDTH_OF_FILES, HEIGHT = 120, 24
"""The size that is used if the output is not a terminal."""


@dataclasses.dataclass(frozen=True)
class Line:
    """A line of text, without control characters.

    Attributes:
        text: The text.
        style: The Rich style, used where styles can be shown.
    """

    text: str = ""
    style: str = ""

    def rich(self) -> Text:
        """Return the line as Rich text; brackets are not markup."""
        return Text(self.text, self.style, no_wrap=True, overflow="ellipsis")


class _Console(Console):
    """A console that leaves a broken pipe to `main`."""

    def on_broken_pipe(self) -> None:
        """Re-raise the error instead of ending the process."""
        raise  # noqa: PLE0704  # Rich calls this while it handles the error


def width() -> int:
    """Return the number of columns of the terminal."""
    return shutil.get_terminal_size((WIDTH_OF_FILES, HEIGHT)).columns


def height() -> int:
    """Return the number of lines of the terminal."""
    return shutil.get_terminal_size((WIDTH_OF_FILES, HEIGHT)).lines


def tell(sentence: str, place: str | os.PathLike[str] | None) -> None:
    """Print what was written: on standard error if the content itself went to a stream.

    Otherwise, with a stream such as `/dev/stdout`, the sentence would end up in the content.

    Args:
        sentence: The sentence to print.
        place: The location that was written to; `None` for the tool's own default.
    """
    print(sentence, file=sys.stderr if place is not None and _is_stream(place) else sys.stdout)


def _is_stream(place: str | os.PathLike[str]) -> bool:
    path = pathlib.Path(place)
    is_device = path.is_relative_to("/dev")  # may be a link to a file
    return is_device or (path.exists() and not path.is_file() and not path.is_dir())


def write(lines: Iterable[Line]) -> None:
    """Write whole lines to standard output, with their styles if it is a terminal."""
    console = _Console(width=width(), highlight=False)
    for line in lines:
        console.print(Text(line.text, line.style), soft_wrap=True)
