"""Pickle what is sent to workers, with large arrays kept apart, and name the parts that cannot be
pickled. Runs in driver and worker.

Arrays of 1 MiB or more are not part of the pickle, wherever in the object they are. The executor
puts each into shared memory once, and every trial maps it from there, read-only.

`tf.data` pipelines are sent as their graphs. Symbolic Keras tensors, such as the output of layers
at the top of a script, are sent as one model with their layers and models. So are models that share
layers. Other objects of Keras, TensorFlow and NumPy are handled by `keras_objects`, `tf_objects`
and `array_kinds`.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import functools
import inspect
import io
import pickle
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import keras
import numpy as np

from glimr_keras.errors import ShippingError
from glimr_keras.models import batch_iterators, tf_datasets
from glimr_keras.models.hypermodel import FunctionHyperModel
from glimr_keras.transport import array_kinds, keras_attributes, keras_objects, tf_objects
from glimr_keras.transport.custom_objects import Registry, place_of
from glimr_keras.transport.module_state import Rebound

LARGE = 2**20
"""Arrays of at least this many bytes are kept apart."""


@dataclasses.dataclass(frozen=True)
class SerializedObject:
    """A pickled object.

    Attributes:
        content: The pickle.
        arrays: The arrays of at least `LARGE` bytes, to which the pickle refers by number.
    """

    content: bytes
    arrays: tuple[np.ndarray, ...]


def pack(value: Any) -> SerializedObject:
    """Pickle an object, without copying its large arrays into the pickle.

    Raises:
        Exception: Any exception that the object's parts raise when they are pickled.
    """
    rebound = Rebound.current(lambda part: _error(part) is None)
    content, pickler = _packed((rebound, value), Registry.current(_can_be_sent))
    return SerializedObject(content, tuple(pickler.apart.arrays))


def unpack(content: bytes, arrays: Sequence[np.ndarray]) -> Any:
    """Return a fresh copy of a packed object, which uses the given large arrays. Also register the
    script's custom Keras objects in this process, and restore what the script set in its modules.
    """
    unpickler = _Unpickler(content, _Apart(arrays))
    unpickler.load().install()
    unpickler.connect(unpickler.load())
    rebound, value = unpickler.load()
    rebound.install()
    return value


def copied(value: Any) -> Any:
    """Return a copy for this process that shares classes, tuners, large arrays, and symbolic
    tensors with their layers and models with the original.

    A class at the top of a script would be pickled with its methods and the variables that they
    use. Unpickling it here would give the script's own class copies of these variables.

    Raises:
        Exception: Any exception that the object's parts raise when they are pickled.
    """
    content, pickler = _connected([value], stays_here=True)
    with keras_objects.undisturbed():
        return _Unpickler(content, pickler.apart).load()


def _packed(value: Any, registry: Registry | None = None) -> tuple[bytes, _Pickler]:
    """Three pickles that share what is in them: the registry, a model of all that is connected, and
    the value.
    """
    return _connected([registry, None, value])


def _connected(values: list[Any], stays_here: bool = False) -> tuple[bytes, _Pickler]:
    """Pickles of values, in which the second of three becomes the model of all that is connected in
    the others.
    """
    content, pickler = _dumped(values, stays_here=stays_here)
    shared = _Shared(pickler.taken_apart)
    tensors = _once([*pickler.apart.tensors, *shared.outputs])
    if not tensors and not shared.places:
        return content, pickler
    joint = None
    if tensors:
        with keras_objects.undisturbed():
            joint = _Joint(tensors, pickler.models)
        if not stays_here:
            values[1] = joint.model
    return _dumped(values, joint, stays_here, shared.places)


def _dumped(
    values: Sequence[Any],
    joint: _Joint | None = None,
    stays_here: bool = False,
    places: Mapping[int, tuple[Any, int]] = MappingProxyType({}),
) -> tuple[bytes, _Pickler]:
    written = io.BytesIO()
    pickler = _kind_of_pickler()(written, joint, stays_here, places)
    for value in values:
        pickler.dump(value)
    return pickle.dumps(pickler.buffers) + written.getvalue(), pickler


def _can_be_sent(value: Any) -> bool:
    """Return whether something can be pickled independently of connected objects."""
    with contextlib.suppress(Exception):
        return not _dumped([value])[1].apart.tensors
    return False


@functools.singledispatch
def sent(value: Any) -> Any:
    """Return what is sent in place of an object, wherever it is referenced. Types of which a part
    stays in the driver register their own replacement here.
    """
    return value


def _once(values: Sequence[Any]) -> list[Any]:
    """Return each object once, in order."""
    return list({id(value): value for value in values}.values())


class _Shared:
    """Which layers are in several of the objects that are sent, or are sent by themselves too.

    Args:
        taken_apart: The objects, each with its parts.

    Attributes:
        outputs: Of the models that are to be sent as one for that.
        places: Of objects that are layers of another, by their ids: that one, and their number in
            it.
    """

    def __init__(self, taken_apart: Sequence[tuple[Any, keras_objects.Parts]]) -> None:
        objects = [value for value, _ in taken_apart]
        alone = {id(value) for value in objects}
        within = {id(value): keras_objects.layers_of(value) for value in objects}
        counts = collections.Counter(
            id(layer) for layers in within.values() for layer in _once(layers)
        )
        held = alone & counts.keys()
        self.places = {
            id(layer): (value, number)
            for value in objects
            if id(value) not in held and not _is_functional(value)
            for number, layer in enumerate(within[id(value)])
            if id(layer) in held
        }
        self.outputs = [
            tensor
            for value in objects
            if _is_functional(value)
            and id(value) not in held
            and any(counts[id(layer)] > 1 or id(layer) in held for layer in within[id(value)])
            for tensor in value.outputs
        ]


class _Joint:
    """One model of all that is connected by symbolic tensors.

    Args:
        tensors: The symbolic tensors; each becomes an output.
        models: Of which those are part of it that have an input in common with the tensors, if they
            are of Keras' own kinds.

    Attributes:
        model: From the inputs that the tensors were made of to the tensors.
        references: What a pickle has in the place of an object that is part of it, by the object's
            id.
    """

    def __init__(self, tensors: Sequence[Any], models: Sequence[keras.Model]) -> None:
        inputs = {
            id(source): source
            for tensor in tensors
            for source in keras.utils.get_source_inputs(tensor)
        }
        self.model = keras.Model(list(inputs.values()), list(tensors))
        connected = [
            model
            for model in models
            if keras_objects.is_made_of_tensors(model)
            and any(id(tensor) in inputs for tensor in model.inputs)
        ]
        outputs = {id(tensor): tensor for tensor in tensors}
        for model in connected:
            inputs |= {id(tensor): tensor for tensor in model.inputs}
            outputs |= {id(tensor): tensor for tensor in (*model.inputs, *model.outputs)}
        if connected:
            self.model = keras.Model(list(inputs.values()), list(outputs.values()))
        numbers = {key: number for number, key in enumerate(outputs)}
        self.references: dict[int, tuple[Any, ...]] = {
            key: ("tensors", number) for key, number in numbers.items()
        }
        layers = keras_objects.layers_of(self.model)
        places = {id(layer): number for number, layer in enumerate(layers)}
        for model in connected:
            if isinstance(model, keras.Sequential):
                parts: Any = [places[id(layer)] for layer in model._layers]
            else:
                parts = [
                    keras.tree.map_structure(lambda tensor: numbers[id(tensor)], end)
                    for end in _ends(model)
                ]
            self.references[id(model)] = (
                "model",
                type(model),
                parts,
                model.name,
                keras_objects.Compilation.of(model),
                keras_attributes.own_attributes(model),
                len(self.references),
            )
        self.references |= {key: ("layers", number) for key, number in places.items()}


def _is_functional(value: Any) -> bool:
    """Return whether it is a model made of symbolic tensors."""
    return isinstance(value, keras.Model) and hasattr(
        getattr(value, "_functional", value), "_inputs_struct"
    )


def _ends(model: keras.Model) -> tuple[Any, Any]:
    """Return its inputs and outputs, in the structure that it takes and returns."""
    functional = getattr(model, "_functional", model)  # of a `Sequential`
    return functional._inputs_struct, functional._outputs_struct


@dataclasses.dataclass(frozen=True)
class _Apart:
    """What a pickle refers to by the name of the list that it is in and its number there."""

    arrays: Sequence[np.ndarray] = dataclasses.field(default_factory=list)
    tensors: Sequence[Any] = dataclasses.field(default_factory=list)
    of_process: Sequence[Any] = dataclasses.field(default_factory=list)
    layers: Sequence[keras.layers.Layer] = ()


class _Pickler(pickle.Pickler):
    """What is done here with objects, beside what cloudpickle does; see `_kind_of_pickler`."""

    def __init__(
        self,
        file: io.BytesIO,
        joint: _Joint | None,
        stays_here: bool,
        places: Mapping[int, tuple[Any, int]],
    ) -> None:
        super().__init__(file, pickle.HIGHEST_PROTOCOL, buffer_callback=self._take)
        self.apart = _Apart()
        self.buffers: list[int] = []  # numbers of those arrays that other objects' memory is
        self.taken_apart: list[tuple[Any, keras_objects.Parts]] = []
        self.delicate: list[Any] = []
        self._places = places
        self.models: list[keras.Model] = []
        self._stays_here = stays_here
        self._numbers: dict[int, int] = {}
        self._references = {} if joint is None else joint.references

    def persistent_id(self, value: Any) -> tuple[Any, ...] | None:
        if id(value) in self._references and not self._stays_here:
            return self._references[id(value)]
        if isinstance(value, keras.KerasTensor) and hasattr(value, "_keras_history"):
            return self._numbered("tensors", value)
        if self._stays_here and (
            isinstance(value, type) or id(value) in self._references or sent(value) is not value
        ):
            return self._numbered("of_process", value)
        if _is_functional(value):
            self.models.append(value)
        if type(value) is not np.ndarray or value.nbytes < LARGE or value.dtype.hasobject:
            return None
        return self._numbered("arrays", value)

    def _take(self, buffer: pickle.PickleBuffer) -> bool:
        """Keeps large memory of other objects apart, such as that of Arrow's tables, and returns
        whether it is to be pickled instead.
        """
        try:
            memory = np.frombuffer(buffer.raw(), np.uint8)
        except BufferError:  # not in one piece
            return True
        if memory.nbytes < LARGE:
            return True
        _, number = self._numbered("arrays", memory)
        self.buffers.append(number)
        return False

    def _numbered(self, name: str, value: Any) -> tuple[str, int]:
        """The place of a value among those that are kept apart, which it is put to."""
        kept = getattr(self.apart, name)
        if id(value) not in self._numbers:
            self._numbers[id(value)] = len(kept)
            kept.append(value)
        return name, self._numbers[id(value)]

    def reducer_override(self, value: Any) -> Any:
        if tf_datasets.is_dataset(value):
            return tf_datasets.rebuilt, (
                np.frombuffer(tf_datasets.graph_of(value), np.uint8),
                value.element_spec,
                tf_datasets.attributes_of(value),
            )
        if batch_iterators.can_be_reread(value):
            return batch_iterators.reduced(value) or super().reducer_override(value)
        if keras_attributes.is_keras_object(value):
            return self._of_keras(value)
        if _is_delicate(value):
            self.delicate.append(value)
        how = array_kinds.reduced(value) or tf_objects.reduced(value)
        if how is not None:
            return how
        instead = sent(value)
        if instead is not value:
            return instead.__reduce_ex__(pickle.HIGHEST_PROTOCOL)
        return super().reducer_override(value)

    def _of_keras(self, value: Any) -> tuple[Any, ...]:
        if keras_attributes.is_loss(value):
            return keras_objects.loss_reduced(value)
        if id(value) in self._places:
            return keras_objects.layer_of, self._places[id(value)]
        parts = keras_objects.parts_of(value)
        self.taken_apart.append((value, parts))
        return keras_objects.made_of, (parts,)


@functools.cache
def _kind_of_pickler() -> type[_Pickler]:
    """Return the pickler that is used, which is also one of cloudpickle's. Of that there is one, in
    Ray, which is imported when something is pickled.
    """
    from ray import cloudpickle

    class Pickler(_Pickler, cloudpickle.Pickler):
        pass

    return Pickler


class _Unpickler(pickle.Unpickler):
    def __init__(self, content: bytes, apart: _Apart) -> None:
        file = io.BytesIO(content)
        super().__init__(file, buffers=[apart.arrays[number] for number in pickle.load(file)])
        self._apart = apart
        self._models: dict[int, keras.Model] = {}

    def connect(self, model: keras.Model | None) -> None:
        """Takes the model of all that is connected, to which references are from then on."""
        if model is not None:
            layers = keras_objects.layers_of(model)
            self._apart = _Apart(self._apart.arrays, model.outputs, layers=layers)

    def persistent_load(self, reference: tuple[Any, ...]) -> Any:
        match reference:
            case ("model", kind, parts, name, compilation, attributes, number):
                if number not in self._models:
                    self._models[number] = self._model(kind, parts, name, compilation)
                    keras_attributes.set_attributes(self._models[number], attributes)
                return self._models[number]
            case (kept, number):
                return getattr(self._apart, kept)[number]
        raise pickle.UnpicklingError(f"An unknown reference: {reference!r}")

    def _model(
        self,
        kind: type[keras.Model],
        parts: Any,
        name: str,
        compilation: keras_objects.Compilation | None,
    ) -> keras.Model:
        if issubclass(kind, keras.Sequential):
            model = kind([self._apart.layers[number] for number in parts], name=name)
        else:
            ends = (keras.tree.map_structure(self._apart.tensors.__getitem__, end) for end in parts)
            model = kind(*ends, name=name)
        if compilation is not None:
            compilation.give(model)
        return model


def check_sendable(value: Any, name: str) -> None:
    """Refuse an object that cannot be pickled, or a Keras object that cannot be restored, and name
    the innermost attribute that is the reason.

    Args:
        value: The object to send. Large arrays in it are not copied for the check.
        name: The user's name for it, such as `"hypermodel"`.

    Raises:
        ShippingError: With the path of the attribute, closure variable or item.
    """
    error = _error(value)
    if error is None:
        return
    path, culprit = _find(value, name, set())
    error = _error(culprit) or error
    if isinstance(error, ShippingError):
        raise ShippingError(f"{path} {error}") from error
    raise ShippingError(
        f"`{name}` must be sent to worker processes, and cannot be pickled: {path} is a "
        f"{type(culprit).__name__}. Create it inside `data(config)`, `build(config)` or `fit`, "
        f"where it is used. Received: {error}"
    )


def _error(value: Any) -> Exception | None:
    try:
        _, pickler = _packed(value)
        for found, parts in pickler.taken_apart:
            keras_objects.check(found, parts)
        for found in pickler.delicate:
            _check_unpickling(found)
    except Exception as error:
        return error
    return None


def _check_unpickling(value: Any) -> None:
    try:
        copied(value)
    except Exception as error:
        raise ShippingError(
            f"is a {type(value).__name__} that can be pickled and not unpickled, as a worker "
            f"process must. Mend its {_PICKLING}, or make it inside `data(config)`, "
            "`build(config)` or `fit`, where it is used. "
            f"Received: {type(error).__name__}: {error}"
        ) from error


_PICKLING = "`__reduce__`, `__setstate__` or `__getattr__`"
_DELICATE = (
    "__reduce__",
    "__reduce_ex__",
    "__setstate__",
    "__getattr__",
    "__getattribute__",
    "__getnewargs__",
    "__getnewargs_ex__",
)
"""Methods that say how an object is unpickled, or are called when it is half made."""


def _is_delicate(value: Any) -> bool:
    """Return whether it is an object of a script's class that might be pickled but not
    unpickled.
    """
    kind = type(value)
    return place_of(kind) is None and (
        isinstance(value, BaseException)
        or any(
            name in vars(base)
            for base in kind.__mro__
            if base.__module__ != "builtins"
            for name in _DELICATE
        )
    )


def _find(value: Any, path: str, seen: set[int]) -> tuple[str, Any]:
    """Return the innermost part of `value` that cannot be pickled, with its path."""
    seen.add(id(value))
    for name, part in _parts(value):
        if id(part) not in seen and _error(part) is not None:
            return _find(part, path + name, seen)
    return path, value


def _parts(value: Any) -> Iterator[tuple[str, Any]]:
    if tf_datasets.is_dataset(value):
        return  # which says itself why
    if keras_attributes.is_keras_object(value) and not keras_attributes.is_loss(value):
        # Its attributes are nothing that a user knows
        yield from ((f"'s {name}", part) for name, part in keras_objects.own_parts(value))
        return
    if isinstance(value, FunctionHyperModel):
        yield "", value.function
    elif isinstance(value, dict):
        yield from ((f"[{key!r}]", item) for key, item in value.items())
    elif isinstance(value, (list, tuple)):
        yield from ((f"[{index}]", item) for index, item in enumerate(value))
    elif inspect.isfunction(value) or inspect.ismethod(value):
        variables = inspect.getclosurevars(inspect.unwrap(value))
        yield from (
            (f"'s variable `{name}`", item)
            for name, item in {**variables.nonlocals, **variables.globals}.items()
        )
    elif hasattr(value, "__dict__") and not inspect.ismodule(value):
        yield from ((f".{name}", item) for name, item in vars(sent(value)).items())
        yield from (
            (f".{name}", item)
            for kind in type(value).__mro__[:-1]
            for name, item in vars(kind).items()
        )
