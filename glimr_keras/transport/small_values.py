"""Small values, pickled by themselves: numbers, texts, containers and objects, and classes and
functions by where they are found. Runs in driver and worker.
"""

from __future__ import annotations

import collections
import copyreg
import io
import os
import pathlib
import pickle
import sys
import types
from typing import Any

import numpy as np
from keras.src.saving.keras_saveable import KerasSaveable

from glimr_keras._utils.own_code import is_own_file
from glimr_keras.transport.custom_objects import is_by_value

LARGEST = 2**16
"""The maximum size of a pickle in bytes, and of a container in items."""
_SIZED = (str, bytes, bytearray, list, tuple, set, frozenset, dict, collections.deque)
_METHODS = (types.MethodType, types.BuiltinMethodType)
_NAMED = (type, types.FunctionType, *_METHODS)


class OfMainError(Exception):
    """Raised if a value contains something of the main script, or of a module that is sent by
    value.
    """


class NotHereError(Exception):
    """Raised if a value contains a path of another machine, or something of a module that is not
    imported.
    """


def written(value: Any) -> bytes:
    """Return a pickled value. This takes no longer than for a small value.

    Raises:
        OfMainError: If it contains something of the main script.
        Exception: If it is large or cannot be pickled, and any exception that its parts raise.
    """
    if issubclass(type(value), _SIZED) and len(value) > LARGEST:
        raise pickle.PicklingError("It is too large.")
    file = _Bounded()
    _Pickler(file).dump(value)
    content = file.getvalue()
    if _is_of_library(value) and read(content) is not value:
        raise pickle.PicklingError("A copy would be another one than the library uses.")
    return content


def written_or_none(value: Any) -> bytes | None:
    """Return a pickled value; `None` if it cannot be pickled here."""
    try:
        return written(value)
    except Exception:
        return None


def read(
    content: bytes, places: tuple[str, str] = ("", ""), keep: bool = False, imports: bool = True
) -> Any:
    """A value that was pickled.

    Args:
        places: A directory where it was pickled, and what it is here; the same if this is the same
            machine.
        keep: Whether there is something in its place here: other absolute paths of another machine
            are refused then.
        imports: Whether modules are imported for it.

    Raises:
        NotHereError: If it has what is refused.
        Exception: Whatever its parts raise.
    """
    return _Unpickler(content, places, keep, imports).load()


def _is_of_library(value: Any) -> bool:
    """Whether an object is one that the module of its class has itself, such as the generator
    behind `random.random`.
    """
    kind = type(value)
    if issubclass(kind, _NAMED):
        return False
    module = vars(sys.modules.get(kind.__module__, types))
    file = module.get("__file__")
    return (
        isinstance(file, str)
        and not is_own_file(file, kind.__module__)
        and any(value is each for each in module.values())
    )


class _Bounded(io.BytesIO):
    """A file that becomes no larger than the largest pickle."""

    def write(self, data: Any) -> int:
        if self.tell() + memoryview(data).nbytes > LARGEST:
            raise pickle.PicklingError("It is too large.")
        return super().write(data)


class _Pickler(pickle.Pickler):
    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file, pickle.HIGHEST_PROTOCOL)

    def persistent_id(self, value: Any) -> str | None:
        """Mark absolute paths, which differ on another machine."""
        if type(value) is not str:
            return None
        if len(value) > LARGEST:  # which would be copied first
            raise pickle.PicklingError("It is too large.")
        return value if os.path.isabs(value) else None  # noqa: PTH117

    def reducer_override(self, value: Any) -> Any:
        kind = type(value)
        of = value.__self__ if issubclass(kind, _METHODS) else value
        owner = of if issubclass(type(of), (type, types.FunctionType)) else type(of)
        if is_by_value(owner.__module__):
            raise OfMainError
        is_bound = of is not value and not isinstance(of, (type, types.ModuleType, type(None)))
        is_large = hasattr(kind, "__array__") and not getattr(value, "nbytes", np.inf) <= LARGEST
        if is_bound or is_large or issubclass(kind, (types.ModuleType, KerasSaveable, np.memmap)):
            raise pickle.PicklingError(f"It has a {kind.__qualname__}.")
        if issubclass(kind, pathlib.PurePath):
            return kind, (str(value),)
        return NotImplemented


class _Unpickler(pickle.Unpickler):
    def __init__(self, content: bytes, places: tuple[str, str], keep: bool, imports: bool) -> None:
        super().__init__(io.BytesIO(content))
        self._there, self._here = places
        self._keep, self._imports = keep, imports

    def persistent_load(self, path: str) -> str:
        """Return the path on this machine."""
        if self._there == self._here:
            return path
        is_within = bool(self._there) and f"{path}{os.sep}".startswith(self._there + os.sep)
        if is_within and (self._keep or not pathlib.Path(self._there).exists()):
            return self._here + path.removeprefix(self._there)
        if self._keep:
            raise NotHereError(path)
        return path

    def find_class(self, module: str, name: str) -> Any:
        if not self._imports and module not in sys.modules:
            raise NotHereError(module)
        return super().find_class(module, name)


def is_filled(now: Any, value: Any, objects: bool = True) -> bool:
    """Gives a container or an object that others may have too the contents of another, and returns
    whether that could be. What has a hash by its value is never changed.

    Args:
        objects: Whether to do so with objects that are no containers.
    """
    kind = type(value)
    if type(now) is not kind or issubclass(kind, _NAMED):
        return False
    if kind is np.ndarray:
        if now.shape != value.shape or now.dtype != value.dtype or not now.flags.writeable:
            return False
        np.copyto(now, value)
        return True
    if getattr(kind, "__hash__", None) not in (None, object.__hash__):
        return False
    is_container = issubclass(kind, (list, collections.deque, dict, set))
    if issubclass(kind, (list, collections.deque)):
        now.clear()
        now.extend(value)
    elif is_container:
        now.clear()
        now.update(value)
    return (objects and _has_state_of(now, value)) or is_container


def _has_state_of(now: Any, value: Any) -> bool:
    """Give an object the attributes of another, as `copy.copy` does, and return whether that was
    possible.
    """
    kind = type(value)
    reduced = value.__reduce_ex__(pickle.HIGHEST_PROTOCOL)
    make, arguments, state = (*reduced, None)[:3] if isinstance(reduced, tuple) else (None,) * 3
    if make is not copyreg.__newobj__ or len(arguments) > 1:  # type: ignore[attr-defined]
        return False
    if hasattr(kind, "__setstate__"):
        now.__setstate__(state)
        return True
    attributes, slots = state if isinstance(state, tuple) else (state, None)
    if hasattr(now, "__dict__"):
        vars(now).clear()
        vars(now).update(attributes or {})
    for name, part in (slots or {}).items():
        object.__setattr__(now, name, part)
    return True
