"""Versions of optional libraries. Knows nothing of tuning; runs anywhere."""

from __future__ import annotations

import re

WANDB = "0.19.10"
"""The first version of W&B that can start a run while others are active."""


def check_version(library: str, received: str, least: str) -> None:
    """Raise an error if a library's version is too old.

    Args:
        library: The library's name for pip.
        received: Its `__version__`. Anything after the numbers, such as `rc1`, is ignored.
        least: The first sufficient version, in numbers.

    Raises:
        ImportError: If it is older.
    """
    if _numbers(received) < _numbers(least):
        raise ImportError(
            f"{library} must be of version {least} or later. Received: {received}. Update it by "
            f"`pip install -U {library}`."
        )


def _numbers(version: str) -> list[int]:
    found = re.match(r"\d+(\.\d+)*", version)
    return [] if found is None else [int(part) for part in found[0].split(".")]
