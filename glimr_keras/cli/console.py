"""What commands write to a terminal: lines, some of which have a style. Rich; runs anywhere."""

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
"""Of what is no terminal."""


@dataclasses.dataclass(frozen=True)
class Line:
    """A line of text, without control characters.

    Attributes:
        text: What is written.
        style: How, in Rich's words, where that can be seen.
    """

    text: str = ""
    style: str = ""

    def rich(self) -> Text:
        """Return it as Rich has it; what stands in brackets is text."""
        return Text(self.text, self.style, no_wrap=True, overflow="ellipsis")


class _Console(Console):
    """Leaves a broken pipe to `main`."""

    def on_broken_pipe(self) -> None:
        """Let it out, and do not end the process."""
        raise  # noqa: PLE0704  # Rich calls this while it handles it


def width() -> int:
    """Return how many columns there are to write in."""
    return shutil.get_terminal_size((WIDTH_OF_FILES, HEIGHT)).columns


def height() -> int:
    """Return how many lines there are to write in."""
    return shutil.get_terminal_size((WIDTH_OF_FILES, HEIGHT)).lines


def tell(sentence: str, place: str | os.PathLike[str] | None) -> None:
    """Say what was written: on standard error where that is a stream, such as `/dev/stdout`, in
    which the sentence would be more of it.

    Args:
        sentence: What is said.
        place: What was written to; `None` for what the tool itself knows.
    """
    print(sentence, file=sys.stderr if place is not None and _is_stream(place) else sys.stdout)


def _is_stream(place: str | os.PathLike[str]) -> bool:
    path = pathlib.Path(place)
    is_device = path.is_relative_to("/dev")  # which may lead to a file
    return is_device or (path.exists() and not path.is_file() and not path.is_dir())


def write(lines: Iterable[Line]) -> None:
    """Write lines to standard output, whole, with their styles where it is a terminal."""
    console = _Console(width=width(), highlight=False)
    for line in lines:
        console.print(Text(line.text, line.style), soft_wrap=True)
