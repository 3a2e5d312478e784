"""The lock of an oracle's methods. Runs in the driver."""

from __future__ import annotations

import functools
import threading
import weakref
from collections.abc import Callable
from typing import Any, TypeVar

_Method = TypeVar("_Method", bound=Callable[..., Any])
_LOCKS: weakref.WeakKeyDictionary[Any, threading.RLock] = weakref.WeakKeyDictionary()


def synchronized(method: _Method) -> _Method:
    """Decorate an oracle's method so that only one thread at a time runs it."""

    @functools.wraps(method)
    def locked(oracle: Any, *args: Any, **kwargs: Any) -> Any:
        with _LOCKS.setdefault(oracle, threading.RLock()):
            return method(oracle, *args, **kwargs)

    return locked  # type: ignore[return-value]  # the same to its callers
