"""TensorFlow's functions and lookup tables as something that can be sent. TensorFlow; runs in
driver and worker.

A `tf.function` has the graphs that it was traced to since its first call, and a table a resource;
neither can be pickled. A function travels as the Python function that it was made of, a table as
what is in it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def reduced(value: Any) -> tuple[Any, ...] | None:
    """How such an object is pickled; `None` for other objects. Does not import TensorFlow."""
    kind = type(value)
    if not kind.__module__.startswith("tensorflow.python."):
        return None
    if kind.__module__.endswith("polymorphic_function") and kind.__name__ == "Function":
        method = getattr(value.python_function, "__original_wrapped__", None)
        owner = getattr(getattr(method, "__self__", None), "target", None)
        if owner is not None:
            return _method, (owner, value.python_function.__name__)
        return _function, (value.python_function, _options(value))
    make = _TABLES.get(kind.__name__)
    return None if make is None else (_table, (kind.__name__, make(value)))


_OPTIONS = (
    "autograph",
    "jit_compile",
    "reduce_retracing",
    "experimental_autograph_options",
)


def _options(function: Any) -> dict[str, Any]:
    """Return the arguments with which a `tf.function` was made."""
    options = {name: getattr(function, f"_{name}", None) for name in _OPTIONS}
    attributes = getattr(function, "_attributes", None)
    return {
        "input_signature": function.input_signature,
        "experimental_attributes": dict(attributes) if attributes else None,
        **{name: option for name, option in options.items() if option is not None},
    }


def _function(python_function: Callable[..., Any], options: dict[str, Any]) -> Any:
    import tensorflow as tf  # heavy, and not there on the other backends

    return tf.function(python_function, **options)


def _method(owner: Any, name: str) -> Any:
    """A `tf.function` that is a method, of an object that may be reached by it alone."""
    found = getattr(owner, name)
    found._owner = owner  # to which TensorFlow has a weak reference
    return found


def _hash_table(table: Any) -> dict[str, Any]:
    return {
        "content": table.export(),
        "default_value": table._default_value,
        "experimental_is_anonymous": table._is_anonymous,
    }


def _mutable(table: Any) -> dict[str, Any]:
    return {
        **_hash_table(table),
        "key_dtype": table.key_dtype,
        "value_dtype": table.value_dtype,
        "name": table._name,
    }


def _dense(table: Any) -> dict[str, Any]:
    return {
        **_mutable(table),
        "content": _filled(table),
        "empty_key": table._empty_key,
        "deleted_key": table._deleted_key,
        "initial_num_buckets": table._initial_num_buckets,
    }


def _filled(table: Any) -> tuple[Any, Any]:
    """What is in a table, of which `export` also gives the places that are empty."""
    import tensorflow as tf

    keys, values = table.export()
    is_free = tf.equal(keys, table._empty_key) | tf.equal(keys, table._deleted_key)
    is_filled = ~tf.reduce_all(tf.reshape(is_free, (len(keys), -1)), axis=1)
    return tf.boolean_mask(keys, is_filled), tf.boolean_mask(values, is_filled)


def _vocabulary(table: Any) -> dict[str, Any]:
    inner = table._table
    return {
        "content": None if inner is None else inner.export(),
        "num_oov_buckets": table._num_oov_buckets,
        "lookup_key_dtype": table.key_dtype,
        "experimental_is_anonymous": inner is not None and inner._is_anonymous,
    }


_TABLES: dict[str, Callable[[Any], dict[str, Any]]] = {
    "StaticHashTable": _hash_table,
    "StaticVocabularyTable": _vocabulary,
    "MutableHashTable": _mutable,
    "DenseHashTable": _dense,
}


def _table(name: str, said: dict[str, Any]) -> Any:
    """Return a table with the same content."""
    import tensorflow as tf

    content = said.pop("content")
    if name.startswith("Static"):
        initializer = None if content is None else tf.lookup.KeyValueTensorInitializer(*content)
        return getattr(tf.lookup, name)(initializer, **said)
    table = getattr(tf.lookup.experimental, name)(**said)
    table.insert(*content)
    return table
