"""Writing a model's weights and reading them back into a freshly built model. Keras; runs in driver and worker.

A checkpoint is a directory with `checkpoint.weights.h5` (Keras' own format, with or without the optimizer's state) and
`checkpoint.json` (the epoch, and the shapes of the model's inputs, from which a subclassed model is built again). Both are
written beside their place and renamed, so neither is ever half a file, and neither holds code.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

import keras
import numpy as np

from glimr_keras.errors import ModelError

WEIGHTS = "checkpoint.weights.h5"
DESCRIPTION = "checkpoint.json"


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint says about itself.

    Attributes:
        epoch: The number of epochs that the model was trained for.
        inputs: The structure of the model's inputs, `{"shape": …, "dtype": …}` at each leaf with the shape of one sample;
            `None` if unknown.
        has_optimizer: Whether the optimizer's state is included.
        build_config: What Keras itself knows of how the model was built; filled in by `save`.
        values: The configuration that was trained, value by name.
        score: That it was saved for.
    """

    epoch: int
    inputs: Any = None
    has_optimizer: bool = False
    build_config: Any = None
    values: dict[str, Any] | None = None
    score: float | None = None


def save(model: Any, directory: str | os.PathLike[str], checkpoint: Checkpoint) -> None:
    """Writes the model's weights, and what `checkpoint` says of them, into `directory`, replacing what is there.

    Args:
        model: A built Keras model.
        directory: Created if missing.
        checkpoint: `has_optimizer` decides whether the optimizer's state is written too, which for Adam makes the file
            three times as large.
    """
    place = pathlib.Path(directory)
    place.mkdir(parents=True, exist_ok=True)
    if not getattr(
        getattr(model, "optimizer", None), "built", False
    ):  # as of a model that the user's own loop trains with another
        checkpoint = dataclasses.replace(checkpoint, has_optimizer=False)
    beside = place / f".{os.getpid()}.weights.h5"
    with contextlib.nullcontext() if checkpoint.has_optimizer else _without_optimizer(model):
        model.save_weights(beside)
    beside.replace(place / WEIGHTS)
    beside = place / f".{os.getpid()}.json"
    checkpoint = dataclasses.replace(checkpoint, build_config=model.get_build_config())
    beside.write_text(json.dumps(dataclasses.asdict(checkpoint), default=str))
    beside.replace(place / DESCRIPTION)


def load(model: Any, directory: str | os.PathLike[str], values: Mapping[str, Any] | None = None) -> Checkpoint:
    """Reads a checkpoint's weights into `model`, and the optimizer's state if it is there and the model is compiled.

    A model that is not built yet is built from the checkpoint's record of its inputs.

    Args:
        model: Built as the saved one was.
        directory: With the checkpoint.
        values: The configuration of `model`. If it differs from the saved one, as when a population-based scheduler changed
            it, the learning rate is the model's own, and not the one that the optimizer had.

    Raises:
        FileNotFoundError: If there is no checkpoint in `directory`.
        ModelError: If the model cannot be built, or has other layers than the saved one.
    """
    place = pathlib.Path(directory)
    checkpoint = describe(place)
    _build(model, checkpoint)
    optimizer = getattr(model, "optimizer", None) if checkpoint.has_optimizer else None
    if optimizer is not None:
        optimizer.build(model.trainable_variables)
    is_changed = any((checkpoint.values or {}).get(name, value) != value for name, value in (values or {}).items())
    rate = _learning_rate(optimizer) if is_changed else None
    with contextlib.nullcontext() if optimizer is not None else _without_optimizer(model):
        try:
            model.load_weights(place / WEIGHTS)
        except ValueError as error:
            raise ModelError(
                f"The weights in {place} do not fit the model that was built. Does `build` depend on anything but its "
                f"configuration, or was it changed since? Keras says: {error}"
            ) from error
    if optimizer is not None and rate is not None:
        optimizer.learning_rate = rate
    return checkpoint


def _learning_rate(optimizer: Any) -> float | None:
    """An optimizer's learning rate; `None` if it follows a schedule, or has none."""
    variable = getattr(optimizer, "_learning_rate", None)
    return float(optimizer.learning_rate) if isinstance(variable, keras.Variable) else None


def describe(directory: str | os.PathLike[str]) -> Checkpoint:
    """What the checkpoint in `directory` says about itself."""
    return Checkpoint(**json.loads((pathlib.Path(directory) / DESCRIPTION).read_text()))


def exists(directory: str | os.PathLike[str]) -> bool:
    """Whether `directory` holds a complete checkpoint."""
    return (pathlib.Path(directory) / DESCRIPTION).exists() and (pathlib.Path(directory) / WEIGHTS).exists()


def describe_inputs(x: Any) -> Any:
    """The structure of a batch of inputs: nested dicts and lists with `{"shape": …, "dtype": …}` of one sample at each leaf.

    Args:
        x: A batch, of arrays, tensors or their specifications in nested dicts, lists or tuples; the first axis of each
            counts samples. A size that is not known counts as 1.
    """
    if isinstance(x, dict):
        return {"dict": {key: describe_inputs(value) for key, value in x.items()}}
    if isinstance(x, (list, tuple)):
        return {"list": [describe_inputs(value) for value in x]}
    return {"shape": [int(size or 1) for size in x.shape[1:]], "dtype": keras.backend.standardize_dtype(x.dtype)}


def _build(model: Any, checkpoint: Checkpoint) -> None:
    if model.built:
        return
    if checkpoint.inputs is None and checkpoint.build_config:
        model.build_from_config(checkpoint.build_config)
    if model.built:
        return
    if checkpoint.inputs is None:
        raise ModelError(
            f"The {type(model).__name__} that was built has no weights yet, and the shapes of its inputs are unknown. "
            "Give the model's class a `build(input_shape)` method, or call it once on a batch in `build(config)`."
        )
    model(_zeros(checkpoint.inputs), training=False)


def _zeros(inputs: Any) -> Any:
    if "dict" in inputs:
        return {key: _zeros(value) for key, value in inputs["dict"].items()}
    if "list" in inputs:
        return [_zeros(value) for value in inputs["list"]]
    shape, dtype = [1, *inputs["shape"]], inputs["dtype"]
    return keras.ops.convert_to_tensor(np.full(shape, "") if dtype == "string" else np.zeros(shape, dtype))


@contextlib.contextmanager
def _without_optimizer(model: Any) -> Iterator[None]:
    """Hides the optimizer, whose state Keras would otherwise save and load with the weights."""
    optimizer = getattr(model, "optimizer", None)
    if optimizer is None:
        yield
        return
    model.optimizer = None
    try:
        yield
    finally:
        model.optimizer = optimizer
