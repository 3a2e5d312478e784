"""Fingerprints of Keras objects, which are equal for objects that trace to equal graphs. Runs in
the worker.

All that can be reached from an object is visited through its attributes, and not through its
configuration, which may omit something. Variables enter the fingerprint by their position only:
their values do not enter a graph. Every visited object must be of a kind whose whole state is known
here. A single object of another kind, such as a user-defined function or class, means that there is
no fingerprint.
"""

from __future__ import annotations

import collections
import dataclasses
import enum
import functools
import hashlib
import inspect
import operator
import pathlib
import re
import sys
import types
from collections.abc import Callable, Iterable
from typing import Any

import keras
import numpy as np

from glimr_keras._utils.own_code import is_own_file

_LARGEST = 2**24
"""Bytes of the largest array that is read."""


class UnknownPartError(Exception):
    """It is unknown how this object enters a graph."""


@dataclasses.dataclass(frozen=True)
class Fingerprint:
    """The fingerprint of an object.

    Attributes:
        key: Equal for two objects that differ only in the values of variables.
        variables: Keras' variables, in the order in which they were met, which is the same for two
            objects with one key.
        constants: Tensors that are not variables; their values are in the key.
    """

    key: tuple[Any, ...]
    variables: tuple[Any, ...]
    constants: tuple[Any, ...]


def fingerprint(*objects: Any) -> Fingerprint | None:
    """Return the fingerprint of objects; `None` if a part of one is of an unknown kind."""
    walk = _Walk()
    try:
        walk.over(objects)
        _check_untouched(walk.classes)
    except UnknownPartError:
        return None
    return Fingerprint(tuple(walk.found), tuple(walk.variables), tuple(walk.constants))


class _Seen:
    """Mark in a key an object that was met before."""


class _Walk:
    """One walk over objects. It is not recursive, since the layers of a model are a long chain."""

    def __init__(self) -> None:
        self.found: list[Any] = []
        self.variables: list[Any] = []
        self.constants: list[Any] = []
        self.classes: set[type] = set()
        self._seen: dict[int, int] = {}
        self._kept: list[Any] = []  # keeps objects alive, so that no two have the same id
        self.waiting: list[Any] = []

    def over(self, objects: tuple[Any, ...]) -> None:
        found, seen, waiting = self.found, self._seen, self.waiting
        waiting.append(objects)
        while waiting:
            value = waiting.pop()
            kind = type(value)
            if kind in _PLAIN:
                found += kind, value
                continue
            if kind is float:
                found += kind, value.hex()
                continue
            number = seen.get(id(value))
            if number is not None:
                found += _Seen, number
                continue
            seen[id(value)] = len(seen)
            self._kept.append(value)
            (_HANDLERS.get(kind) or _handler(kind))(self, value)

    def parts(self, values: Any) -> None:
        """Schedule values to be walked next, in their order."""
        self.waiting.extend(reversed(values))


_PLAIN = frozenset({type(None), bool, int, str, bytes, complex, type(Ellipsis)})


def _items(walk: _Walk, value: Any) -> None:
    walk.found += type(value), len(value)
    walk.parts(value)


def _mapping(walk: _Walk, value: Any) -> None:
    walk.found += type(value), len(value)
    walk.waiting.extend(reversed(list(value.values())))
    walk.waiting.extend(reversed(list(value)))


def _default_dict(walk: _Walk, value: Any) -> None:
    if value.default_factory not in (list, dict, set, int, None):
        raise UnknownPartError(value.default_factory)
    walk.found.append(value.default_factory)
    _mapping(walk, value)


def _unordered(walk: _Walk, value: Any) -> None:
    kinds = {type(part) for part in value}
    if not kinds <= _PLAIN:
        raise UnknownPartError(kinds)
    walk.found += type(value), tuple(sorted(map(repr, value)))


def _array(walk: _Walk, value: Any) -> None:
    if value.dtype.hasobject or value.nbytes > _LARGEST:
        raise UnknownPartError(value.dtype)
    digest = hashlib.blake2b(np.ascontiguousarray(value).tobytes(), digest_size=16).digest()
    walk.found += np.ndarray, str(value.dtype), value.shape, digest


def _tensor(walk: _Walk, value: Any) -> None:
    walk.constants.append(value)
    walk.found.append(type(value))
    _array(walk, np.asarray(value))


def _function(walk: _Walk, value: Any) -> None:
    """Add a function of Keras: by itself or, if another function made it, by its code and
    closure.
    """
    if not _is_of_libraries(value):
        raise UnknownPartError(value)
    if value.__closure__ is None and "<" not in value.__qualname__:
        walk.found.append(value)
        return
    walk.found += types.FunctionType, value.__code__
    cells = [cell for cell in value.__closure__ or () if cell != types.CellType()]
    walk.parts([value.__defaults__, value.__kwdefaults__, *(cell.cell_contents for cell in cells)])


def _method(walk: _Walk, value: Any) -> None:
    walk.found.append(types.MethodType)
    walk.parts([value.__func__, value.__self__])


