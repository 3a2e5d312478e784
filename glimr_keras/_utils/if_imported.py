"""Classes of libraries that are imported by those only who use them. Runs anywhere."""

from __future__ import annotations

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
