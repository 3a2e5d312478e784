"""What is made in a thread before it is asked for. Pure Python; runs in the driver."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Hashable
from typing import Any, Generic, TypeVar

Made = TypeVar("Made")


class Ahead(Generic[Made]):
    """Makes one thing while others run.

    Who asks for it waits until it is there, so it is never known whether it was. A copy has
    nothing: it makes it when asked.
    """

    def __init__(self) -> None:
        self._work: _Work | None = None

    def __reduce__(self) -> tuple[type[Ahead[Made]], tuple[()]]:
        return Ahead, ()

    def begin(self, key: Hashable, make: Callable[[], Made]) -> None:
        """Begins to make it, in the place of what was made before.

        Args:
            key: Of all that it depends on.
            make: Called in a thread; changes nothing that others see.
        """
        self._work = _Work(key, make)
        self._work.start()

    def take(self, key: Hashable, make: Callable[[], Made]) -> Made:
        """What was made for this key, or else is made now.

        Args:
            key, make: As of `begin`.

        Raises:
            Exception: What went wrong when it was made.
        """
        work, self._work = self._work, None
        return make() if work is None or work.key != key else work.result()

    def share(self, key: Hashable, make: Callable[[], Made]) -> Made:
        """What was made for this key, or else is made now; it is kept for who asks again.

        Args:
            key, make: As of `begin`.

        Raises:
            Exception: What went wrong when it was made.
        """
        if self._work is None or self._work.key != key:
            self._work = _Work(key, make)
            self._work.run()
        return self._work.result()


class _Work(threading.Thread):
    """A thread that makes something; a process is not forked before it is done."""

    def __init__(self, key: Hashable, make: Callable[[], object]) -> None:
        super().__init__(name="proposals", daemon=True)
        self.key, self._make = key, make
        self.made: list[Any] = []
        self.error: Exception | None = None
        _works.add(self)

    def result(self) -> Any:
        """What was made, when it is there."""
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
