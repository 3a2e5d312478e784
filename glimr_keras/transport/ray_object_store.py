"""Put arrays into Ray's shared memory, each content once, for as long as the user keeps it. Runs in
the driver.
"""

from __future__ import annotations

import dataclasses
import weakref
from collections.abc import Iterable
from typing import Any

import numpy as np
import ray

_CHUNK = 2**24
"""The number of bytes compared at a time."""
_PATIENCE_S = 10.0
"""The seconds to wait for a copy that may be lost."""


class SharedArrayStore:
    """Remember which arrays have been put into shared memory.

    An array that was put there before, in an earlier search or as part of another object, is found
    by its content. An array that has changed since is therefore not mistaken for the old one. A
    copy is released with the last of the user's arrays with its content; a running search keeps its
    own references.
    """

    def __init__(self) -> None:
        self._copies: list[_Copy] = []

    def put(self, arrays: Iterable[np.ndarray]) -> tuple[ray.ObjectRef, ...]:
        """Return references to read-only copies of these arrays in shared memory."""
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
        """Return whether the copy is needed, and is in the shared memory of the Ray that runs
        `here`.
        """
        return self.reference is not None and self.of == here

    def holds(self, array: np.ndarray) -> bool:
        """Return whether it has the content of `array`, byte for byte. A lost copy has none."""
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
    """Return whether two arrays of the same type and shape hold the same bytes, comparing in
    chunks.
    """
    if left.flags.c_contiguous and right.flags.c_contiguous:
        a, b = (array.reshape(-1).view(np.uint8) for array in (left, right))
        return all(
            np.array_equal(a[i : i + _CHUNK], b[i : i + _CHUNK]) for i in range(0, a.size, _CHUNK)
        )
    return left.tobytes() == right.tobytes()
