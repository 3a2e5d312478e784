"""Which files are the user's own, and no library's."""

from __future__ import annotations

import functools
import os
import pathlib
import sysconfig
from collections.abc import Container

_OWN = str(pathlib.Path(__file__).parents[1]) + os.sep
_INSTALLED = tuple(f"{os.sep}{name}{os.sep}" for name in ("site-packages", "dist-packages"))
_STANDARD = tuple(
    path.rstrip(os.sep) + os.sep
    for name, path in sysconfig.get_paths().items()
    if name in ("stdlib", "platstdlib")
)
_NEVER = ("glimr_keras", "keras", "tensorflow", "ray", "numpy")


def is_own_file(file: str | None, name: str | None, packages: Container[str] = ()) -> bool:
    """Return whether what is defined in a file, in a module of this name, is the user's.

    Args:
        packages: Names of installed packages whose code counts as the user's own.
    """
    if file is None or file.startswith("<frozen"):
        return False
    package = (name or "").partition(".")[0]
    place = _place(file)
    return package not in _NEVER and (place == "" or (place == "installed" and package in packages))


@functools.cache
def _place(file: str) -> str:
    """Return where a file is: nothing for what is the user's."""
    if file.startswith(_OWN):
        return "here"
    if any(part in file for part in _INSTALLED):
        return "installed"
    return "standard" if file.startswith(_STANDARD) else ""
