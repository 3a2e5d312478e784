"""Values, columns and tables as short, plain text. Knows nothing of tuning; runs anywhere."""

from __future__ import annotations

import dataclasses
import math
import re
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

MISSING: Any = object()
"""A cell without a value."""
_NONE = "-"
_WIDEST = 32
_NARROW = 14
_MOST_DECIMALS, _MOST_DIGITS = 6, 9
_ESCAPES = re.compile(r"\x1b(\[[0-9;:?]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\)|[@-Z\\-_])")
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def plain(text: str) -> str:
    """Remove colors and other control characters from a text, except newlines and tabs.

    Keras' messages contain some.
    """
    return _CONTROLS.sub("", _ESCAPES.sub("", text.replace("\r\n", "\n")))


def one_line(text: str, width: int | None = None) -> str:
    """Return a text in one line, cut to a width with an ellipsis."""
    line = " ".join(plain(text).split())
    return line if width is None or len(line) <= width else f"{line[: width - 1].rstrip()}…"


def four_digits(number: float) -> str:
    """Format a number with about four significant digits: `0.9812`, `31.4200`, `1.234e-06`."""
    size = abs(number)
    if not math.isfinite(number) or number == 0 or 1e-3 <= size < 1e3:
        return f"{number:.4f}"
    return f"{number:.1f}" if 1e3 <= size < 1e6 else f"{number:.4g}"


def short(value: Any) -> str:
    """Return any value in one line, a float with four significant digits."""
    return f"{value:.4g}" if isinstance(value, float) else one_line(str(value))


def duration(seconds: float) -> str:
    """Format a duration as `h:mm:ss`, with any number of hours."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"


@dataclasses.dataclass(frozen=True)
class Column:
    """A column of a table.

    Args:
        name: The heading.
        cells: The cells as displayed.
        is_number: Whether the cells are numbers, which are right-aligned. Defaults to `False`.
    """

    name: str
    cells: tuple[str, ...]
    is_number: bool = False

    @classmethod
    def of(cls, name: str, values: Iterable[Any], width: int | None = _WIDEST) -> Column:
        """Return a column of any values.

        Args:
            width: The width to which longer texts are cut; `None` cuts nothing. Defaults to 32.
        """
        values = list(values)
        there = [value for value in values if value is not MISSING]
        numbers = [value for value in there if _is_number(value)]
        shown = _shown_alike([value for value in numbers if isinstance(value, float)])
        cells = (
            _NONE
            if value is MISSING
            else shown(value)
            if isinstance(value, float)
            else one_line(str(value), width)
            for value in values
        )
        return cls(one_line(name), tuple(cells), bool(there) and len(numbers) == len(there))


def text_table(columns: Sequence[Column], width: int, indent: str = "  ") -> list[str]:
    """Return the lines of a table with aligned columns.

    If the table is too wide, long headings wrap, and long texts are cut if that suffices. Otherwise
    the columns are split into parts below each other, each with the first column again.

    Args:
        columns: At least one column, all with the same number of cells.
        width: The maximum width of the lines, kept where possible.
        indent: The start of each line. Defaults to `"  "`.
    """
    headings = [[column.name] for column in columns]
    if _width(columns, headings, indent) > width:
        headings = [_broken(column) for column in columns]
        columns = _cut(columns, headings, width, indent)
    lines: list[str] = []
    for part in _parts(columns, headings, width, indent):
        lines += [""] if lines else []
        lines += _lines([columns[i] for i in part], [headings[i] for i in part], indent)
    return lines


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _shown_alike(numbers: Sequence[float]) -> Any:
    """Return a function that formats the numbers of a column.

    All get the same number of decimals, such that the smallest has four digits, unless their
    magnitudes differ too much.
    """
    sizes = [abs(number) for number in numbers if math.isfinite(number) and number]
    if sizes and all(math.isclose(number, round(number, 1)) for number in sizes):  # 0.1, 0.2, …
        return lambda number: f"{number:.1f}"
    before = 1 + math.floor(math.log10(max(sizes, default=1)))
    decimals = max(3 - math.floor(math.log10(min(sizes, default=1))), 1)
    if decimals > _MOST_DECIMALS or before + decimals > _MOST_DIGITS:
        return lambda number: f"{number:.4g}"
    return lambda number: f"{number:.{decimals}f}"


def _width(columns: Sequence[Column], headings: Sequence[Sequence[str]], indent: str) -> int:
    widths = (_column_width(*pair) for pair in zip(columns, headings, strict=True))
    return len(indent) + sum(widths) + 2 * (len(columns) - 1)


def _column_width(column: Column, heading: Sequence[str]) -> int:
    return max(map(len, (*column.cells, *heading)), default=0)


def _broken(column: Column) -> list[str]:
    """Wrap a heading into several lines, broken after a slash or an underscore."""
    room = max([_NARROW, *map(len, column.cells)])
    lines = [""]
    for piece in re.findall(r"[^/_ ]*[/_ ]?", column.name):
        if lines[-1] and len(lines[-1] + piece) > room:
            lines.append("")
        lines[-1] += piece
    return [part for line in lines for part in textwrap.wrap(line, _WIDEST)]


def _cut(
    columns: Sequence[Column], headings: Sequence[Sequence[str]], width: int, indent: str
) -> Sequence[Column]:
    """Cut long texts, the longest first, if the columns then fit; otherwise return them unchanged.

    The first column is never cut.
    """
    cut = list(columns)
    while (excess := _width(cut, headings, indent) - width) > 0:
        texts = [index for index, column in enumerate(cut) if index and not column.is_number]
        longest = max(texts, key=lambda index: _column_width(cut[index], ()), default=None)
        widest = 0 if longest is None else _column_width(cut[longest], ())
        if longest is None or widest <= _NARROW:
            return columns
        room = max(widest - excess, _NARROW)
        cells = tuple(one_line(cell, room) for cell in cut[longest].cells)
        cut[longest] = dataclasses.replace(cut[longest], cells=cells)
    return cut


def _parts(
    columns: Sequence[Column], headings: Sequence[Sequence[str]], width: int, indent: str
) -> list[list[int]]:
    """Return which columns share a part of the table; each part has the first column."""
    parts, used = [[0]], len(indent) + _column_width(columns[0], headings[0])
    first = used
    for index in range(1, len(columns)):
        needed = 2 + _column_width(columns[index], headings[index])
        if used + needed > width and len(parts[-1]) > 1:
            parts.append([0])
            used = first
        parts[-1].append(index)
        used += needed
    return parts


def _lines(columns: Sequence[Column], headings: Sequence[Sequence[str]], indent: str) -> list[str]:
    height = max(map(len, headings))
    rows = [
        [*([""] * (height - len(heading))), *heading, *column.cells]
        for column, heading in zip(columns, headings, strict=True)
    ]
    texts = [
        [cell.rjust(width) if column.is_number else cell.ljust(width) for cell in cells]
        for column, cells in zip(columns, rows, strict=True)
        for width in [max(map(len, cells))]
    ]
    return [f"{indent}{'  '.join(line)}".rstrip() for line in zip(*texts, strict=True)]
