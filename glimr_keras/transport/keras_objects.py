"""Keras' objects on their way to workers: layers, models, metrics and optimizers, with what a
script has put into them. Runs in driver and worker.

Keras pickles its objects as a configuration, in which classes and functions are names, and finds
there only its own and registered ones. Here those of a script go along themselves, and so does what
a configuration leaves out: attributes that were set later, and arguments of a constructor of which
`get_config` does not tell. Weights are an array of the pickle, so large ones are shared.
"""

from __future__ import annotations

import contextlib
import copy
import copyreg
import dataclasses
import random
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np
from keras.src.backend.common import global_state
from keras.src.saving import serialization_lib
from keras.src.saving.keras_saveable import KerasSaveable

from glimr_keras.errors import ShippingError
from glimr_keras.transport import keras_attributes
from glimr_keras.transport.keras_configs import configuration, name_of, registered
from glimr_keras.transport.keras_states import State


@dataclasses.dataclass(frozen=True)
class Parts:
    """The parts from which a Keras object is restored.

    Attributes:
        config: The result of `keras.saving.serialize_keras_object`, but with keys of `objects`.
        objects: The parts that are not Keras' own: classes, functions, and instances without
            variables.
        members: For the object and all its layers, what its configuration may omit.
    """

    config: Any
    objects: dict[str, Any]
    state: State
    members: list[_Member]


@dataclasses.dataclass(frozen=True)
class _Member:
    """An object, or a layer in one.

    Attributes:
        name: Which Keras leaves out for classes without a `get_config`.
        trainable: `None` for what is no layer.
        shapes: Of its weights, those in its layers too.
        are_trainable: For each of these weights.
        attributes: Those that are plain values, and that no class of Keras' has set.
    """

    name: Any
    trainable: bool | None
    shapes: tuple[tuple[int, ...], ...]
    are_trainable: tuple[bool, ...]
    attributes: dict[str, Any]


def parts_of(value: KerasSaveable) -> Parts:
    """Take a Keras object apart.

    Raises:
        Exception: Any exception that Keras or the user's `get_config` raises.
    """
    config, objects = configuration(lambda: serialization_lib.serialize_keras_object(value))
    with undisturbed():
        state = State.of(value)
    return Parts(config, objects, state, [_member(part) for part in _members(value)])


@dataclasses.dataclass(frozen=True)
class Compilation:
    """The compilation of a model.

    Attributes:
        config: With keys of `objects`, as in `Parts`.
        state: The state of the optimizer, if it has trained.
    """

    config: Any
    objects: dict[str, Any]
    state: State | None

    @classmethod
    def of(cls, model: keras.Model) -> Compilation | None:
        """Return a model's compilation; `None` if it is not compiled."""
        if not model.compiled:
            return None
        optimizer = model.optimizer
        with undisturbed():
            state = State.of(optimizer) if getattr(optimizer, "built", False) else None
        return cls(*configuration(model.get_compile_config), state)

    def give(self, model: keras.Model) -> None:
        """Compile another model in the same way."""
        with registered(self.objects), serialization_lib.ObjectSharingScope():
            model.compile_from_config(self.config)
        if self.state is not None:
            self.state.give(model.optimizer)


def own_parts(value: KerasSaveable) -> list[tuple[str, Any]]:
    """Return the user's classes, functions and instances in a Keras object, with their names."""
    try:
        _, objects = configuration(lambda: serialization_lib.serialize_keras_object(value))
    except Exception:  # which is the reason by itself
        return []
    return [(name_of(part), getattr(part, "kind", part)) for part in objects.values()]


def loss_reduced(loss: keras.losses.Loss) -> tuple[Any, ...]:
    """How a loss is pickled: it has no variables, so as any object."""
    return copyreg.__newobj__, (type(loss),), vars(loss)  # type: ignore[attr-defined]


def made_of(parts: Parts) -> Any:
    """Restore a Keras object.

    Raises:
        Exception: Any exception that Keras or the user's class raises.
        ValueError: If its weights differ from the original's.
    """
    with registered(parts.objects), serialization_lib.ObjectSharingScope():
        made = serialization_lib.deserialize_keras_object(parts.config, safe_mode=False)
    parts.state.give(made)
    _complete(made, parts.members)
    return made


