"""Detach a forked process from the script: nothing it does reaches the script's terminal, handlers,
files or records. Runs in the forked process.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import fcntl
import gc
import logging
import os
import pathlib
import random
import signal
import stat
import sys
import warnings
from typing import Any

import numpy as np

_DIES_WITH_PARENT = 1
"""`PR_SET_PDEATHSIG` of `prctl`."""
_KEPT: list[Any] = []
"""Objects of the script that would write their buffers, or close something, if they were
released.
"""


def fork() -> int:
    """Fork this process, and return the new process' pid, or 0 in the new process.

    Raises:
        OSError: If the system cannot make a process.
    """
    with warnings.catch_warnings():
        # Python counts threads, and JAX knows no fork without them: `fork_safety` has looked
        warnings.simplefilter("ignore")
        return os.fork()


def beyond_streams(file: int) -> int:
    """Return a file's descriptor, moved beyond those of the standard streams, which may be closed.
    Child programs do not inherit it.
    """
    moved = fcntl.fcntl(file, fcntl.F_DUPFD_CLOEXEC, 3)
    os.close(file)
    return moved


def leave_terminal(parent: int, dies_by: signal.Signals) -> None:
    """Detach this process from the script's terminal and handlers, and let it end with its parent.

    Args:
        dies_by: The signal that it receives when its parent ends.
    """
    with contextlib.suppress(OSError):  # it leads a group
        os.setsid()
    ctypes.CDLL(None).prctl(_DIES_WITH_PARENT, dies_by)
    if os.getppid() != parent:  # which has ended before that
        os._exit(1)
    signal.set_wakeup_fd(-1)
    for each in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        with contextlib.suppress(OSError, ValueError):
            if signal.getsignal(each) not in (signal.SIG_DFL, None):
                signal.signal(each, signal.SIG_DFL)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)  # as in every process of Python


def become_worker(output: int | None, had_gc: bool) -> None:
    """Let this process write to its own file, and forget the rest of the script's state.

    Args:
        output: The file that replaces standard output and error; `None` to keep the script's.
        had_gc: Whether garbage collection is enabled in the script.
    """
    _open_streams(output)
    _reopen_files()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    atexit._clear()  # what the script does at its end; a trial may add something
    for logger in (logging.root, *logging.root.manager.loggerDict.values()):
        if isinstance(logger, logging.Logger):
            _KEPT.extend(logger.handlers)
            logger.handlers.clear()  # the driver repeats what is said here
    main = sys.modules["__main__"]
    main.__spec__ = None  # or what a trial spawns would run the script again
    main.__dict__.pop("__file__", None)
    random.seed()
    np.random.seed(None)
    if had_gc:
        gc.enable()


def end_worker() -> None:
    """Run what a trial registered for the end of its process."""
    with contextlib.suppress(BaseException):
        atexit._run_exitfuncs()
    with contextlib.suppress(BaseException):
        sys.stdout.flush()


def _open_streams(output: int | None) -> None:
    """Give this process its own standard streams. Another thread may hold the script's, and they
    may hold text that the script will write.
    """
    _KEPT.extend((sys.stdin, sys.stdout, sys.stderr, sys.__stdin__, sys.__stdout__, sys.__stderr__))
    null = beyond_streams(os.open(os.devnull, os.O_RDWR))
    os.dup2(null, 0)
    for number in (1, 2):
        if output is not None:
            os.dup2(output, number)
        elif not _is_open(number):
            os.dup2(null, number)
    os.close(null)
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        stream = open(  # noqa: SIM115
            number,
            "r" if number == 0 else "w",
            buffering=1,
            encoding="utf-8",
            errors="backslashreplace",
            closefd=False,
        )
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


def _is_open(file: int) -> bool:
    with contextlib.suppress(OSError):
        os.fstat(file)
        return True
    return False


def _reopen_files() -> None:
    """Reopen the files that the script reads: processes that share an open file share its
    position.
    """
    for entry in list(pathlib.Path("/proc/self/fd").iterdir()):
        file = int(entry.name)
        with contextlib.suppress(OSError):  # that by which they are listed is gone
            flags = fcntl.fcntl(file, fcntl.F_GETFL)
            is_read = flags & os.O_ACCMODE == os.O_RDONLY and not flags & os.O_PATH
            if file < 3 or not is_read or not stat.S_ISREG(os.fstat(file).st_mode):
                continue
            own = os.open(entry, os.O_RDONLY | os.O_CLOEXEC)
            os.lseek(own, os.lseek(file, 0, os.SEEK_CUR), os.SEEK_SET)
            os.dup2(own, file, os.get_inheritable(file))
            os.close(own)
