"""JSON of files that somebody else may have made: of a size, a depth and numbers that can be
handled, or a `ValueError`. Runs anywhere.
"""

from __future__ import annotations

import json
import os
import pathlib
from typing import Any

LONGEST = 1 << 26
"""Bytes of one text."""
DEEPEST = 100
"""Brackets that are open at once."""
LARGEST = 2**53
"""Of what is counted, such as epochs."""
_DIGITS = 4000
"""Of an integer; Python itself reads hardly more."""


def parsed(text: bytes, longest: int = LONGEST) -> Any:
    """Return what a text says.

    Args:
        text: The text.
        longest: How many bytes it may have. Defaults to `LONGEST`.

    Raises:
        ValueError: If it is no JSON, or more than can be handled.
    """
    if len(text) > longest:
        raise ValueError(f"it has more than {longest} bytes")
    try:
        content = _decoded(text.decode())
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None
    if text.count(b"[") + text.count(b"{") > DEEPEST:
        _check_depth(content)
    return content


def read(path: pathlib.Path, longest: int = LONGEST) -> Any:
    """Return what a file says.

    Args:
        path: The file.
        longest: As for `parsed`.

    Raises:
        ValueError: If it is no file, no JSON, or more than can be handled.
        OSError: If it cannot be read.
    """
    if path.exists() and not path.is_file():  # as a pipe, which would be waited for
        raise ValueError("it is no file")
    with path.open("rb") as file:  # which makes room for as much as it is asked for
        size = os.fstat(file.fileno()).st_size
        return parsed(file.read(min(size, longest) + 1), longest)


def is_step(value: Any) -> bool:
    """Tell whether a value counts steps: a loop of the user's own may do so in floats."""
    is_whole = type(value) is int or (type(value) is float and value.is_integer())
    return is_whole and abs(value) <= LARGEST


def _decoded(text: str) -> Any:
    """Return what a text says. Most are a line with one object and short numbers, which is read
    without looking for space around it.
    """
    if len(text) > _DIGITS:
        return _CAREFUL.decode(text)
    if text.startswith("{"):
        content, end = _QUICK.raw_decode(text)
        if text[end:] in ("", "\n"):
            return content
    return _QUICK.decode(text)


def _integer(digits: str) -> int:
    if len(digits) > _DIGITS:
        raise ValueError(f"a number has {len(digits)} digits")
    return int(digits)


def _check_depth(content: Any) -> None:
    level = [content]
    for _ in range(DEEPEST):
        level = [
            child
            for each in level
            if isinstance(each, (dict, list))
            for child in (each.values() if isinstance(each, dict) else each)
        ]
        if not level:
            return
    raise ValueError(_TOO_DEEP)


_CAREFUL = json.JSONDecoder(parse_int=_integer)
_QUICK = json.JSONDecoder()
"""Of texts that are too short for an integer with too many digits."""
_TOO_DEEP = f"more than {DEEPEST} brackets are open at once"
