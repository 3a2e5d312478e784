"""Keras' objects on their way to workers: layers, models, metrics and optimizers, with what a
script has put into them. Runs in driver and worker.

Keras pickles its objects as a configuration, in which classes and functions are names, and finds
there only its own and registered ones. Here those of a script go along themselves, and so does what
a configuration leaves out: attributes that were set later, and arguments of a constructor of which
`get_config` does not tell. Weights are arrays of the pickle, so large ones are shared.
"""

from __future__ import annotations

import contextlib
import copy
import copyreg
import dataclasses
import dis
import functools
import inspect
import pathlib
import random
import tempfile
import types
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeGuard

import keras
import numpy as np
from keras.src.backend.common import global_state
from keras.src.saving import object_registration, saving_lib, serialization_lib
from keras.src.saving.keras_saveable import KerasSaveable
from keras.src.utils import python_utils

from glimr_keras.errors import ShippingError

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
_FRAMEWORKS = ("keras", "tensorflow", "torch", "jax", "flax")
"""Packages whose classes keep what they need in objects of the user's classes."""
_SIMPLE = (bool, int, float, complex, str, bytes, type(None), np.ndarray, np.generic)


@dataclasses.dataclass(frozen=True)
class Parts:
    """What a Keras object is made again from.

    Attributes:
        config: As `keras.saving.serialize_keras_object` gives it, but with keys of `objects`.
        objects: What is not Keras' own: classes, functions, and instances that have no variables.
        weights: By the path of an object in it, and there by name.
        assets: Files that layers save, such as vocabularies, by their paths.
        members: Of the object and all its layers, what its configuration may leave out.
    """

    config: Any
    objects: dict[str, Any]
    weights: dict[str, dict[str, np.ndarray]]
    assets: dict[str, np.ndarray]
    members: list[_Member]


@dataclasses.dataclass(frozen=True)
class _Member:
    """An object, or a layer in one.

    Attributes:
        name: Which Keras leaves out for classes without a `get_config`.
        trainable: `None` for what is no layer.
        shapes: Of its variables, those in its layers too.
        attributes: Of a class that is not Keras' own, those that are plain values.
    """

    name: Any
    trainable: bool | None
    shapes: tuple[tuple[int, ...], ...]
    attributes: dict[str, Any]


def is_keras_object(value: Any) -> TypeGuard[KerasSaveable]:
    """Whether it is one that Keras pickles, and a class of the user's does not pickle itself."""
    return isinstance(value, KerasSaveable) and type(value).__reduce__ is KerasSaveable.__reduce__


def parts_of(value: KerasSaveable) -> Parts:
    """Takes a Keras object apart.

    Raises:
        Exception: What Keras, or `get_config` of the user's, raises.
    """
    config, objects = _configuration(lambda: serialization_lib.serialize_keras_object(value))
    weights: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as directory, undisturbed():
        saving_lib._save_state(value, _Weights(weights), _assets_in(directory), "", set())
        files = [path for path in pathlib.Path(directory).rglob("*") if path.is_file()]
        assets = {
            str(path.relative_to(directory)): np.frombuffer(path.read_bytes(), np.uint8)
            for path in files
        }
    return Parts(
        config,
        objects,
        {
            path: {name: keras.ops.convert_to_numpy(array) for name, array in stored.items()}
            for path, stored in weights.items()
        },
        assets,
        [_member(part) for part in _members(value)],
    )


def compilation_of(model: keras.Model) -> tuple[Any, dict[str, Any]] | None:
    """How a model is compiled, as a configuration and what is not Keras' own in it."""
    return _configuration(model.get_compile_config) if model.compiled else None


def compile_as(model: keras.Model, compilation: tuple[Any, dict[str, Any]] | None) -> None:
    """Compiles a model as another one was."""
    if compilation is not None:
        config, objects = compilation
        with _registered(objects), serialization_lib.ObjectSharingScope():
            model.compile_from_config(config)


def _configuration(serialize: Callable[[], Any]) -> tuple[Any, dict[str, Any]]:
    """What Keras writes down, and the objects that are in it by key."""
    names = _Names()
    sharing = serialization_lib.ObjectSharingScope()
    with names.recording(), sharing, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of lambdas, which are no danger here
        config = serialize()
    return names.resolved(config), names.objects


