"""What Keras' objects have as attributes that a script's classes gave them, and which classes are
Keras' own. Runs in driver and worker.
"""

from __future__ import annotations

import contextlib
import dis
import functools
import inspect
import types
from collections.abc import Mapping
from typing import Any, TypeGuard

import keras
import numpy as np
from keras.src.saving.keras_saveable import KerasSaveable

_FRAMEWORKS = ("keras", "tensorflow", "torch", "jax", "flax")
"""Packages whose classes keep what they need in objects of the user's classes."""
_SIMPLE = (bool, int, float, complex, str, bytes, type(None), np.ndarray, np.generic)


_LEFT = (keras.KerasTensor, keras.callbacks.Callback)
"""What calls and trainings leave in objects."""


def is_keras_object(value: Any) -> TypeGuard[KerasSaveable]:
    """Return whether Keras pickles the object, and no user-defined class does."""
    return isinstance(value, KerasSaveable) and type(value).__reduce__ is KerasSaveable.__reduce__


def is_loss(value: Any) -> bool:
    """Return whether it is a Keras loss that has no pickling of its own."""
    return isinstance(value, keras.losses.Loss) and is_keras_object(value)


def is_of_keras(kind: type | types.FunctionType) -> bool:
    """Return whether a class or function is Keras' own."""
    return _is_of(kind, "keras")


def _is_of(kind: type | types.FunctionType, *packages: str) -> bool:
    return kind.__module__.split(".")[0] in packages


def has_from_keras(kind: type, name: str) -> bool:
    """Return whether a class has a method from Keras."""
    owner = next(base for base in kind.__mro__ if name in vars(base))
    return is_of_keras(owner)


def own_attributes(value: Any) -> dict[str, Any]:
    """Return the plain values that a user-defined class, or a script, has set on an object."""
    return {name: plain(item) for name, item in _own(value) if is_plain(item)}


def other_attributes(value: Any) -> dict[str, Any]:
    """Return the other values that these have set on an object, except for what calls and trainings
    leave there.
    """
    return {name: item for name, item in _own(value) if not is_plain(item) and not _is_left(item)}


def is_like(one: Any, other: Any) -> bool:
    """Whether something that is no plain value is what it was, as far as can be seen: functions
    have the same code and variables, others the same class.
    """
    if isinstance(one, types.FunctionType) and isinstance(other, types.FunctionType):
        return one is other or (
            one.__code__ is other.__code__
            and all(map(_is_like_part, *map(_closed_over, (one, other))))
        )
    if isinstance(one, (type, types.BuiltinFunctionType)):
        return one is other
    if isinstance(one, functools.partial) and isinstance(other, functools.partial):
        return is_like(one.func, other.func)
    return type(one) is type(other)


def _closed_over(function: types.FunctionType) -> list[Any]:
    """What a function has of the one that it is in."""
    found = []
    for cell in function.__closure__ or ():
        with contextlib.suppress(ValueError):  # which is not set yet
            found.append(cell.cell_contents)
    return found


def _is_like_part(one: Any, other: Any) -> bool:
    if is_plain(one) and is_plain(other):
        return _equal(plain(one), plain(other))
    codes = [getattr(each, "__code__", None) for each in (one, other)]
    return type(one) is type(other) and codes[0] is codes[1]


def _own(value: Any) -> list[tuple[str, Any]]:
    """The attributes of an object that no class of a framework sets."""
    given = frozenset[str]().union(
        *(_attributes_of(kind) for kind in type(value).__mro__ if _is_of(kind, *_FRAMEWORKS))
    )
    return [
        (name, item)
        for name, item in vars(value).items()
        if name not in given and not name.startswith("_self_")
    ]


def _is_left(value: Any) -> bool:
    """Whether it is what calls and trainings leave in objects, or some of it in lists or
    dictionaries, with `None` where there is nothing.
    """
    if isinstance(value, (dict, list, tuple, set)):
        parts = value.values() if isinstance(value, dict) else value
        return all(part is None or _is_left(part) for part in parts)
    return isinstance(value, _LEFT) or _is_tensor(value)


def _is_tensor(value: Any) -> bool:
    return not isinstance(value, keras.Variable) and bool(keras.ops.is_tensor(value))


def set_attributes(made: Any, attributes: Mapping[str, Any]) -> None:
    """Set the attributes whose values differ."""
    found = own_attributes(made) if attributes else {}
    for name, value in attributes.items():
        if name not in found or not _equal(found[name], value):
            setattr(made, name, value)


def is_plain(value: Any) -> bool:
    """Return whether it is a number, a text or an array, or a list or dictionary of these."""
    if isinstance(value, dict):
        return all(map(is_plain, (*value.keys(), *value.values())))
    if isinstance(value, (list, tuple, set)):
        return all(map(is_plain, value))
    return isinstance(value, _SIMPLE)


def plain(value: Any) -> Any:
    """Return the value without Keras' tracking wrappers of lists and dictionaries."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    for kind in (list, set):
        if isinstance(value, kind):
            return kind(map(plain, value))
    return tuple(map(plain, value)) if type(value) is tuple else value


@functools.cache
def _attributes_of(kind: type) -> frozenset[str]:
    """Return the names of the attributes that a class' methods set."""
    found: set[str] = set()
    for member in vars(kind).values():
        functions = (member, *(getattr(member, name, None) for name in ("fset", "__func__")))
        for function in map(inspect.unwrap, functions):
            if inspect.isfunction(function):
                found |= _attributes_set_in(function.__code__)
    return frozenset(found)


def _attributes_set_in(code: types.CodeType) -> set[str]:
    found = {step.argval for step in dis.get_instructions(code) if step.opname == "STORE_ATTR"}
    return found.union(
        *(_attributes_set_in(part) for part in code.co_consts if inspect.iscode(part))
    )


def _equal(one: Any, other: Any) -> bool:
    try:
        return type(one) is type(other) and bool(np.all(one == other))
    except Exception:  # such as of arrays in a list: set again
        return False
