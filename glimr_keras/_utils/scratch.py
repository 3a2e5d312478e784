"""Temporary directories that are found again, and removed, when the process that made them was
killed. Runs anywhere.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import shutil
import socket
import stat
import tempfile
from collections.abc import Iterator

PREFIX = "glimr_keras-"


def make(prefix: str = PREFIX, within: pathlib.Path | None = None) -> pathlib.Path:
    """Make a directory for this process, `within` another or where the system has such ones."""
    return pathlib.Path(
        tempfile.mkdtemp(prefix=f"{prefix}{socket.gethostname()}-{os.getpid()}-", dir=within)
    )


@contextlib.contextmanager
def held() -> Iterator[pathlib.Path]:
    """Make a directory that is removed in the end."""
    place = make()
    try:
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)


def of_parent(name: str) -> pathlib.Path | None:
    """Make a directory for all processes that this one's parent started, unless it is there; it is
    removed as that of the parent. `None` if it is not this user's.
    """
    if not hasattr(os, "getuid"):
        return None
    place = pathlib.Path(tempfile.gettempdir())
    place /= f"{PREFIX}{socket.gethostname()}-{os.getppid()}-{name}"
    place.mkdir(mode=0o700, exist_ok=True)
    found = place.stat(follow_symlinks=False)
    is_ours = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid()
    return place if is_ours and not found.st_mode & 0o022 else None


def tidy(prefix: str = PREFIX, within: pathlib.Path | None = None) -> None:
    """Removes what `make` made for processes of this machine that are no more."""
    for left in pathlib.Path(within or tempfile.gettempdir()).glob(f"{prefix}*-*-*"):
        host, process, _ = left.name.removeprefix(prefix).rsplit("-", 2)
        if host == socket.gethostname() and process.isdigit() and not _is_alive(int(process)):
            shutil.rmtree(left, ignore_errors=True)


def _is_alive(process: int) -> bool:
    if os.name == "nt":  # where a signal would end it
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):  # it is somebody else's, or no process
        return True
    return True
