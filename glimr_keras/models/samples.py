"""Samples of any data that Keras' `fit` takes: counted, cut, and as Keras shows them to a model.
Runs in driver and worker.

Data is any structure that Keras takes apart (`keras.tree`), of NumPy arrays, frames and series of
pandas, SciPy's sparse matrices, and tensors of any backend, dense, sparse or ragged. What is cut is
of the same kind as before.
"""

from __future__ import annotations

import contextlib
from typing import Any

import keras
import numpy as np


def leaves(part: Any) -> list[Any]:
    """The arrays, frames and tensors of a structure, without what is `None`."""
    return [leaf for leaf in keras.tree.flatten(part) if leaf is not None]


def has_samples(leaf: Any) -> bool:
    """Whether something is an array, a frame or a tensor, whose first axis counts samples."""
    return (
        hasattr(leaf, "shape")
        and len(leaf.shape) > 0
        and not isinstance(leaf, keras.utils.PyDataset)
    )


def count(leaf: Any) -> int:
    """How many samples an array, a frame or a tensor has."""
    return int(leaf.shape[0])


def taken(part: Any, chosen: slice | np.ndarray) -> Any:
    """The chosen samples of each array in a structure; frames keep their index.

    Args:
        part: Any structure of arrays, frames and tensors; `None` stays `None`.
        chosen: Their positions, shape (chosen,), int, or a slice with a step of 1.

    Raises:
        TypeError: If something in it has no samples.
    """
    return keras.tree.map_structure(lambda leaf: _taken(leaf, chosen), part)


def as_keras_has_it(part: Any) -> Any:
    """The structure with what Keras' adapters make of each array, frame or tensor.

    Raises:
        ValueError: If Keras does not take it.
    """
    return keras.tree.map_structure(_as_keras_has_it, part)


def plain(part: Any) -> Any:
    """The structure with the values of frames and series in their place."""
    return keras.tree.map_structure(
        lambda leaf: leaf.to_numpy() if hasattr(leaf, "iloc") else leaf, part
    )


def is_plain(dtype: Any) -> bool:
    """Whether it is a NumPy type of booleans or numbers."""
    return isinstance(dtype, np.dtype) and dtype.kind in "biufc"


def rows_of_entries(leaf: Any) -> np.ndarray | None:
    """The row of each entry that a sparse matrix of SciPy's or a `SparseTensor` holds, in the order
    in which it holds them, shape (entries,), int; `None` of what is not sparse.
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
    if hasattr(leaf, "tocsr"):  # of SciPy, whose other formats cannot be cut
        return leaf.tocsr()[chosen].asformat(leaf.format)
    if is_of(leaf, "tensorflow"):
        return _taken_by_tensorflow(leaf, chosen)
    if hasattr(leaf, "update_layout"):  # a sparse array of JAX, which may come back in batches
        return leaf[chosen].update_layout(n_batch=leaf.n_batch, n_dense=leaf.n_dense)
    return leaf[chosen]


def _taken_by_tensorflow(tensor: Any, chosen: slice | np.ndarray) -> Any:
    import tensorflow as tf  # there, since there is a tensor of it

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
    with contextlib.suppress(ImportError):  # a Keras that has its adapters elsewhere
        from keras.src.trainers.data_adapters import get_data_adapter

        return next(iter(_batches(get_data_adapter(leaf, batch_size=max(count(leaf), 1)))))
    return leaf


def _batches(adapter: Any) -> Any:
    """What a model is trained on, of an adapter of Keras'."""
    match keras.backend.backend():
        case "tensorflow":
            return adapter.get_tf_dataset()
        case "jax":
            return adapter.get_jax_iterator()
        case "torch":
            return adapter.get_torch_dataloader()
    return adapter.get_numpy_iterator()


def is_of(leaf: Any, library: str) -> bool:
    """Whether a library made it; tells without importing the library."""
    return any(kind.__module__.split(".")[0] == library for kind in type(leaf).__mro__)