def _partial(walk: _Walk, value: Any) -> None:
    walk.found.append(functools.partial)
    walk.parts([value.func, value.args, value.keywords, vars(value)])


def _class(walk: _Walk, value: type) -> None:
    if not _is_of_keras(value) and value.__module__ not in ("builtins", "numpy"):
        raise UnknownPartError(value)
    walk.classes.add(value)
    walk.found.append(value)


def _module(walk: _Walk, value: types.ModuleType) -> None:
    if sys.modules.get(value.__name__) is not value or not _is_keras(value.__name__):
        raise UnknownPartError(value)
    walk.found.append(value.__name__)


def _signature(walk: _Walk, value: Any) -> None:
    walk.found.append(type(value))  # of a method, which is walked itself unless it is its class'


def _pattern(walk: _Walk, value: Any) -> None:
    walk.found += re.Pattern, value.pattern, value.flags


def _numpy_type(walk: _Walk, value: Any) -> None:
    walk.found += type(value), str(value)


def _variable(walk: _Walk, value: Any) -> None:
    held = vars(value).get("_value")  # there is none while a step on JAX has it
    if type(held) not in _values() and held is not None:
        raise UnknownPartError(type(held))
    walk.variables.append(value)
    _attributes(walk, value)


def _member(walk: _Walk, value: enum.Enum) -> None:
    walk.classes.add(type(value))
    walk.found += type(value), value.name


def _object(walk: _Walk, value: Any) -> None:
    """Add an object of a Keras class: its contents if it is a container, and its attributes."""
    walk.classes.add(type(value))
    if isinstance(value, dict):
        _attributes(walk, value)
        _mapping(walk, value)
    elif isinstance(value, (list, tuple)):
        _attributes(walk, value)
        _items(walk, value)
    elif isinstance(value, (set, frozenset)):
        _attributes(walk, value)
        _unordered(walk, value)
    else:
        _attributes(walk, value)


def _attributes(walk: _Walk, value: Any) -> None:
    kind = type(value)
    walk.found.append(kind)
    attributes = getattr(value, "__dict__", None)
    if not attributes:
        return
    without = _WITHOUT.get(kind)
    if without is None:
        without = _WITHOUT[kind] = _left_out(kind)
    if attributes.get("_exclude_from_weight_decay"):
        raise UnknownPartError("ids of variables")
    names = [name for name in attributes if name not in without and not name.startswith("_self_")]
    walk.found.append(tuple(names))
    walk.waiting.extend(attributes[name] for name in reversed(names))


_WITHOUT: dict[type, frozenset[str]] = {}
"""The attributes that are left out, by class."""


def _left_out(kind: type) -> frozenset[str]:
    """Return the attributes that do not affect a graph: ids of objects that are walked by another
    attribute, the values of variables, and what training changes.
    """
    names: set[str] = set()
    for base in kind.__mro__:
        names.update(_SAYS_NOTHING.get(base.__name__, ()) if _is_of_keras(base) else ())
    return frozenset(names)


_SAYS_NOTHING = {
    "Tracker": ("stored_ids",),
    "Layer": ("_loss_ids", "_call_signature"),
    "Function": ("_nodes",),
    "BaseOptimizer": ("_trainable_variables_indices", "_exclude_from_weight_decay_cache"),
    "RandomInitializer": ("seed", "_init_seed"),
    "Variable": ("_value",),
    "Trainer": (
        "train_function",
        "test_function",
        "predict_function",
        "history",
        "stop_training",
        "stop_evaluating",
        "stop_predicting",
        "_eval_epoch_iterator",
        "_jax_state",
        "_jax_state_synced",
    ),
}


def _strategy(walk: _Walk, value: Any) -> None:
    walk.found.append(type(value))  # without a strategy it is the default, which has no state


_OF_TENSORFLOW: dict[str, Callable[[_Walk, Any], None]] = {
    "ListWrapper": _items,
    "_TupleWrapper": _items,
    "_DictWrapper": _mapping,
    "_DefaultDistributionStrategy": _strategy,
}
"""TensorFlow's objects in Keras' objects. TensorFlow wraps containers to track their contents."""

_HANDLERS: dict[type, Callable[[_Walk, Any], None]] = {
    list: _items,
    tuple: _items,
    dict: _mapping,
    types.MappingProxyType: _mapping,
    collections.OrderedDict: _mapping,
    collections.defaultdict: _default_dict,
    set: _unordered,
    frozenset: _unordered,
    np.ndarray: _array,
    re.Pattern: _pattern,
    types.FunctionType: _function,
    types.MethodType: _method,
    functools.partial: _partial,
    types.ModuleType: _module,
    inspect.Signature: _signature,
}


def _handler(kind: type) -> Callable[[_Walk, Any], None]:
    """Return the handler for objects of a class, and remember it.

    Raises:
        UnknownPartError: If the class is unknown.
    """
    found = _HANDLERS[kind] = _new_handler(kind)
    return found


