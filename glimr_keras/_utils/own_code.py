"""Which files are the user's code and not a library's."""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
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
    """Return whether code in a file, in a module of this name, is the user's.

    Args:
        packages: Names of installed packages whose code counts as the user's. Defaults to `()`.
    """
    if file is None or file.startswith("<frozen"):
        return False
    package = (name or "").partition(".")[0]
    place = _place(file, name or "")
    return package not in _NEVER and (place == "" or (place == "installed" and package in packages))


@functools.cache
def _place(file: str, name: str) -> str:
    """Return what a file belongs to; an empty string for the user's code."""
    if file.startswith(_OWN):
        return "here"
    if any(part in file for part in _INSTALLED):
        return "installed"
    if file.startswith(_STANDARD):
        return "standard"
    path = pathlib.Path(file)
    above = list(path.parents)[name.count(".") + (path.stem == "__init__") :]
    package = name.partition(".")[0]
    return "installed" if above and package in _installed_in(str(above[0])) else ""


@functools.cache
def _installed_in(directory: str) -> frozenset[str]:
    """Return the names of packages and modules installed into any directory, as by `pip install
    --target`.

    Other files there may be the user's.
    """
    found: set[str] = set()
    with contextlib.suppress(Exception):  # the metadata there may be anything
        for installed in importlib.metadata.distributions(path=[directory]):
            for line in (installed.read_text("RECORD") or "").splitlines():
                found.add(line.partition(",")[0].partition("/")[0].removesuffix(".py"))
    return frozenset(found)
