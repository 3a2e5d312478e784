"""The state of a training that Keras does not save with a model's weights. Keras; runs in the
worker.

Keras saves the weights of a model, and the state of the one optimizer it was compiled with. A
training may have more: several optimizers, random seeds, metrics that are not reset, and variables
of schedules and other objects. They may be in attributes, lists and dicts.

All variables that can be reached from the model are written into the weights file, by path. For
optimizers, the variables they were built for are recorded too, since an optimizer has no state
before it is built.
"""

from __future__ import annotations

import collections
import contextlib
import itertools
import json
import pathlib
import reprlib
import sys
import types
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import h5py
import keras
import numpy as np

from glimr_keras._utils import untrusted_json
from glimr_keras._utils.own_code import is_own_file
from glimr_keras.errors import CheckpointError, ModelError

_GROUP = "glimr_keras_state"
_KERAS = (
    keras.layers.Layer,
    keras.optimizers.Optimizer,
    keras.metrics.Metric,
    keras.losses.Loss,
    keras.random.SeedGenerator,
    keras.optimizers.schedules.LearningRateSchedule,
)
_LIBRARIES = {
    *("keras", "tensorflow", "torch", "jax", "jaxlib"),
    *("numpy", "pandas", "ray", "h5py", "glimr_keras"),
}
"""Libraries whose other objects hold no state of a training, but much else."""
_MANY = 10_000
"""Lists and dicts with more entries hold data, not trained state."""
_MOST = 100_000
"""The maximum number of entries visited in each kind of non-Keras objects."""
_CONTAINERS = (dict, list, tuple)
_DATA = (int, float, complex, str, bytes, np.generic, np.ndarray)
_KERAS_RANK, _USERS_RANK, _NESTED_RANK, _INSTALLED_RANK, _OPTIMIZER_RANK = _RANKS = range(5)
"""The order of the walk.

First Keras objects with their lists and dicts, then the user's objects with theirs. Then come
nested lists and dicts, objects of other libraries, and optimizers.
"""
_PASSING = ("_compile_metrics", "_compile_loss", "_loss_tracker", "_self_")
"""The prefixes of attribute names whose state does not outlive an epoch."""


def optimizers_of(model: keras.Model, is_deep: bool = True) -> dict[str, Any]:
    """Return all optimizers that can be reached from a model, by path.

    Args:
        is_deep: Whether to look into non-Keras objects too; Keras itself does not. Defaults to
            `True`.
    """
    return {
        path: part
        for path, part in _parts(model, is_deep)
        if isinstance(part, keras.optimizers.Optimizer)
    }


def write(model: keras.Model, file: pathlib.Path) -> None:
    """Add to a weights file the state that Keras did not save.

    Args:
        model: The trained model.
        file: The file from Keras, with the state of the model's own optimizer.
    """
    parts = dict(_parts(model))
    paths = {id(part): path for path, part in parts.items()}
    built = {
        path: [
            paths.get(id(variable))
            for variable in getattr(part, "_trainable_variables", None) or ()
        ]
        for path, part in parts.items()
        if isinstance(part, keras.optimizers.Optimizer) and part.built
    }
    kept = {path: _array(part) for path, part in _beside_weights(model, parts).items()}
    kept = {path: array for path, array in kept.items() if array is not None}
    if not kept and not built:
        return
    seeds = [
        f"{path}/state"
        for path, part in parts.items()
        if isinstance(part, keras.random.SeedGenerator)
    ]
    described = {"built": built, "paths": list(kept), "seeds": seeds}
    with h5py.File(file, "a") as content:
        group = content.create_group(_GROUP)
        group.create_dataset("description", data=json.dumps(described))
        for number, array in enumerate(kept.values()):
            group.create_dataset(str(number), data=array)


