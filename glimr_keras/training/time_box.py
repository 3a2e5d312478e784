"""Code of the user's own that is ended when its time is over, whatever it does. Runs in the worker.

It runs in a thread of its own, in which an error is raised from outside: that ends any loop of
Python's, and no other thread ever sees the error. What waits in code that is not Python, as
`time.sleep` does, sees it only afterwards; it is left behind, and ends then.
"""

from __future__ import annotations

import contextlib
import contextvars
import ctypes
import threading
from collections.abc import Callable

import keras

_GRACE_S = 1.0
"""So long is waited for what was told to end."""
_AGAIN_S = 0.5
"""So often it is told: a loop may catch whatever is raised. Its `finally` blocks have that long."""


class _TimeIsOverError(SystemExit):  # of which threads say nothing
    """Raised in code whose time is over. (No `Exception`, which the user's code may catch.)"""


def ends_within(seconds: float, task: Callable[[], None]) -> bool:
    """Runs a task, and ends it if it takes longer.

    Args:
        seconds: What it may take.
        task: What it raises is lost, so it says itself what came of it.

    Returns:
        Whether it ended by itself.
    """
    policy, own = keras.config.dtype_policy(), contextvars.copy_context()

    def run() -> None:
        with contextlib.suppress(BaseException):
            keras.config.set_dtype_policy(policy)  # which each thread has for itself
            own.run(task)

    thread = threading.Thread(target=run, name="glimr_keras look", daemon=True)
    thread.start()
    is_over = False
    try:
        thread.join(seconds)
        is_over = not thread.is_alive()
    finally:
        if not is_over:  # it may be, too, that the user stops the search
            threading.Thread(target=_end, args=(thread,), daemon=True).start()
    if not is_over:
        thread.join(_GRACE_S)
    return is_over


def _end(thread: threading.Thread) -> None:
    """Raises `_TimeIsOverError` in a thread until it ends."""
    while thread.is_alive() and thread.ident is not None:
        ctypes.pythonapi.PyThreadState_SetAsyncExc(
            ctypes.c_ulong(thread.ident), ctypes.py_object(_TimeIsOverError)
        )
        thread.join(_AGAIN_S)
