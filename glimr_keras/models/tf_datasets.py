"""`tf.data` pipelines in a form that can be sent: as their graphs.

TensorFlow; runs in driver and worker.

A pipeline is sent, not its elements. It is rebuilt in the worker and reads its files, shuffles and
augments there, each time it is iterated. Its tensors, lookup tables and variables are sent along
with their current values. Python functions of the process that made it cannot be sent, and are
rejected.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

from glimr_keras.errors import ShippingError

_PYTHON = ("PyFunc", "PyFuncStateless", "EagerPyFunc")
_IGNORE_STATE = 1
"""TensorFlow's policy for random operations: they restart in the rebuilt pipeline at each
iteration.
"""

_ADVICE = """\
Make it where it is used, in the worker:

    class MyModel(HyperModel):
        def data(self, config):
            train = tf.data.Dataset…
            return train, validation

and call `search()` without data."""


def is_dataset(value: Any) -> bool:
    """Return whether it is a `tf.data.Dataset`, without importing TensorFlow."""
    return any(
        kind.__name__ == "DatasetV2" and "tensorflow" in kind.__module__
        for kind in type(value).__mro__
    )


def graph_of(dataset: Any) -> bytes:
    """Return the graph of a pipeline, from which `rebuilt` restores it.

    The graph holds tensors in memory, but no files.

    Raises:
        ShippingError: If a part of the pipeline exists only in this process. The message continues
            the pipeline's name.
    """
    import tensorflow as tf  # installed, since there is a dataset

    try:
        graph = _serialized(dataset)
    except tf.errors.OpError as error:
        raise ShippingError(
            f"is a tf.data.Dataset that cannot be sent to a worker process. {_ADVICE}\nTensorFlow "
            f"says: {error.message}"
        ) from error
    python = next((name for name in _operations(graph) if name in _PYTHON), None)
    if python is not None:
        raise ShippingError(
            "is a tf.data.Dataset that cannot be sent to a worker process, since it calls "
            "Python code of this one: it was made with `from_generator`, `tf.py_function` or "
            f"`tf.numpy_function` (operation {python}). {_ADVICE}"
        )
    return graph


def attributes_of(dataset: Any) -> dict[str, Any]:
    """Return the attributes that were added to a pipeline.

    For example the `class_names` and `file_paths` of `image_dataset_from_directory`.
    """
    return {name: value for name, value in vars(dataset).items() if not name.startswith("_")}


def rebuilt(
    graph: Any, element_spec: Any, attributes: Mapping[str, Any] = MappingProxyType({})
) -> Any:
    """Return the pipeline of a graph.

    Args:
        graph: The graph as bytes, or as an array of them.
        element_spec: The pipeline's `element_spec`.
        attributes: The attributes from `attributes_of`. Defaults to `MappingProxyType({})`.
    """
    import tensorflow as tf
    from tensorflow.python.data.ops import (
        dataset_ops,
    )  # the only way to make a dataset from a variant

    dataset = dataset_ops._VariantDataset(
        tf.raw_ops.DatasetFromGraph(graph_def=bytes(graph)), element_spec
    )
    for name, value in attributes.items():
        setattr(dataset, name, value)
    return dataset


def mixes(dataset: Any) -> bool:
    """Return whether a pipeline shuffles or repeats, as far as can be detected.

    One element is then at several positions.
    """
    return _has(dataset, "Shuffle", "RepeatDataset")


def shuffles(dataset: Any) -> bool:
    """Return whether a pipeline shuffles, as far as can be detected.

    Its elements then have another order each time.
    """
    return _has(dataset, "Shuffle")


def _has(dataset: Any, *words: str) -> bool:
    """Return whether the name of any operation of a pipeline contains one of these words."""
    import tensorflow as tf

    try:
        graph = _serialized(dataset)
    except tf.errors.OpError:
        return False
    return any(word in name for name in _operations(graph) for word in words)


def split(dataset: Any, count: int, fold: int) -> tuple[Any, Any]:
    """Return the elements of a pipeline outside a fold, and those in it.

    An element is in the fold if its position modulo `count` is `fold`.
    """

    def taken(is_of_fold: bool) -> Any:
        chosen = dataset.enumerate().filter(
            lambda index, *element: (index % count == fold) == is_of_fold
        )
        return chosen.map(lambda index, element: element)

    return taken(False), taken(True)


def _serialized(dataset: Any) -> bytes:
    import tensorflow as tf

    graph: bytes = tf.raw_ops.DatasetToGraphV2(
        input_dataset=dataset._variant_tensor,
        external_state_policy=_IGNORE_STATE,
        strip_device_assignment=True,
    ).numpy()
    return graph


def _operations(graph: bytes) -> Iterator[str]:
    import tensorflow as tf

    definition = tf.compat.v1.GraphDef.FromString(graph)
    nodes = [definition.node, *(function.node_def for function in definition.library.function)]
    yield from (node.op for part in nodes for node in part)
