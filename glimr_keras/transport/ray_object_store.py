"""Arrays in Ray's shared memory: each content is put there once, and kept as long as the user has
it. Runs in the driver.
"""

from __future__ import annotations

import dataclasses
import weakref
from collections.abc import Iterable
from typing import Any

import numpy as np
import ray

_CHUNK = 2**24
"""Bytes that are compared at a time."""
_PATIENCE_S = 10.0
"""For how long a copy is waited for that may be lost."""


class SharedArrayStore:
    """Remembers which arrays have been put into shared memory.

    An array that was put there before, in an earlier search or as a part of something else, is
    found again by its content, so one that was changed in between is not mistaken for what it was.
    A copy is let go when the last of the user's arrays with its content is; a search that still
    runs keeps its own references.
    """

    def __init__(self) -> None:
        self._copies: list[_Copy] = []

    def put(self, arrays: Iterable[np.ndarray]) -> tuple[ray.ObjectRef, ...]:
        """References to copies of these arrays in shared memory, read-only for all who get them."""
        return tuple(map(self._put, arrays))

    def _put(self, array: np.ndarray) -> ray.ObjectRef:
        here = _this_ray()
        self._copies = [copy for copy in self._copies if copy.is_there(here)]
        found = next((copy for copy in self._copies if copy.holds(array)), None)
        if found is None:
            found = _Copy(here, array.dtype, array.shape, ray.put(array))
            self._copies.append(found)
        reference = found.reference
        for copy in self._copies:
            if copy is not found:
                copy.disown(id(array))  # it has changed since
        found.own(array)
        return reference


@dataclasses.dataclass(eq=False)
class _Copy:
    """An array in shared memory.

    Attributes:
        of: The Ray that has it, with which it ends.
        reference: `None` when nobody needs the copy any more.
        owners: Ids of the user's arrays that have its content.
    """

    of: tuple[str, str]
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    reference: ray.ObjectRef | None
    owners: set[int] = dataclasses.field(default_factory=set)

    def is_there(self, here: tuple[str, str]) -> bool:
        """Whether somebody needs it, and it is in the shared memory of the Ray that runs `here`."""
        return self.reference is not None and self.of == here

    def holds(self, array: np.ndarray) -> bool:
        """Whether it has the content of `array`, byte for byte. One that was lost has none."""
        if (self.dtype, self.shape) != (array.dtype, array.shape):
            return False
        try:
            return _same(array, ray.get(self.reference, timeout=_PATIENCE_S))
        except ray.exceptions.RayError:
            self.reference = None
            return False

    def own(self, array: np.ndarray) -> None:
        if id(array) not in self.owners:
            self.owners.add(id(array))
            weakref.finalize(array, self.disown, id(array)).atexit = False

    def disown(self, owner: int) -> None:
        self.owners.discard(owner)
        if not self.owners:
            self.reference = None


def _this_ray() -> tuple[str, str]:
    """Names the Ray that this process has joined now. One that was started anew counts its jobs
    from the beginning, but has another machine's id; one that was joined again has another job.
    """
    context = ray.get_runtime_context()
    return context.get_node_id(), context.get_job_id()


def _same(left: np.ndarray, right: np.ndarray) -> bool:
    """Whether two arrays of the same type and shape hold the same bytes, a part at a time."""
    if left.flags.c_contiguous and right.flags.c_contiguous:
        a, b = (array.reshape(-1).view(np.uint8) for array in (left, right))
        return all(
            np.array_equal(a[i : i + _CHUNK], b[i : i + _CHUNK]) for i in range(0, a.size, _CHUNK)
        )
    return left.tobytes() == right.tobytes()
