"""An object whose parts stay packed in few bytes until one of them is accessed. Runs anywhere."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any, ClassVar, Protocol, TypeVar

Self = TypeVar("Self", bound="Packable")


class PackedParts(Protocol):
    """The packed parts of a trial, and the score they give it."""

    @property
    def score(self) -> float | None: ...

    def values(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the chosen and the requested values; one dict if they are the same."""

    def parts(self) -> Mapping[str, Any]:
        """Return the original parts, by name."""

    def outline(self) -> Mapping[str, Any]:
        """Return the parts that describe the outcome, without the metrics of epochs."""


_UNPACKING = threading.RLock()
"""An oracle may access trials in a separate thread."""


class Packable:
    """The base of `Trial`, whose attributes work the same when packed."""

    _packed_parts: ClassVar[tuple[str, ...]] = ()
    _packed: PackedParts | None = None

    @property
    def is_packed(self) -> bool:
        """Return whether it is packed."""
        return self._packed is not None

    def keep_packed(self, packed: PackedParts) -> None:
        """Pack the parts until one of them is accessed."""
        with _UNPACKING:
            for name in self._packed_parts:
                object.__delattr__(self, name)
            self._packed = packed

    def to_read(self: Self) -> Self:
        """Return itself, or for a packed object, which stays packed, a read-only copy."""
        packed = self._packed
        return self if packed is None else self._copied(packed.parts())

    def outlined(self: Self) -> Self:
        """Return a read-only copy as `to_read` does, without metrics of epochs and definitions.

        The copy's executions know which epochs they have, but not what was measured in them.
        """
        packed = self._packed
        return self if packed is None else self._copied(packed.outline())

    def _copied(self: Self, parts: Mapping[str, Any]) -> Self:
        same = object.__new__(type(self))
        vars(same).update({**vars(self), **parts, "_packed": None})
        return same

    def __getattr__(self, name: str) -> Any:
        if name not in type(self)._packed_parts:
            raise AttributeError(
                f"{type(self).__name__!r} object has no attribute {name!r}", name=name, obj=self
            )
        self._unpack()
        return object.__getattribute__(self, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if self._packed is not None and name in self._packed_parts:
            self._unpack()
        object.__setattr__(self, name, value)

    def __getstate__(self) -> dict[str, Any]:
        self._unpack()
        return dict(vars(self))

    def _unpack(self) -> None:
        with _UNPACKING:
            packed = self._packed
            if packed is not None:
                vars(self).update(packed.parts(), _packed=None)