def loss_reduced(loss: keras.losses.Loss) -> tuple[Any, ...]:
    """How a loss is pickled: it has no variables, so as any object."""
    return copyreg.__newobj__, (type(loss),), vars(loss)  # type: ignore[attr-defined]


def is_loss(value: Any) -> bool:
    """Whether it is an object of Keras' class for losses, which does not pickle itself."""
    return isinstance(value, keras.losses.Loss) and is_keras_object(value)


def made_of(parts: Parts) -> Any:
    """Makes a Keras object again.

    Raises:
        Exception: What Keras, or a class of the user's, raises.
        ValueError: If it has other layers or variables than it had.
    """
    with _registered(parts.objects), serialization_lib.ObjectSharingScope():
        made = serialization_lib.deserialize_keras_object(parts.config, safe_mode=False)
    with tempfile.TemporaryDirectory() as directory:
        for name, content in parts.assets.items():
            path = pathlib.Path(directory, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.tobytes())
        with warnings.catch_warnings():
            # of an optimizer that has not been used, and was built with the model here
            warnings.filterwarnings("ignore", "Skipping variable loading for optimizer")
            weights, assets = _Weights(parts.weights), _assets_in(directory)
            saving_lib._load_state(made, weights, assets, "", False, set())
    _complete(made, parts.members)
    return made


def is_made_of_tensors(model: keras.Model) -> bool:
    """Whether its inputs and outputs, or its layers, are all that a model was made of, also one of
    a class of the user's, such as with a training step of its own.
    """
    kind = type(model)
    return _is_of_keras(kind) or (
        _is_of_keras_method(kind, "__init__")
        and _is_of_keras_method(kind, "from_config")
        and not _own_attributes(model)
    )


def layer_of(model: Any, number: int) -> keras.layers.Layer:
    """A layer of a model, at any depth, by its number in `layers_of`."""
    return layers_of(model)[number]


def layers_of(value: Any) -> list[keras.layers.Layer]:
    """Its layers, and theirs, always in the same order."""
    if not isinstance(value, keras.layers.Layer):
        return []
    layers: list[keras.layers.Layer] = value._flatten_layers(include_self=False)
    return layers


def check(value: Any, parts: Parts) -> None:
    """Makes a Keras object again if there is something in it that is not Keras' own.

    Nothing of this process changes, neither the object nor what Keras counts and draws.

    Raises:
        ShippingError: If that fails. The message is to follow the object's name.
    """
    if not parts.objects:
        return
    copied = dataclasses.replace(parts, config=copy.deepcopy(parts.config))
    try:
        with undisturbed():
            _compare(value, made_of(copied))
    except Exception as error:
        own = sorted({_name(found) for found in parts.objects.values()})
        raise ShippingError(
            f"is a {type(value).__name__} that Keras cannot make again from its configuration, as "
            "a worker process must. A class of your own needs a `get_config()` that returns all "
            "arguments of its constructor, or a `from_config()`; or make the object inside "
            f"`build(config)`, where it is used. Classes and functions of your own in it: "
            f"{', '.join(own)}. Keras says: {type(error).__name__}: {_reason(error)}"
        ) from error


def _reason(error: Exception) -> str:
    """What an error says, without the configurations that Keras puts around it."""
    return str(error).rsplit("Exception encountered: ", 1)[-1].split("Full object config")[0][:500]


def _compare(value: Any, made: Any) -> None:
    """Looks at the layers that a class of the user's made in its constructor.

    Raises:
        ValueError: If one was made with other arguments than it had been made with.
    """
    for before, now in zip(layers_of(value), layers_of(made), strict=True):
        had, has = _arguments(before), _arguments(now)
        for name in had:
            if had[name] != has.get(name):
                raise ValueError(
                    f"the layer {before.name!r} had {name}={had[name]!r}, and has "
                    f"{has.get(name)!r} when it is made again"
                )


def _arguments(layer: keras.layers.Layer) -> dict[str, Any]:
    """Numbers and texts that one of Keras' own layers was made with."""
    if _is_of_keras(type(layer)):
        with contextlib.suppress(Exception):  # of something that is in it and has no configuration
            return {
                name: value
                for name, value in layer.get_config().items()
                if isinstance(value, (bool, int, float, str))
            }
    return {}


