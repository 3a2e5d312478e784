"""Checks of single arguments. Each error message shows the received value and the accepted ones.
Runs anywhere.
"""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np

_Kind = TypeVar("_Kind")


def checked_count(name: str, value: Any, at_least: int = 1) -> int:
    """Return an integer of at least `at_least`."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < at_least:
        raise ValueError(
            f"`{name}` must be an integer of at least {at_least}. Received: {name}={value!r}"
        )
    return int(value)


def checked_kind(name: str, value: Any, kind: type[_Kind], described: str) -> _Kind | None:
    """Return `None` or an instance of `kind`."""
    if value is not None and not isinstance(value, kind):
        raise TypeError(f"`{name}` must be {described}. Received: {name}={value!r}")
    return value


def checked_seconds(name: str, value: Any) -> float:
    """Return a positive number of seconds."""
    if (
        isinstance(value, bool)
        or not isinstance(value, (int, float))
        or not 0 < value < float("inf")
    ):
        raise ValueError(
            f"`{name}` must be a number of seconds above 0. Received: {name}={value!r}"
        )
    return float(value)


def optional_count(name: str, value: Any, at_least: int = 1) -> int | None:
    """Return `None` or an integer of at least `at_least`."""
    return None if value is None else checked_count(name, value, at_least)


def optional_seconds(name: str, value: Any) -> float | None:
    """Return `None` or a positive number of seconds."""
    return None if value is None else checked_seconds(name, value)
