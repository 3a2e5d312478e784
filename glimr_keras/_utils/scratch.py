"""Temporary directories that are found and removed later if their process was killed. Runs
anywhere.
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
    """Make a directory for this process in `within`, or in the system's temporary directory."""
    return pathlib.Path(
        tempfile.mkdtemp(prefix=f"{prefix}{socket.gethostname()}-{os.getpid()}-", dir=within)
    )


@contextlib.contextmanager
def held() -> Iterator[pathlib.Path]:
    """Make a temporary directory, removed on exit."""
    place = make()
    try:
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)


def of_parent(name: str) -> pathlib.Path | None:
    """Make a directory, unless it exists, that all child processes of this one's parent share.

    It is removed with the parent's own temporary directories. Return `None` if it is not this
    user's.
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
    """Remove directories from `make` whose processes on this machine have ended."""
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
    except (PermissionError, OverflowError):  # it belongs to another user, or is not a process id
        return True
    return True
