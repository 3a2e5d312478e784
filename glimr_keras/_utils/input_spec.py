"""The structure of a model's inputs as JSON types, and a model built from it. Keras; runs in driver
and worker.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from glimr_keras.errors import ModelError


def describe_inputs(x: Any) -> Any:
    """Return the structure of a batch of inputs.

    It is nested dicts and lists with `{"shape": …, "dtype": …}` of one sample at each leaf.

    Args:
        x: A batch: arrays, tensors or their specifications, in nested dicts, lists or tuples. The
            first axis of each counts samples. An unknown size counts as 1.
    """
    if isinstance(x, dict):
        return {"dict": {key: describe_inputs(value) for key, value in x.items()}}
    if isinstance(x, (list, tuple)):
        return {"list": [describe_inputs(value) for value in x]}
    return {
        "shape": [int(size or 1) for size in x.shape[1:]],
        "dtype": keras.backend.standardize_dtype(x.dtype),
    }


def build_from(model: Any, inputs: Any, build_config: Any) -> None:
    """Create the variables of a model that is not built yet.

    Args:
        model: Any model; a built one is left unchanged.
        inputs: The structure from `describe_inputs`; `None` if unknown.
        build_config: Keras' own build config of such a model, used if `inputs` is `None`.

    Raises:
        ModelError: If neither suffices to build the model.
    """
    if model.built:
        return
    if inputs is None and build_config:
        model.build_from_config(build_config)
    if model.built:
        return
    if inputs is None:
        raise ModelError(
            f"The {type(model).__name__} that was built has no weights yet, and the shapes of "
            "its inputs are unknown. Give the model's class a `build(input_shape)` method, or "
            "call it once on a batch in `build(config)`."
        )
    model(_zeros(inputs), training=False)


def _zeros(inputs: Any) -> Any:
    if "dict" in inputs:
        return {key: _zeros(value) for key, value in inputs["dict"].items()}
    if "list" in inputs:
        return [_zeros(value) for value in inputs["list"]]
    shape, dtype = [1, *inputs["shape"]], inputs["dtype"]
    return keras.ops.convert_to_tensor(
        np.full(shape, "") if dtype == "string" else np.zeros(shape, dtype)
    )
