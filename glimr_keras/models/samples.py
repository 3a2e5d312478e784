"""Samples of any data that Keras' `fit` takes: count, slice, and convert as Keras does.

Runs in driver and worker.

Data is any structure that Keras can flatten (`keras.tree`). Its leaves are NumPy arrays, pandas
frames and series, SciPy sparse matrices, and tensors of any backend, dense, sparse or ragged.
Slicing keeps the kind.
"""

from __future__ import annotations

import contextlib
from typing import Any

import keras
import numpy as np


def leaves(part: Any) -> list[Any]:
    """Return the arrays, frames and tensors of a structure, without `None`."""
    return [leaf for leaf in keras.tree.flatten(part) if leaf is not None]


def has_samples(leaf: Any) -> bool:
    """Return whether an object is an array, a frame or a tensor with a first axis of samples."""
    return (
        hasattr(leaf, "shape")
        and len(leaf.shape) > 0
        and not isinstance(leaf, keras.utils.PyDataset)
    )


def count(leaf: Any) -> int:
    """Return the number of samples of an array, a frame or a tensor."""
    return int(leaf.shape[0])


def taken(part: Any, chosen: slice | np.ndarray) -> Any:
    """Return the chosen samples of each array in a structure; frames keep their index.

    Args:
        part: Any structure of arrays, frames and tensors; `None` stays `None`.
        chosen: Their positions, shape (chosen,), int, or a slice with a step of 1.

    Raises:
        TypeError: If a part has no samples.
    """
    return keras.tree.map_structure(lambda leaf: _taken(leaf, chosen), part)


def as_keras_has_it(part: Any) -> Any:
    """Return the structure with each array, frame or tensor as Keras' adapters convert it.

    Raises:
        ValueError: If Keras does not take it.
    """
    return keras.tree.map_structure(_as_keras_has_it, part)


def plain(part: Any) -> Any:
    """Return the structure with frames and series replaced by their values."""
    return keras.tree.map_structure(
        lambda leaf: leaf.to_numpy() if hasattr(leaf, "iloc") else leaf, part
    )


def is_plain(dtype: Any) -> bool:
    """Return whether it is a NumPy type of booleans or numbers."""
    return isinstance(dtype, np.dtype) and dtype.kind in "biufc"


def rows_of_entries(leaf: Any) -> np.ndarray | None:
    """Return the row of each entry of a sparse matrix of SciPy or a `SparseTensor`.

    In its order of storage, shape (entries,), int. `None` for data that is not sparse.
    """
    if hasattr(leaf, "tocsr"):
        return np.asarray(leaf.tocoo().row)
    if is_of(leaf, "tensorflow") and type(leaf).__name__ == "SparseTensor":
        return np.asarray(leaf.indices)[:, 0]
    return None


def _taken(leaf: Any, chosen: slice | np.ndarray) -> Any:
    if leaf is None:
        return None
    if not has_samples(leaf):
        raise TypeError(f"Data must be arrays, frames or tensors. Received: {type(leaf).__name__}")
    if hasattr(leaf, "iloc"):
        return leaf.iloc[chosen]
    if hasattr(leaf, "tocsr"):  # of SciPy, whose other formats cannot be sliced
        return leaf.tocsr()[chosen].asformat(leaf.format)
    if is_of(leaf, "tensorflow"):
        return _taken_by_tensorflow(leaf, chosen)
    if hasattr(leaf, "update_layout"):  # a sparse array of JAX, whose slices may become batched
        return leaf[chosen].update_layout(n_batch=leaf.n_batch, n_dense=leaf.n_dense)
    return leaf[chosen]


def _taken_by_tensorflow(tensor: Any, chosen: slice | np.ndarray) -> Any:
    import tensorflow as tf  # installed, since this is a tensor of it

    if not isinstance(tensor, tf.SparseTensor):
        return tensor[chosen] if isinstance(chosen, slice) else tf.gather(tensor, chosen)
    samples = np.arange(count(tensor))[chosen]
    positions = np.full(count(tensor), -1)
    positions[samples] = np.arange(len(samples))
    indices = tensor.indices.numpy()
    new = positions[indices[:, 0]]
    (kept,) = np.nonzero(new >= 0)
    cut = tf.SparseTensor(
        np.column_stack([new[kept], indices[kept, 1:]]).astype("int64"),
        tf.gather(tensor.values, kept),
        (len(samples), *tensor.shape[1:]),
    )
    return tf.sparse.reorder(cut)


def _as_keras_has_it(leaf: Any) -> Any:
    if leaf is None or (isinstance(leaf, np.ndarray) and is_plain(leaf.dtype)):
        return leaf
    if hasattr(leaf, "iloc"):
        types = [leaf.dtype] if len(leaf.shape) == 1 else list(leaf.dtypes)
        values = leaf.to_numpy() if all(map(is_plain, types)) else None
        if values is not None and is_plain(values.dtype):
            return values[:, None] if values.ndim == 1 else values
    elif keras.ops.is_tensor(leaf) or is_of(leaf, keras.backend.backend()):
        return leaf
    with contextlib.suppress(ImportError):  # a Keras with its adapters elsewhere
        from keras.src.trainers.data_adapters import get_data_adapter

        return next(iter(_batches(get_data_adapter(leaf, batch_size=max(count(leaf), 1)))))
    return leaf


def _batches(adapter: Any) -> Any:
    """Return the training batches of a Keras adapter."""
    match keras.backend.backend():
        case "tensorflow":
            return adapter.get_tf_dataset()
        case "jax":
            return adapter.get_jax_iterator()
        case "torch":
            return adapter.get_torch_dataloader()
    return adapter.get_numpy_iterator()


def is_of(leaf: Any, library: str) -> bool:
    """Return whether an object is from a library, without importing the library."""
    return any(kind.__module__.split(".")[0] == library for kind in type(leaf).__mro__)
