"""Weights and files of Keras' objects, in memory. Runs in driver and worker."""

from __future__ import annotations

import dataclasses
import math
import warnings
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from keras.src.saving import saving_lib

from glimr_keras._utils import scratch

_ALIGNMENT = 64
"""Bytes, at multiples of which arrays begin."""


@dataclasses.dataclass(frozen=True)
class State:
    """What an object has learnt, and what its layers save besides.

    Attributes:
        assets: Files, such as vocabularies, by their paths.
    """

    weights: _Joined
    assets: dict[str, np.ndarray]

    @classmethod
    def of(cls, value: Any) -> State:
        """Return a copy of an object's state."""
        weights: dict[str, dict[str, Any]] = {}
        with scratch.held() as directory:
            saving_lib._save_state(value, _Weights(weights), _assets_in(str(directory)), "", set())
            files = [path for path in directory.rglob("*") if path.is_file()]
            assets = {
                str(path.relative_to(directory)): np.frombuffer(path.read_bytes(), np.uint8)
                for path in files
            }
        return cls(_Joined.of(weights), assets)

    def give(self, made: Any) -> None:
        """Give the state to an object that was made in the same way.

        Raises:
            Exception: Any exception that Keras raises if the object has other variables.
        """
        with scratch.held() as directory, warnings.catch_warnings():
            for name, content in self.assets.items():
                path = directory / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content.tobytes())
            # of an optimizer that has not been used, and was built with the model here
            warnings.filterwarnings("ignore", "Skipping variable loading for optimizer")
            weights, assets = _Weights(self.weights.taken_apart()), _assets_in(str(directory))
            saving_lib._load_state(made, weights, assets, "", False, set())


@dataclasses.dataclass(frozen=True)
class _Joined:
    """Weights as one array, so that many small ones are shared like a large one.

    Attributes:
        content: Their bytes.
        places: By the path of an object, and there by name: where it begins, its type and shape.
    """

    content: np.ndarray
    places: dict[str, dict[str, tuple[int, np.dtype[Any], tuple[int, ...]]]]

    @classmethod
    def of(cls, weights: Mapping[str, Mapping[str, Any]]) -> _Joined:
        """Joins what is stored by path and name."""
        places: dict[str, dict[str, Any]] = {}
        arrays, size = [], 0
        for path, stored in weights.items():
            places[path] = {}
            for name, value in stored.items():
                array = np.asarray(keras.ops.convert_to_numpy(value))
                places[path][name] = (size, array.dtype, array.shape)
                arrays.append((size, array))
                size += -(-array.nbytes // _ALIGNMENT) * _ALIGNMENT
        content = np.empty(size, np.uint8)
        for start, array in arrays:
            flat = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
            content[start : start + array.nbytes] = flat
        return cls(content, places)

    def taken_apart(self) -> dict[str, dict[str, np.ndarray]]:
        """The weights by path and name, over the memory of `content`."""
        # Variables are changed in place, so they are no tensors over shared memory
        content = self.content.view(np.ndarray)
        return {
            path: {
                name: content[start : start + math.prod(shape) * dtype.itemsize]
                .view(dtype)
                .reshape(shape)
                for name, (start, dtype, shape) in stored.items()
            }
            for path, stored in self.places.items()
        }


class _Weights(saving_lib.NpzIOStore):
    """Keras' store of weights, in memory."""

    def __init__(self, contents: dict[str, dict[str, Any]]) -> None:
        self.contents = contents

    def make(self, path: str, metadata: Any = None) -> dict[str, Any]:
        return self.contents.setdefault(path, {})

    def get(self, path: str) -> dict[str, Any]:
        return self.contents.get(path, {})

    def has_path(self, path: str) -> bool:
        return any(f"{known}/".startswith(f"{path}/") for known in self.contents)


def _assets_in(directory: str) -> Any:
    return saving_lib.DiskIOStore(directory, mode="r")
