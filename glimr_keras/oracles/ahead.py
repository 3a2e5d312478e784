"""Results that a thread computes before they are requested. Pure Python; runs in the driver."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Hashable
from typing import Any, Generic, TypeVar

Made = TypeVar("Made")


class Ahead(Generic[Made]):
    """Compute one result in the background.

    A request waits until the result is ready, so timing makes no difference. A copy is empty and
    computes the result on request.
    """

    def __init__(self) -> None:
        self._work: _Work | None = None

    def __reduce__(self) -> tuple[type[Ahead[Made]], tuple[()]]:
        return Ahead, ()

    def begin(self, key: Hashable, make: Callable[[], Made]) -> None:
        """Start computing a result, which replaces the one before.

        Args:
            key: All that it depends on.
            make: A function called in a thread; it must have no visible side effects.
        """
        self._work = _Work(key, make)
        self._work.start()

    def take(self, key: Hashable, make: Callable[[], Made]) -> Made:
        """Return the result for this key, computed ahead or now.

        Args:
            key, make: As for `begin`.

        Raises:
            Exception: Any error of the computation.
        """
        work, self._work = self._work, None
        return make() if work is None or work.key != key else work.result()

    def share(self, key: Hashable, make: Callable[[], Made]) -> Made:
        """Return the result for this key, computed ahead or now, and keep it for later requests.

        Args:
            key, make: As for `begin`.

        Raises:
            Exception: Any error of the computation.
        """
        if self._work is None or self._work.key != key:
            self._work = _Work(key, make)
            self._work.run()
        return self._work.result()


class _Work(threading.Thread):
    """A thread that computes a result; the process does not fork before it is done."""

    def __init__(self, key: Hashable, make: Callable[[], object]) -> None:
        super().__init__(name="proposals", daemon=True)
        self.key, self._make = key, make
        self.made: list[Any] = []
        self.error: Exception | None = None
        _works.add(self)

    def result(self) -> Any:
        """Return the result, once it is ready."""
        if self.ident is not None:
            self.join()
        if self.error is not None:
            raise self.error
        return self.made[0]

    def run(self) -> None:
        try:
            self.made.append(self._make())
        except Exception as error:
            self.error = error


_works: weakref.WeakSet[_Work] = weakref.WeakSet()


def _wait() -> None:
    for work in list(_works):
        if work.is_alive():
            work.join()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_wait)
