"""Atomic writes and file locks. Runs anywhere."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import pathlib
import time
from collections.abc import Iterator
from typing import IO, Any, TextIO

from glimr_keras.errors import StorageError

try:
    import fcntl
except ImportError:  # on Windows
    fcntl = None  # type: ignore[assignment]
try:
    import msvcrt  # on Windows only
except ImportError:
    msvcrt = None  # type: ignore[assignment]

_FAR = 0x7FFFFFFE
"""The byte that is locked on Windows.

Other processes cannot read a locked byte there, so this one lies beyond the end of any content.
"""
_PAUSE = 0.05
"""Seconds between two attempts where the system cannot wait."""


def write_whole(path: pathlib.Path, content: bytes, is_forced: bool = False) -> None:
    """Write a file atomically: write a temporary file beside it, then rename that.

    The directory must exist.

    Args:
        is_forced: Whether to wait for the disk (fsync), so that it is atomic on power loss too.
            Defaults to `False`.
    """
    beside = path.with_name(f".{path.name}")
    with open(beside, "wb", opener=_not_through_a_link) as file:  # `Path.open` takes no opener
        file.write(content)
        if is_forced:
            file.flush()
            os.fsync(file.fileno())
    beside.replace(path)


def _not_through_a_link(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0), 0o666)


def force_file(path: pathlib.Path) -> None:
    """Force a file to the disk (fsync), so that it survives power loss."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def write_json(path: pathlib.Path, content: Any, is_forced: bool = False) -> None:
    """Write a JSON file atomically, and create its directory.

    Args:
        is_forced: As for `write_whole`. Defaults to `False`.

    Raises:
        StorageError: If it cannot be written, as on a full disk.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, json.dumps(content).encode(), is_forced)
    except OSError as error:
        raise StorageError(f"{path} cannot be written: {error}") from error


def lock(file: IO[Any], waits: bool) -> None:
    """Lock a file against other processes, where the system and the file system support locks.

    The lock ends when the file is closed or the process ends.

    Raises:
        BlockingIOError: If another process has locked it, and `waits` is not set.
    """
    try:
        if fcntl is not None:
            fcntl.flock(file, fcntl.LOCK_EX if waits else fcntl.LOCK_EX | fcntl.LOCK_NB)
        elif msvcrt is not None:
            _lock_on_windows(file.fileno(), waits)
    except BlockingIOError:
        raise
    except OSError:
        return  # a file system without locks


def _lock_on_windows(file: int, waits: bool) -> None:
    place = os.lseek(file, 0, os.SEEK_CUR)
    try:
        while True:
            os.lseek(file, _FAR, os.SEEK_SET)
            try:
                msvcrt.locking(file, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]  # on Windows
                return
            except OSError as error:
                if error.errno not in (errno.EACCES, errno.EDEADLK):
                    raise
                if not waits:
                    raise BlockingIOError(error.errno, "another process has it locked") from error
            time.sleep(_PAUSE)
    finally:
        os.lseek(file, place, os.SEEK_SET)


@contextlib.contextmanager
def locked(path: pathlib.Path) -> Iterator[TextIO]:
    """Open a text file to read and write, create it if missing, and lock it against other
    processes.

    The lock needs a system that supports locks.
    """
    with path.open("a+", encoding="utf-8") as file:
        lock(file, waits=True)
        file.seek(0)
        yield file
