"""Runs the user's code with a time limit, whatever it does. Runs in the worker.

The code runs in its own thread, in which an exception is raised from outside. That ends any Python
loop, and no other thread sees the exception. Code that waits outside Python, such as `time.sleep`,
sees it only afterwards; its thread is left behind, and ends then.
"""

from __future__ import annotations

import contextlib
import contextvars
import ctypes
import threading
from collections.abc import Callable

import keras

_GRACE_S = 1.0
"""Seconds to wait for a task that was told to end."""
_AGAIN_S = 0.5
"""Seconds between two attempts to end a task, since a loop may catch whatever is raised. Its
`finally` blocks have this much time.
"""


class _TimeIsOverError(SystemExit):  # threads do not print it
    """Raised in code that has reached its time limit. It is not an `Exception`, which the user's
    code may catch.
    """


def ends_within(seconds: float, task: Callable[[], None]) -> bool:
    """Run a task, and end it if it exceeds its time limit.

    Args:
        seconds: The time limit, in seconds.
        task: The task. Its exceptions are lost, so it must record its own result.

    Returns:
        `True` if the task ended by itself.
    """
    policy, own = keras.config.dtype_policy(), contextvars.copy_context()

    def run() -> None:
        with contextlib.suppress(BaseException):
            keras.config.set_dtype_policy(policy)  # each thread has its own policy
            own.run(task)

    thread = threading.Thread(target=run, name="glimr_keras look", daemon=True)
    thread.start()
    is_over = False
    try:
        thread.join(seconds)
        is_over = not thread.is_alive()
    finally:
        if not is_over:  # also if the user interrupts the search
            threading.Thread(target=_end, args=(thread,), daemon=True).start()
    if not is_over:
        thread.join(_GRACE_S)
    return is_over


def _end(thread: threading.Thread) -> None:
    """Raise `_TimeIsOverError` in a thread until it ends."""
    while thread.is_alive() and thread.ident is not None:
        ctypes.pythonapi.PyThreadState_SetAsyncExc(
            ctypes.c_ulong(thread.ident), ctypes.py_object(_TimeIsOverError)
        )
        thread.join(_AGAIN_S)