class _Names:
    """What Keras would write down as a name, and only find again if it is registered.

    Attributes:
        objects: By the keys that are in the configuration instead.
    """

    def __init__(self) -> None:
        self.objects: dict[str, Any] = {}
        self._keys: dict[int, str] = {}

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
            if isinstance(value, KerasSaveable) and not _is_of_keras(type(value)):
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
        if isinstance(config, (list, tuple)):
            return type(config)(map(self.resolved, config))
        match config:
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
            key = f"{_KEY}>{len(self.objects)}>{_name(value if sent is None else sent)}"
            self._keys[id(value)] = key
            self.objects[key] = value if sent is None else sent
        return self._keys[id(value)]

    def _key_of_class(self, value: Any) -> str:
        kind = type(value)
        if isinstance(value, keras.layers.Layer):  # which is completed when it has been built
            return self._key(kind, _Class(kind, {}))
        return self._key(value, _Class(kind, _own_attributes(value)))


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
            return self.kind(
                **serialization_lib.deserialize_keras_object(config[_ARGUMENTS], safe_mode=False)
            )
        takes = _parameters(self.kind)
        if takes is not None and _is_of_keras_method(self.kind, "from_config"):
            config = {
                name: value for name, value in config.items() if name in takes or name not in _ADDED
            }
        made = self.kind.from_config(config)  # type: ignore[attr-defined]
        _set(made, self.attributes)
        return made


_ARGUMENTS = "glimr_keras_arguments"
_ADDED = ("name", "trainable", "dtype")
"""What Keras puts into each configuration."""


def _completed(value: Any, config_of: Callable[[Any], Any]) -> Any:
    """The configuration of an object. Arguments of its constructor that are not there are what it
    has as attributes of the same name, as is usual.
    """
    kind = type(value)
    if not isinstance(value, KerasSaveable) or _is_of_keras(kind):
        return config_of(value)
    takes = _parameters(kind) or {}
    kept = {name: getattr(value, name) for name in takes if hasattr(value, name)}
    has_required = takes and all(
        name in kept or parameter.default is not parameter.empty
        for name, parameter in takes.items()
    )
    # Keras remembers arguments that are plain values, but of models only the defaults
    is_guess = isinstance(value, keras.Model) and _is_of_keras_method(kind, "get_config")
    if has_required and is_guess:
        return {_ARGUMENTS: serialization_lib.serialize_dict(kept)}
    try:
        config = config_of(value)
    except NotImplementedError:
        if not has_required:
            raise
        return {_ARGUMENTS: serialization_lib.serialize_dict(kept)}
    missing = {
        name: _plain(getattr(value, name))
        for name, parameter in takes.items()
        if parameter.default is parameter.empty
        and name not in config
        and _is_plain(getattr(value, name, value))
    }
    return {**missing, **config}


def _parameters(kind: type) -> dict[str, inspect.Parameter] | None:
    """Those of a constructor by name; `None` if it takes any."""
    found = list(inspect.signature(kind).parameters.values())
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in found):
        return None
    return {parameter.name: parameter for parameter in found}


def _is_of_keras_method(kind: type, name: str) -> bool:
    """Whether a class has a method from Keras."""
    owner = next(base for base in kind.__mro__ if name in vars(base))
    return _is_of_keras(owner)


def _reference(key: str) -> dict[str, Any]:
    """A configuration in which Keras finds what is registered by this name."""
    return {"module": None, "class_name": "function", "config": key, "registered_name": key}


def _goes_along(value: Any) -> bool:
    """Whether an object in a configuration is sent itself: functions, and objects without
    variables, that are not Keras' own.
    """
    if isinstance(value, types.FunctionType):
        return not any(getattr(room, value.__name__, None) is value for room in _OF_KERAS)
    if isinstance(value, KerasSaveable) and not is_loss(value):
        return False
    return not _is_of_keras(type(value))


def _is_of_keras(kind: type) -> bool:
    return _is_of(kind, "keras")


def _is_of(kind: type, *packages: str) -> bool:
    return kind.__module__.split(".")[0] in packages


def _name(value: Any) -> str:
    return str(getattr(value, "__name__", type(value).__name__))


def _numpy_type(name: str) -> Any:
    """NumPy's type; of those that it does not have, the one that Keras converts."""
    try:
        return np.dtype(name)
    except TypeError:
        return None