def _new_handler(kind: type) -> Callable[[_Walk, Any], None]:
    if issubclass(kind, type):
        return _class
    if issubclass(kind, np.generic):
        return lambda walk, value: _array(walk, np.asarray(value))
    if issubclass(kind, np.dtype):
        return _numpy_type
    if kind in _tensors():
        return _tensor
    if kind.__module__.startswith("tensorflow.") and kind.__name__ in _OF_TENSORFLOW:
        return _OF_TENSORFLOW[kind.__name__]
    if not _is_of_keras(kind) or _has_slots(kind):
        raise UnknownPartError(kind)
    if issubclass(kind, keras.Variable):
        return _variable
    return _member if issubclass(kind, enum.Enum) else _object


def _has_slots(kind: type) -> bool:
    """Return whether a class' objects have state beside `__dict__` and their contents."""
    return any(vars(base).get("__slots__") for base in kind.__mro__)


@functools.cache
def _values() -> frozenset[type]:
    """Return the types in which Keras keeps a variable's value."""
    if keras.backend.backend() == "tensorflow":
        from tensorflow.python.ops.resource_variable_ops import ResourceVariable

        return frozenset({ResourceVariable})
    return _tensors()


@functools.cache
def _tensors() -> frozenset[type]:
    """Return the type of a tensor with a value, on this backend."""
    if keras.backend.backend() not in ("tensorflow", "jax"):
        return frozenset()
    return frozenset({type(keras.ops.convert_to_tensor(0.0))})


# Code of Keras itself


def _is_keras(module: str) -> bool:
    return module == "keras" or module.startswith("keras.")


def _is_library(module: str) -> bool:
    return module.partition(".")[0] in _LIBRARIES


_LIBRARIES = ("keras", "tensorflow", "jax", "jaxlib", "numpy", "optree")


def _is_of_keras(kind: type) -> bool:
    """Return whether a class is one of Keras' own, and does not only claim to be."""
    module = kind.__module__
    if not isinstance(module, str) or not _is_keras(module):
        return False
    home = sys.modules.get(module)
    is_named_tuple = kind.__bases__ == (tuple,) and hasattr(kind, "_fields")  # inside a class
    return getattr(home, kind.__name__, None) is kind or kind is keras.Variable or is_named_tuple


@functools.cache
def _folders() -> tuple[str, ...]:
    """Return the folders with the code of Keras and of the libraries below it."""
    files = [getattr(sys.modules.get(name), "__file__", None) for name in _LIBRARIES]
    return tuple(f"{pathlib.Path(file).parent}/" for file in files if file is not None)


def _is_of_libraries(function: types.FunctionType) -> bool:
    return function.__code__.co_filename.startswith(_folders()) and _is_library(
        function.__globals__.get("__name__", "")
    )


@functools.cache
def _functions() -> tuple[tuple[dict[str, Any], Callable[[Any], Any], tuple[Any, ...]], ...]:
    """Return for each Keras module its variables, a getter of its functions and classes, and their
    values at the first call.
    """
    found = []
    for name, module in list(sys.modules.items()):
        if _is_keras(name) and isinstance(module, types.ModuleType):
            own = {
                name: value
                for name, value in vars(module).items()
                if isinstance(value, (types.FunctionType, type))
            }
            _check_own(own.values(), _is_installed)
            if len(own) > 1:
                names = operator.itemgetter(*own)
                found.append((vars(module), names, names(vars(module))))
    return tuple(found)


_untouched: dict[type, dict[str, Any]] = {}
"""The attributes of each class that was met, recorded when the class was as its library defines
it.
"""


def _check_untouched(classes: set[type]) -> None:
    """Check that Keras' functions and classes are unchanged.

    Raises:
        UnknownPartError: If someone has replaced one.
    """
    if not all(names(module) == values for module, names, values in _functions()):
        raise UnknownPartError("a module of Keras'")
    for kind in {base for each in classes for base in each.__mro__ if base is not object}:
        has, had = vars(kind), _untouched.get(kind)
        if had is None:
            _check_own(has.values(), _is_of_own)
            _untouched[kind] = dict(has)
        elif len(has) == len(had) and all(map(operator.is_, has.values(), had.values())):
            continue
        elif any(has.get(name) is not had.get(name) for name in {*has, *had} - _LAZY):
            raise UnknownPartError(kind)


_LAZY = {"__annotations__"}
"""Attributes that Python adds to a class when they are first read."""


def _check_own(values: Iterable[Any], is_known: Callable[[types.FunctionType], bool]) -> None:
    for value in values:
        function = inspect.unwrap(value) if callable(value) else value
        if isinstance(function, (staticmethod, classmethod)):
            function = function.__func__
        if isinstance(function, types.FunctionType) and not is_known(function):
            raise UnknownPartError(function)


def _is_installed(function: types.FunctionType) -> bool:
    """Return whether a function is of a library; Keras' modules import some of other libraries."""
    return not is_own_file(function.__code__.co_filename, function.__globals__.get("__name__"))


def _is_of_own(function: types.FunctionType) -> bool:
    """Return whether a method is of Keras, or of code that generates methods."""
    file = function.__code__.co_filename
    return _is_of_libraries(function) or file.startswith(("<", _standard()))


@functools.cache
def _standard() -> str:
    return f"{pathlib.Path(inspect.__file__).parent}/"