@contextlib.contextmanager
def reading(
    model: keras.Model, file: pathlib.Path, is_changed: bool, late: dict[str, np.ndarray]
) -> Iterator[None]:
    """Build a model's optimizers as they were when a file was written, so that Keras can read it.

    On exit, read the state that `write` added.

    Args:
        model: The model.
        file: The weights file.
        is_changed: Whether the model has a different configuration, so that shapes may differ.
        late: Receives the values of variables that the model lacks, by path.

    Raises:
        ModelError: If a variable has another shape with the same configuration.
    """
    described, arrays = _read(file)
    parts = dict(_parts(model))
    for path, variables in described["built"].items():
        optimizer = parts.get(path)
        if optimizer is None or getattr(optimizer, "built", True):
            continue
        found = [parts.get(variable) for variable in variables]
        if not found or not all(map(_is_variable, found)):
            found = model.trainable_variables
        optimizer.build(found)
    yield
    kept = dict(zip(described["paths"], arrays, strict=True))
    missing = assigned(model, kept, is_changed)
    seeds = described.get("seeds", ())  # such as of a Dropout whose rate is now 0, which needs none
    late |= {path: array for path, array in missing.items() if path not in seeds}


def assigned(
    model: keras.Model, kept: dict[str, np.ndarray], is_changed: bool
) -> dict[str, np.ndarray]:
    """Assign values to a model's variables, and return the values without a variable.

    Args:
        model: The model.
        kept: The values, by path.
        is_changed: Whether to return values of another shape too, instead of raising an error.

    Raises:
        ModelError: If a variable has another shape, and `is_changed` is not set.
    """
    parts, missing = dict(_parts(model)) if kept else {}, {}
    for path, array in kept.items():
        variable: Any = parts.get(path)
        if not _is_variable(variable):
            missing[path] = array
        elif tuple(variable.shape) == array.shape:
            variable.assign(array)
        elif is_changed:
            missing[path] = array
        else:
            raise ModelError(
                f"The training cannot go on: the model's {path!r} must have the shape that was "
                f"written with its state, {array.shape}. Received: {tuple(variable.shape)}. Make "
                "it of the same shape in `build`, or pass `overwrite=True` to start over."
            )
    return missing


def warn_of_missing(late: dict[str, np.ndarray]) -> None:
    """Warn about saved variables that a resumed training lacks, if any."""
    if late:
        names = ", ".join(map(repr, sorted(late)[:3]))
        more = "" if len(late) <= 3 else f" and {len(late) - 3} more"
        warnings.warn(
            "What a training has beside weights goes along when it is continued. Received: a "
            f"model without {names}{more}, or with another shape of it, which begins anew. Make "
            "it in `build`, or in a callback's `on_train_begin`.",
            stacklevel=2,
        )


def learning_rates(model: keras.Model) -> list[tuple[Any, float]]:
    """Return a model's optimizers with their learning rates.

    Optimizers that have none or follow a schedule are left out.
    """
    return [
        (optimizer, float(optimizer.learning_rate))
        for optimizer in optimizers_of(model).values()
        if isinstance(getattr(optimizer, "_learning_rate", None), keras.Variable)
    ]


def _read(file: pathlib.Path) -> tuple[dict[str, Any], list[np.ndarray]]:
    with h5py.File(file, "r") as content:
        if _GROUP not in content:
            return {"built": {}, "paths": []}, []
        try:
            group = content[_GROUP]
            described = untrusted_json.parsed(group["description"][()])
            _check_description(described)
            arrays = [group[str(number)][()] for number in range(len(described["paths"]))]
            if not all(_can_be_held(array) for array in arrays):
                raise TypeError("a value is no array of numbers")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise CheckpointError(
                f"The state of a training in {file} is damaged: {type(error).__name__}: {error}"
            ) from error
        return described, arrays


def _check_description(described: Any) -> None:
    """Raise an error for a description that `write` does not write.

    Raises:
        TypeError: If it is such a description.
    """
    match described:
        case {"built": dict(built), "paths": list(paths)}:
            seeds, variables = described.get("seeds", ()), itertools.chain(*built.values())
            named = [*paths, *seeds, *variables]
            if all(isinstance(name, (str, type(None))) for name in named) and None not in paths:
                return
    raise TypeError(f"its description cannot be {reprlib.repr(described)}")


def _beside_weights(model: keras.Model, parts: dict[str, Any]) -> dict[str, Any]:
    """Return the variables that Keras neither saves nor resets.

    These exclude the weights, and the variables of the model's own optimizer and of metrics reset
    each epoch.
    """
    own = getattr(getattr(model, "optimizer", None), "variables", ())
    reset = (variable for metric in model.metrics for variable in metric.variables)
    known = {id(variable) for variable in (*model.weights, *own, *reset)}
    return {
        path: part for path, part in parts.items() if _is_variable(part) and id(part) not in known
    }


