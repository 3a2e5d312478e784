"""Check whether this process can be forked so that the fork can compute. Runs in the driver."""

from __future__ import annotations

import contextlib
import os
import pathlib
import socket
import sys
import threading

from glimr_keras._utils import native_threads
from glimr_keras.training import runtimes

_KNOWN = ("IPython.", "ipykernel.", "glimr_keras.oracles.ahead")
"""Modules whose threads a fork does not need: they serve the user and not a training, or a fork
waits for them.
"""


def may_fork() -> bool:
    """Return whether a fork of this process can compute with Keras.

    It can if nothing computes yet and every other thread is known. A fork has only the thread that
    made it, and would wait forever for a lock that another thread held.
    """
    if sys.platform != "linux" or not hasattr(os, "pidfd_open"):
        return False
    if threading.current_thread() is not threading.main_thread() or runtimes.has_begun():
        return False
    others = (each for each in threading.enumerate() if each is not threading.main_thread())
    if not all(type(each).__module__.startswith(_KNOWN) for each in others):
        return False
    if _is_connected():
        return False
    native_threads.end_openmp()
    return not native_threads.unknown()


def _is_connected() -> bool:
    """Return whether the script has a connection, such as to a database, which two processes would
    share.
    """
    for entry in list(pathlib.Path("/proc/self/fd").iterdir()):
        with contextlib.suppress(OSError):  # it is none, or not connected
            if str(entry.readlink()).startswith("socket:"):
                with socket.socket(fileno=os.dup(int(entry.name))) as end:
                    peer, own = end.getpeername(), end.getsockname()
                is_inet = isinstance(own, tuple)
                if not (is_inet and own[1] in _ports_of_kernel()) and bool(peer):
                    return True
    return False


def _ports_of_kernel() -> set[int]:
    """Return the ports on which a notebook talks to its kernel, which is this process."""
    module = sys.modules.get("ipykernel.kernelapp")
    if module is None or not module.IPKernelApp.initialized():
        return set()
    kernel = module.IPKernelApp.instance()
    names = ("shell_port", "iopub_port", "stdin_port", "control_port", "hb_port")
    return {getattr(kernel, name, 0) for name in names}
