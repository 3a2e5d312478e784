"""Files that are never half written. Runs anywhere."""

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
"""The byte of a file that is locked on Windows: others cannot read it then, so it is behind the end
of all that is written.
"""
_PAUSE = 0.05
"""Seconds between two tries where the system does not wait."""


def write_whole(path: pathlib.Path, content: bytes, is_forced: bool = False) -> None:
    """Writes a file beside its place and renames it, so that there is never half of it. Its
    directory is there.

    Args:
        is_forced: Whether that holds after a power cut, too, for which the disk is waited for.
    """
    beside = path.with_name(f".{path.name}")
    with open(beside, "wb", opener=_not_through_a_link) as file:  # has an opener
        file.write(content)
        if is_forced:
            file.flush()
            os.fsync(file.fileno())
    beside.replace(path)


def _not_through_a_link(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0), 0o666)


def force_file(path: pathlib.Path) -> None:
    """Has the system put a file on the disk, as a power cut asks for."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def write_json(path: pathlib.Path, content: Any, is_forced: bool = False) -> None:
    """Writes a JSON file, and makes its directory.

    Args:
        is_forced: As for `write_whole`.

    Raises:
        StorageError: If it cannot be written, as on a full disk.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, json.dumps(content).encode(), is_forced)
    except OSError as error:
        raise StorageError(f"{path} cannot be written: {error}") from error


def lock(file: IO[Any], waits: bool) -> None:
    """Keeps other processes from locking a file, where the system and the file system have such
    locks; they end when it is closed, or the process.

    Raises:
        BlockingIOError: If another process has it locked, and `waits` is not set.
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
    """A text file to read and write, made if it is not there, that no other process has so
    meanwhile, where the system has such locks.
    """
    with path.open("a+", encoding="utf-8") as file:
        lock(file, waits=True)
        file.seek(0)
        yield file