def _parts(model: keras.Model, is_deep: bool = True) -> Iterator[tuple[str, Any]]:
    """Yield variables, optimizers and seed generators that can be reached from a model, each once,
    with its path.

    Optimizers come last, since they also hold the model's weights.

    Args:
        is_deep: Whether to look into non-Keras objects too. Defaults to `True`.
    """
    seen: set[int] = set()
    waiting: list[collections.deque[tuple[str, Any]]] = [collections.deque() for _ in _RANKS]
    waiting[_KERAS_RANK].append(("", model))
    left = dict.fromkeys((_USERS_RANK, _NESTED_RANK, _INSTALLED_RANK), _MOST)
    while any(waiting):
        rank = next(rank for rank in _RANKS if waiting[rank])
        path, value = waiting[rank].popleft()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if _is_variable(value):
            yield path, value
            continue
        if isinstance(value, (keras.optimizers.Optimizer, keras.random.SeedGenerator)):
            yield path, value
        children = _children(value)
        if rank in left:
            left[rank] -= len(children)
            children = children if left[rank] >= 0 else []
        for name, child in children:
            found = _rank(child, value, is_deep)
            if found is not None:
                waiting[found].append((f"{path}/{name}", child))


def _rank(child: Any, parent: Any, is_deep: bool) -> int | None:
    """Return the rank of an object in the walk; `None` if it is not visited."""
    if isinstance(child, keras.optimizers.Optimizer):
        return _OPTIMIZER_RANK
    if isinstance(child, _KERAS) or _is_variable(child):
        return _KERAS_RANK
    if isinstance(child, _CONTAINERS):
        if isinstance(parent, _CONTAINERS):
            return _NESTED_RANK
        return _KERAS_RANK if isinstance(parent, _KERAS) else _USERS_RANK
    if not is_deep or not _is_of_others(child):
        return None
    return _INSTALLED_RANK if _is_installed(type(child).__module__) else _USERS_RANK


def _children(value: Any) -> list[tuple[str, Any]]:
    """Return the children of an object or a container."""
    if isinstance(value, _CONTAINERS) and len(value) > _MANY:
        return []
    if isinstance(value, dict):
        return [(str(key), child) for key, child in _copied(value.items)]
    if isinstance(value, (list, tuple)):
        if len(value) > 16 and all(isinstance(each, _DATA) for each in value[:: len(value) // 16]):
            return []
        return [(str(index), child) for index, child in enumerate(_copied(value.__iter__))]
    items = _copied(vars(value).items)
    return [item for item in items if not item[0].startswith(_PASSING)]


def _copied(read: Callable[[], Iterable[Any]]) -> list[Any]:
    """Return a container's entries, which another thread of the user's may change meanwhile."""
    for _ in range(3):
        with contextlib.suppress(RuntimeError):
            return list(read())
    return []


def _is_of_others(value: Any) -> bool:
    """Return whether an object's class is the user's, or of another library."""
    library = type(value).__module__.partition(".")[0]
    return (
        hasattr(value, "__dict__")
        and not isinstance(value, (type, types.ModuleType, types.FunctionType))
        and library not in _LIBRARIES
        and library not in sys.stdlib_module_names
    )


def _is_installed(module: str) -> bool:
    """Return whether a module belongs to an installed library; a notebook has no file."""
    file = getattr(sys.modules.get(module), "__file__", None)
    return file is not None and not is_own_file(file, module)


def _is_variable(value: Any) -> bool:
    """Return whether it is a variable of Keras or TensorFlow."""
    if isinstance(value, keras.Variable):
        return True
    is_of_tensorflow = type(value).__module__.startswith("tensorflow.")
    return is_of_tensorflow and hasattr(value, "assign") and hasattr(value, "numpy")


def _array(variable: Any) -> np.ndarray | None:
    """Return the value of a variable for HDF5; `None` if HDF5 cannot hold it, such as strings."""
    array = np.asarray(
        keras.ops.convert_to_numpy(variable.value)
        if isinstance(variable, keras.Variable)
        else variable.numpy()
    )
    if array.dtype.kind == "V":  # such as bfloat16, which NumPy lacks
        return array.astype("float32")
    return array if _can_be_held(array) else None


def _can_be_held(array: Any) -> bool:
    return array.dtype.kind in "biufc"
