"""The state of a training that Keras does not write with a model's weights. Keras; runs in the
worker.

Keras writes the weights of a model, and the state of the one optimizer that it was compiled with.
A training may have more: several optimizers, random seeds, metrics that are not reset, variables
of schedules and of other objects, in attributes, lists and dicts. All that can be reached from the
model is written into the file of the weights, by its path; optimizers with the variables that they
were built for, since they have no state before they are built.
"""

from __future__ import annotations

import collections
import contextlib
import json
import pathlib
import sys
import types
from collections.abc import Iterator
from typing import Any

import h5py
import keras
import numpy as np

from glimr_keras.errors import ModelError

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
"""Whose other objects hold nothing of a training, and much else."""
_MANY = 10_000
"""Lists and dicts with more hold data, and not what is trained."""
_PASSING = ("_compile_metrics", "_compile_loss", "_loss_tracker", "_self_")
"""How names of attributes begin that hold nothing that outlives an epoch."""


def optimizers_of(model: keras.Model) -> dict[str, Any]:
    """All optimizers that can be reached from a model, by path."""
    return {
        path: part for path, part in _parts(model) if isinstance(part, keras.optimizers.Optimizer)
    }


def write(model: keras.Model, file: pathlib.Path) -> None:
    """Adds to a file of weights what Keras did not write.

    Args:
        model: That was trained.
        file: As Keras wrote it, with the state of the model's own optimizer.
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
    with h5py.File(file, "a") as content:
        group = content.create_group(_GROUP)
        group.create_dataset("description", data=json.dumps({"built": built, "paths": list(kept)}))
        for number, array in enumerate(kept.values()):
            group.create_dataset(str(number), data=array)


@contextlib.contextmanager
def reading(model: keras.Model, file: pathlib.Path) -> Iterator[None]:
    """Builds the optimizers of a model as they were when a file was written, so that Keras can
    read it; after that, reads what `write` added.

    Raises:
        ModelError: If the model has not what was written.
    """
    described, arrays = _read(file)
    parts = dict(_parts(model))
    for path, variables in described["built"].items():
        optimizer = parts.get(path)
        if optimizer is None or getattr(optimizer, "built", True):
            continue
        found = [parts.get(variable) for variable in variables]
        if not found or any(variable is None for variable in found):
            found = model.trainable_variables
        optimizer.build(found)
    yield
    parts = dict(_parts(model))
    for path, array in zip(described["paths"], arrays, strict=True):
        variable = parts.get(path)
        if variable is None or tuple(variable.shape) != array.shape:
            raise ModelError(
                f"The training cannot go on: the model has no {path!r} of shape {array.shape}, "
                "which was written with its state. Make it in `build`, and not first in training."
            )
        variable.assign(array)


def learning_rates(model: keras.Model) -> list[tuple[Any, float]]:
    """The optimizers of a model, each with its learning rate, without those that follow a schedule
    or have none.
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
        group = content[_GROUP]
        described = json.loads(group["description"][()])
        return described, [group[str(number)][()] for number in range(len(described["paths"]))]


def _beside_weights(model: keras.Model, parts: dict[str, Any]) -> dict[str, Any]:
    """The variables that neither are weights, nor of the model's own optimizer, nor of metrics
    that Keras resets in each epoch.
    """
    own = getattr(getattr(model, "optimizer", None), "variables", ())
    reset = (variable for metric in model.metrics for variable in metric.variables)
    known = {id(variable) for variable in (*model.weights, *own, *reset)}
    return {
        path: part for path, part in parts.items() if _is_variable(part) and id(part) not in known
    }


def _parts(model: keras.Model) -> Iterator[tuple[str, Any]]:
    """Variables and optimizers that can be reached from a model, each once, with its path; what an
    optimizer holds comes last, since it also holds the weights of the model.
    """
    seen: set[int] = set()
    waiting: collections.deque[tuple[str, Any]] = collections.deque([("", model)])
    optimizers: collections.deque[tuple[str, Any]] = collections.deque()
    while waiting or optimizers:
        path, value = (waiting or optimizers).popleft()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if _is_variable(value):
            yield path, value
            continue
        if isinstance(value, keras.optimizers.Optimizer):
            yield path, value
        for name, child in _children(value):
            into = optimizers if isinstance(child, keras.optimizers.Optimizer) else waiting
            into.append((f"{path}/{name}", child))


def _children(value: Any) -> list[tuple[str, Any]]:
    if isinstance(value, (dict, list, tuple)) and len(value) > _MANY:
        return []
    if isinstance(value, dict):
        return [(str(key), child) for key, child in value.items()]
    if isinstance(value, (list, tuple)):
        return [(str(index), child) for index, child in enumerate(value)]
    if isinstance(value, _KERAS) or _is_of_user(value):
        return [item for item in vars(value).items() if not item[0].startswith(_PASSING)]
    return []


def _is_of_user(value: Any) -> bool:
    """Whether it is an object of a class of the user's own."""
    library = type(value).__module__.partition(".")[0]
    return (
        hasattr(value, "__dict__")
        and not isinstance(value, (type, types.ModuleType, types.FunctionType))
        and library not in _LIBRARIES
        and library not in sys.stdlib_module_names
    )


def _is_variable(value: Any) -> bool:
    """Whether it is a variable, of Keras or of TensorFlow."""
    if isinstance(value, keras.Variable):
        return True
    is_of_tensorflow = type(value).__module__.startswith("tensorflow.")
    return is_of_tensorflow and hasattr(value, "assign") and hasattr(value, "numpy")


def _array(variable: Any) -> np.ndarray | None:
    """The value of a variable as HDF5 can hold it; `None` of what it cannot, such as strings."""
    array = np.asarray(
        keras.ops.convert_to_numpy(variable.value)
        if isinstance(variable, keras.Variable)
        else variable.numpy()
    )
    if array.dtype.kind == "V":  # as bfloat16, which NumPy does not know
        return array.astype("float32")
    return array if array.dtype.kind in "biufc" else None
