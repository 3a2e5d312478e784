"""JSON of files that may come from someone else. Size, depth and numbers must be manageable, or it
is a `ValueError`. Runs anywhere.
"""

from __future__ import annotations

import json
import os
import pathlib
from typing import Any

LONGEST = 1 << 26
"""The maximum size of a text in bytes."""
DEEPEST = 100
"""The maximum number of nested brackets."""
LARGEST = 2**53
"""The maximum of a count, such as epochs."""
_DIGITS = 4000
"""The maximum digits of an integer; Python itself reads hardly more."""


def parsed(text: bytes, longest: int = LONGEST) -> Any:
    """Parse a JSON text.

    Args:
        text: The text.
        longest: The maximum number of bytes. Defaults to `LONGEST`.

    Raises:
        ValueError: If it is not JSON, or exceeds the limits.
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
    """Parse a JSON file.

    Args:
        path: The file.
        longest: As for `parsed`. Defaults to `LONGEST`.

    Raises:
        ValueError: If it is not a file, not JSON, or exceeds the limits.
        OSError: If it cannot be read.
    """
    if path.exists() and not path.is_file():  # such as a pipe, which would block
        raise ValueError("it is no file")
    with path.open("rb") as file:  # `read` allocates all the bytes it may read
        size = os.fstat(file.fileno()).st_size
        return parsed(file.read(min(size, longest) + 1), longest)


def is_step(value: Any) -> bool:
    """Return whether a value counts steps; a user-defined loop may count in floats."""
    is_whole = type(value) is int or (type(value) is float and value.is_integer())
    return is_whole and abs(value) <= LARGEST


def _decoded(text: str) -> Any:
    """Decode a JSON text.

    Most are one line with one object and short numbers, decoded without searching for space around
    it.
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
"""For texts too short for an integer with too many digits."""
_TOO_DEEP = f"more than {DEEPEST} brackets are open at once"