class _Weights(saving_lib.NpzIOStore):
    """Keras' store of weights, in memory."""

    def __init__(self, contents: dict[str, dict[str, Any]]) -> None:
        self.contents = contents

    def make(self, path: str, metadata: Any = None) -> dict[str, Any]:
        return self.contents.setdefault(path, {})

    def get(self, path: str) -> dict[str, Any]:
        # Variables are changed in place, so they are no tensors over shared memory
        return {name: array.view(np.ndarray) for name, array in self.contents.get(path, {}).items()}

    def has_path(self, path: str) -> bool:
        return any(f"{known}/".startswith(f"{path}/") for known in self.contents)


def _assets_in(directory: str) -> Any:
    return saving_lib.DiskIOStore(directory, mode="r")


@contextlib.contextmanager
def _registered(objects: Mapping[str, Any]) -> Iterator[None]:
    """Registers objects with Keras for the time of a block."""
    registry = keras.saving.get_custom_objects()
    registry.update(objects)
    try:
        yield
    finally:
        for key in objects:
            registry.pop(key, None)


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


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """Leaves what Keras counts names by, and what seeds are drawn from, as they were."""
    names = copy.copy(global_state.get_global_attribute("object_name_uids"))
    drawn, drawn_by_numpy = random.getstate(), np.random.get_state()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        global_state.set_global_attribute("object_name_uids", names)
        random.setstate(drawn)
        np.random.set_state(drawn_by_numpy)


# What a configuration may leave out


def _members(value: Any) -> list[Any]:
    return [value, *layers_of(value)]


def _member(value: Any) -> _Member:
    is_layer = isinstance(value, keras.layers.Layer)
    variables = value.variables if isinstance(value, (keras.layers.Layer, keras.Metric)) else ()
    return _Member(
        getattr(value, "name", None),
        value.trainable if is_layer else None,
        tuple(tuple(variable.shape) for variable in variables),
        _own_attributes(value) if is_layer and not _is_of_keras(type(value)) else {},
    )


def _own_attributes(value: Any) -> dict[str, Any]:
    """The plain values that a class of the user's has put into an object."""
    given = frozenset[str]().union(
        *(_attributes_of(kind) for kind in type(value).__mro__ if _is_of(kind, *_FRAMEWORKS))
    )
    return {
        name: _plain(item)
        for name, item in vars(value).items()
        if name not in given and not name.startswith("_self_") and _is_plain(item)
    }


@functools.cache
def _attributes_of(kind: type) -> frozenset[str]:
    """Names of the attributes that the methods of a class set."""
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


def _is_plain(value: Any) -> bool:
    if isinstance(value, dict):
        return all(map(_is_plain, (*value.keys(), *value.values())))
    if isinstance(value, (list, tuple, set)):
        return all(map(_is_plain, value))
    return isinstance(value, _SIMPLE)


def _plain(value: Any) -> Any:
    """The value without what Keras makes of lists and dictionaries to follow them."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    for kind in (list, set):
        if isinstance(value, kind):
            return kind(map(_plain, value))
    return tuple(map(_plain, value)) if type(value) is tuple else value


def _complete(made: Any, members: Sequence[_Member]) -> None:
    """Gives an object what its configuration left out.

    Raises:
        ValueError: If it has other layers or variables than it had.
    """
    there = _members(made)
    found = [_member(part) for part in there]
    if [part.shapes for part in found] != [part.shapes for part in members]:
        raise ValueError(f"it had {_counted(members)}, and was made again with {_counted(found)}")
    if [part.trainable for part in found] != [part.trainable for part in members]:
        for part, member in zip(there, members, strict=True):
            if member.trainable is not None:
                part.trainable = member.trainable
    for part, member in zip(there, members, strict=True):
        if member.name != getattr(part, "name", None):
            part.name = member.name
        _set(part, member.attributes)


def _set(made: Any, attributes: Mapping[str, Any]) -> None:
    """Sets those attributes that have another value."""
    found = _own_attributes(made) if attributes else {}
    for name, value in attributes.items():
        if name not in found or not _equal(found[name], value):
            setattr(made, name, value)


def _counted(members: Sequence[_Member]) -> str:
    shapes = members[0].shapes
    return f"{len(members) - 1} layers and {len(shapes)} variables of the shapes {list(shapes)}"


def _equal(one: Any, other: Any) -> bool:
    try:
        return type(one) is type(other) and bool(np.all(one == other))
    except Exception:  # such as of arrays in a list: set again
        return False
