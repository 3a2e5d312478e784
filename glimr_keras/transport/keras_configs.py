"""Configurations of Keras' objects in which a script's own classes and functions are not names,
but go along themselves. Runs in driver and worker.
"""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import types
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import keras
import numpy as np
from keras.src.saving import object_registration, serialization_lib
from keras.src.saving.keras_saveable import KerasSaveable
from keras.src.utils import python_utils

from glimr_keras.transport import keras_attributes

_KEY = "glimr_keras"
_OF_KERAS = (
    keras.activations,
    keras.losses,
    keras.metrics,
    keras.initializers,
    keras.regularizers,
    keras.constraints,
)
"""Where Keras finds its own functions by their names."""
_ARGUMENTS = "glimr_keras_arguments"
_NOTHING = object()
_LEFT_OUT = "glimr_keras_left_out"
_ADDED = ("name", "trainable", "dtype")
"""What Keras puts into each configuration."""


def configuration(serialize: Callable[[], Any]) -> tuple[Any, dict[str, Any]]:
    """What Keras writes down, and the objects that are in it by key."""
    names = _Names()
    sharing = serialization_lib.ObjectSharingScope()
    with names.recording(), sharing, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of lambdas, which are no danger here
        config = serialize()
    return names.resolved(config), names.objects


@contextlib.contextmanager
def registered(objects: Mapping[str, Any]) -> Iterator[None]:
    """Registers objects with Keras for the time of a block."""
    registry = keras.saving.get_custom_objects()
    registry.update(objects)
    try:
        yield
    finally:
        for key in objects:
            registry.pop(key, None)


def name_of(value: Any) -> str:
    """The name of a class or function; of an instance, that of its class."""
    return str(getattr(value, "__name__", type(value).__name__))


class _Names:
    """What Keras would write down as a name, and only find again if it is registered.

    Attributes:
        objects: By the keys that are in the configuration instead.
    """

    def __init__(self) -> None:
        self.objects: dict[str, Any] = {}
        self._keys: dict[int, str] = {}
        self._seen: list[Any] = []  # so that ids remain theirs

    @contextlib.contextmanager
    def recording(self) -> Iterator[None]:
        """Has Keras write keys into the configurations that it makes."""
        config_of = serialization_lib._get_class_or_fn_config
        record = serialization_lib.record_object_after_serialization
        known = object_registration.GLOBAL_CUSTOM_NAMES
        before = dict(known)

        def own_config_of(value: Any) -> Any:
            if not _goes_along(value):
                return _completed(value, config_of)
            if isinstance(value, types.FunctionType):
                known[value] = self._key(value)  # for whom Keras asks by itself
            return self._key(value)

        def own_record(value: Any, config: dict[str, Any]) -> None:
            if _goes_along(value):
                config.clear()
                config.update(_reference(self._key(value)))
                return
            record(value, config)
            if isinstance(value, KerasSaveable) and not keras_attributes.is_of_keras(type(value)):
                config["registered_name"] = self._key_of_class(value)

        try:
            with (
                _replaced(serialization_lib, "_get_class_or_fn_config", own_config_of),
                _replaced(serialization_lib, "record_object_after_serialization", own_record),
                _replaced(python_utils, "func_dump", lambda value: (self._key(value), None, None)),
                _replaced(serialization_lib, "inspect", _NoSource()),
            ):
                yield
        finally:
            known.clear()
            known.update(before)

    def resolved(self, config: Any) -> Any:
        """The configuration with a lambda's key in the form of other functions, and with arrays as
        such, which Keras has as lists.
        """
        match config:
            case list():
                return list(map(self.resolved, config))
            case tuple():
                return tuple(map(self.resolved, config))
            case {"class_name": "__lambda__", "config": inner}:
                return self.resolved(inner)
            case {"code": str(key)} | {"value": (str(key), None, None)} if key in self.objects:
                return _reference(key)
            case {"class_name": "__numpy__" | "__tensor__", "config": inner}:
                value = np.array(inner["value"], _numpy_type(inner["dtype"]))
                return {**config, "config": {**inner, "value": value}}
            case dict():
                return {name: self.resolved(value) for name, value in config.items()}
        return config

    def _key(self, value: Any, sent: Any = None) -> str:
        if id(value) not in self._keys:
            key = f"{_KEY}>{len(self.objects)}>{name_of(value if sent is None else sent)}"
            self._keys[id(value)] = key
            self._seen.append(value)
            self.objects[key] = value if sent is None else sent
        return self._keys[id(value)]

    def _key_of_class(self, value: Any) -> str:
        kind = type(value)
        if isinstance(value, keras.layers.Layer):  # which is completed when it has been built
            return self._key(kind, _Class(kind, {}))
        return self._key(value, _Class(kind, keras_attributes.own_attributes(value)))


