"""What commands write to a terminal: lines, some of which have a style. Rich; runs anywhere."""

from __future__ import annotations

import dataclasses
import shutil
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


def write(lines: Iterable[Line]) -> None:
    """Write lines to standard output, whole, with their styles where it is a terminal."""
    console = _Console(width=width(), highlight=False)
    for line in lines:
        console.print(Text(line.text, line.style), soft_wrap=True)
