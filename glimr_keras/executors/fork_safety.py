"""Whether this process can be forked, and the fork compute. Runs in the driver."""

from __future__ import annotations

import os
import sys
import threading

from glimr_keras._utils import native_threads
from glimr_keras.training import runtimes

_KNOWN = ("IPython.", "ipykernel.", "rich.")
"""Modules whose threads a fork does not miss: what they serve is the user, and not a training."""


def may_fork() -> bool:
    """Return whether a fork of this process can compute with Keras.

    It can where nothing computes yet and every other thread is known: a fork has only the thread
    that made it, and waits forever for what another one held at that moment.
    """
    if sys.platform != "linux" or not hasattr(os, "pidfd_open"):
        return False
    if threading.current_thread() is not threading.main_thread() or runtimes.has_begun():
        return False
    others = (each for each in threading.enumerate() if each is not threading.main_thread())
    if not all(type(each).__module__.startswith(_KNOWN) for each in others):
        return False
    native_threads.end_openmp()
    return not native_threads.unknown()