@dataclasses.dataclass(frozen=True)
class _Class:
    """A class of the user's in the place where Keras looks for it.

    Attributes:
        attributes: What its object gets then.
    """

    kind: type
    attributes: dict[str, Any]

    @property
    def __name__(self) -> str:
        return self.kind.__name__

    def from_config(self, config: dict[str, Any]) -> Any:
        """Makes an object, without what Keras adds to a configuration and the constructor, which
        was written for one process, does not take.
        """
        if _ARGUMENTS in config:
            arguments = serialization_lib.deserialize_keras_object(
                config[_ARGUMENTS], safe_mode=False
            )
            bound = inspect.BoundArguments(inspect.signature(self.kind), arguments)
            return self.kind(*bound.args, **bound.kwargs)
        if _LEFT_OUT in config:
            found = serialization_lib.deserialize_keras_object(config[_LEFT_OUT], safe_mode=False)
            config = {**{name: config[name] for name in config if name != _LEFT_OUT}, **found}
        takes = _parameters(self.kind)
        if takes is not None and keras_attributes.has_from_keras(self.kind, "from_config"):
            config = {
                name: value for name, value in config.items() if name in takes or name not in _ADDED
            }
        made = self.kind.from_config(config)  # type: ignore[attr-defined]
        keras_attributes.set_attributes(made, self.attributes)
        return made


def _completed(value: Any, config_of: Callable[[Any], Any]) -> Any:
    """The configuration of an object. Arguments of its constructor that are not there are what it
    has as attributes of the same name, as is usual.
    """
    kind = type(value)
    if not isinstance(value, KerasSaveable) or keras_attributes.is_of_keras(kind):
        return config_of(value)
    takes = _parameters(kind) or {}
    kept = {name: _kept(value, name) for name in takes if hasattr(value, name)}
    has_required = takes and all(
        name in kept or parameter.default is not parameter.empty
        for name, parameter in takes.items()
    )
    # Keras remembers arguments that are plain values, but of models only the defaults
    is_guess = isinstance(value, keras.Model) and keras_attributes.has_from_keras(
        kind, "get_config"
    )
    if has_required and is_guess:
        return {_ARGUMENTS: serialization_lib.serialize_dict(kept)}
    try:
        config = config_of(value)
    except NotImplementedError:
        if not has_required:
            raise
        return {_ARGUMENTS: serialization_lib.serialize_dict(kept)}
    plain, others = _missing(value, config)
    return {**plain, **config, **({_LEFT_OUT: others} if others else {})}


def _missing(value: Any, config: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Arguments of a constructor that a configuration does not have, from attributes: those without
    a default, and, written down, those that are no plain values, which are not set as attributes
    later. What `*args` and `**kwargs` take are no arguments of these names.
    """
    found, others = {}, {}
    for name, parameter in inspect.signature(type(value)).parameters.items():
        kept = vars(value).get(name, _NOTHING)
        is_rest = parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
        if is_rest or name in config or name in _ADDED or kept is _NOTHING:
            continue
        if keras_attributes.is_plain(kept):
            if parameter.default is parameter.empty:
                found[name] = keras_attributes.plain(kept)
        elif _goes_along(kept) or _is_function_of_keras(kept):
            others[name] = serialization_lib.serialize_keras_object(kept)
    return found, others


def _is_function_of_keras(value: Any) -> bool:
    return isinstance(value, types.FunctionType) and keras_attributes.is_of_keras(value)


def _kept(value: Any, name: str) -> Any:
    """The attribute in which an object has an argument of its constructor."""
    return getattr(value, "dtype_policy" if name == "dtype" else name)


def _parameters(kind: type) -> dict[str, inspect.Parameter] | None:
    """Those of a constructor by name; `None` if it takes any."""
    found = list(inspect.signature(kind).parameters.values())
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in found):
        return None
    return {parameter.name: parameter for parameter in found}


def _reference(key: str) -> dict[str, Any]:
    """A configuration in which Keras finds what is registered by this name."""
    return {"module": None, "class_name": "function", "config": key, "registered_name": key}


def _goes_along(value: Any) -> bool:
    """Whether an object in a configuration is sent itself: functions, and objects without
    variables, that are not Keras' own.
    """
    if isinstance(value, types.FunctionType):
        return not any(getattr(room, value.__name__, None) is value for room in _OF_KERAS)
    if isinstance(value, KerasSaveable) and not keras_attributes.is_loss(value):
        return False
    return not keras_attributes.is_of_keras(type(value))


def _numpy_type(name: str) -> Any:
    """NumPy's type; of those that it does not have, the one that Keras converts."""
    try:
        return np.dtype(name)
    except TypeError:
        return None


class _NoSource:
    """In the place of Keras' `inspect`: it warns of a lambda with its source, which there may not
    be.
    """

    def __getattr__(self, name: str) -> Any:
        return getattr(inspect, name)

    def getsource(self, value: Any) -> str:
        return ""


@contextlib.contextmanager
def _replaced(module: Any, name: str, replacement: Any) -> Iterator[None]:
    before = getattr(module, name)
    setattr(module, name, replacement)
    try:
        yield
    finally:
        setattr(module, name, before)
