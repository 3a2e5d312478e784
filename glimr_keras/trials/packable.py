"""An object whose parts may be kept in few bytes until any of them is asked for. Runs anywhere."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any, ClassVar, Protocol, TypeVar

Self = TypeVar("Self", bound="Packable")


class PackedParts(Protocol):
    """Parts in few bytes, and the score that they give a trial."""

    @property
    def score(self) -> float | None: ...

    def values(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return what was chosen and what was asked for; one dict where they are the same."""

    def parts(self) -> Mapping[str, Any]:
        """Return them as they were, by name."""

    def outline(self) -> Mapping[str, Any]:
        """Return those that say what came of it, without numbers of epochs."""


_UNPACKING = threading.RLock()
"""Since an oracle may look at trials in a thread of its own."""


class Packable:
    """The base of `Trial`, whose attributes stay what they were."""

    _packed_parts: ClassVar[tuple[str, ...]] = ()
    _packed: PackedParts | None = None

    @property
    def is_packed(self) -> bool:
        """Whether it is kept in few bytes."""
        return self._packed is not None

    def keep_packed(self, packed: PackedParts) -> None:
        """Keep the parts in few bytes, as long as none is asked for."""
        with _UNPACKING:
            for name in self._packed_parts:
                object.__delattr__(self, name)
            self._packed = packed

    def to_read(self: Self) -> Self:
        """Return itself; or where it is packed, so that it stays so, a copy to be read only."""
        packed = self._packed
        return self if packed is None else self._copied(packed.parts())

    def outlined(self: Self) -> Self:
        """As `to_read`, but without what only who looks at epochs, or at definitions, needs: the
        copy's executions know which epochs they have, and not what was measured in them.
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
