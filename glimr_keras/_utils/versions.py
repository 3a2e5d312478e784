"""Versions of libraries that only some users have. Knows nothing of tuning; runs anywhere."""

from __future__ import annotations

import re

WANDB = "0.19.10"
"""The first version of W&B in which a run can begin while others are active."""


def check_version(library: str, received: str, least: str) -> None:
    """Refuse a version of a library that lacks what is used of it.

    Args:
        library: As pip knows it.
        received: Its `__version__`; what follows the numbers, such as `rc1`, does not count.
        least: The first version that has it, in numbers.

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
