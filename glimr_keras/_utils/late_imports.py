"""Libraries that are imported by those only who use them. Runs anywhere."""

from __future__ import annotations

import importlib
import sys
from typing import Any


def if_imported(module: str, name: str) -> Any:
    """Return a class of a library, for `isinstance`.

    Args:
        module: Where it is defined; not another that only has it too, which may not be imported.
        name: Its name there.

    Returns:
        The class; where its module has not been imported, and so nothing can be of it, an empty
        tuple, of which nothing is an instance.
    """
    return getattr(sys.modules.get(module), name, ())


class WhenUsed:
    """A module that is imported when something of it is asked for, also by an annotation that
    somebody resolves.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # which inspection asks any object for
            raise AttributeError(name)
        return getattr(importlib.import_module(self._name), name)
