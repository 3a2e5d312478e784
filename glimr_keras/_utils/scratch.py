"""Temporary directories that are found again, and removed, when the process that made them was
killed. Runs anywhere.
"""

from __future__ import annotations

import os
import pathlib
import shutil
import socket
import tempfile

PREFIX = "glimr_keras-"


def make(prefix: str = PREFIX, within: pathlib.Path | None = None) -> pathlib.Path:
    """Make a directory for this process, `within` another or where the system has such ones."""
    return pathlib.Path(
        tempfile.mkdtemp(prefix=f"{prefix}{socket.gethostname()}-{os.getpid()}-", dir=within)
    )


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