def is_made_of_tensors(model: keras.Model) -> bool:
    """Whether its inputs and outputs, or its layers, are all that a model was made of, also one of
    a class of the user's, such as with a training step of its own.
    """
    kind = type(model)
    if keras_attributes.is_of_keras(kind):
        return not keras_attributes.other_attributes(model)
    return (
        keras_attributes.has_from_keras(kind, "__init__")
        and keras_attributes.has_from_keras(kind, "from_config")
        and not keras_attributes.own_attributes(model)
        and not keras_attributes.other_attributes(model)
    )


def layer_of(model: Any, number: int) -> keras.layers.Layer:
    """Return a layer of a model, at any depth, by its number in `layers_of`."""
    return layers_of(model)[number]


def layers_of(value: Any) -> list[keras.layers.Layer]:
    """Return its layers, including nested ones, always in the same order."""
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
    if not parts.objects and not any(map(keras_attributes.other_attributes, _members(value))):
        return
    copied = dataclasses.replace(parts, config=copy.deepcopy(parts.config))
    try:
        with undisturbed():
            _compare(value, made_of(copied))
    except Exception as error:
        own = sorted({name_of(found) for found in parts.objects.values()})
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
    """Looks at the layers that a class of the user's made in its constructor, and at what it or a
    script has put into objects.

    Raises:
        ValueError: If one was made with other arguments than it had been made with, or has lost
            what is no plain value.
    """
    for before, now in zip(_members(value), _members(made), strict=True):
        has = keras_attributes.other_attributes(now)
        for name, item in keras_attributes.other_attributes(before).items():
            if not keras_attributes.is_like(item, has.get(name)):
                raise ValueError(
                    f"the {type(before).__name__} {getattr(before, 'name', '')!r} had "
                    f"{name}={_shown(item)}, and has {_shown(getattr(now, name, None))} when it is "
                    "made again"
                )
    for before, now in zip(layers_of(value), layers_of(made), strict=True):
        had, has = _arguments(before), _arguments(now)
        for name in had:
            if had[name] != has.get(name):
                raise ValueError(
                    f"the layer {before.name!r} had {name}={had[name]!r}, and has "
                    f"{has.get(name)!r} when it is made again"
                )


def _shown(value: Any) -> str:
    return name_of(value) if callable(value) else repr(value)[:100]


def _arguments(layer: keras.layers.Layer) -> dict[str, Any]:
    """Numbers and texts that one of Keras' own layers was made with."""
    if keras_attributes.is_of_keras(type(layer)):
        with contextlib.suppress(Exception):  # of something that is in it and has no configuration
            return {
                name: value
                for name, value in layer.get_config().items()
                if isinstance(value, (bool, int, float, str))
            }
    return {}


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """Leave Keras' name counters and the random generators' states unchanged."""
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


def _members(value: Any) -> list[Any]:
    return [value, *layers_of(value)]


def _member(value: Any) -> _Member:
    is_layer = isinstance(value, keras.layers.Layer)
    weights = value.weights if is_layer else ()
    return _Member(
        getattr(value, "name", None),
        value.trainable if is_layer else None,
        tuple(tuple(weight.shape) for weight in weights),
        tuple(weight.trainable for weight in weights),
        keras_attributes.own_attributes(value) if is_layer else {},
    )


def _complete(made: Any, members: Sequence[_Member]) -> None:
    """Gives an object what its configuration left out.

    Raises:
        ValueError: If it has other weights than it had.
    """
    there = _members(made)
    found = [_member(part) for part in there]
    if found[0].shapes != members[0].shapes:
        raise ValueError(
            f"it had weights of the shapes {list(members[0].shapes)}, and was made again with "
            f"{list(found[0].shapes)}"
        )
    if len(found) != len(members):  # there are layers that Keras makes when it needs them
        return
    if [part.trainable for part in found] != [part.trainable for part in members]:
        for part, member in zip(there, members, strict=True):
            if member.trainable is not None:
                part.trainable = member.trainable
    for part, member in zip(there, members, strict=True):
        if member.name != getattr(part, "name", None):
            part.name = member.name
        keras_attributes.set_attributes(part, member.attributes)
    if members[0].shapes:
        for weight, is_trainable in zip(made.weights, members[0].are_trainable, strict=True):
            if weight.trainable != is_trainable:
                weight.trainable = is_trainable
