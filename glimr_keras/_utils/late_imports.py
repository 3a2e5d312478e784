"""Libraries that are imported only when used. Runs anywhere."""

from __future__ import annotations

import importlib
import sys
from typing import Any


def if_imported(module: str, name: str) -> Any:
    """Return a class of a library for `isinstance`, without importing the library.

    Args:
        module: The module that defines the class. Not one that only re-exports it, which may not be
            imported.
        name: The class's name in that module.

    Returns:
        The class. If its module is not imported, so no instance can exist, an empty tuple.
    """
    return getattr(sys.modules.get(module), name, ())


class WhenUsed:
    """A module that is imported on the first access to one of its attributes, even by resolving an
    annotation.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # inspection requests these of any object
            raise AttributeError(name)
        return getattr(importlib.import_module(self._name), name)
