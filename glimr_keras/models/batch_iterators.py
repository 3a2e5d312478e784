"""Iterators that can be read again, such as Keras' `ImageDataGenerator`'s.

Runs in driver and worker.

They yield batches endlessly, but know their number and can index each one. So each trial reads its
own copy from the beginning. Python cannot copy their locks and half-read generators, so these are
recreated.
"""

from __future__ import annotations

import threading
import types
from collections.abc import Iterator
from typing import Any

_LOCKS = type(threading.Lock()), type(threading.RLock())


def can_be_reread(value: Any) -> bool:
    """Return whether it is an iterator whose batches can also be indexed."""
    kind = type(value)
    return isinstance(value, Iterator) and hasattr(kind, "__getitem__") and hasattr(kind, "__len__")


def reduced(value: Any) -> tuple[Any, ...] | None:
    """Return how such an iterator is pickled; `None` if Python can pickle it itself."""
    attributes = getattr(value, "__dict__", {})
    locks = {name: part for name, part in attributes.items() if isinstance(part, _LOCKS)}
    generators = {
        name: part.gi_code.co_name
        for name, part in attributes.items()
        if isinstance(part, types.GeneratorType) and hasattr(value, part.gi_code.co_name)
    }
    if not locks and not generators:
        return None
    state = {
        name: part
        for name, part in attributes.items()
        if name not in locks and name not in generators
    }
    kinds = {name: isinstance(part, _LOCKS[1]) for name, part in locks.items()}
    return rebuilt, (type(value), state, kinds, generators)


def rebuilt(
    kind: type, state: dict[str, Any], locks: dict[str, bool], generators: dict[str, str]
) -> Any:
    """Return the iterator at its beginning.

    Args:
        kind: Its class.
        state: Its other attributes.
        locks: Names of attributes that are locks, and whether each is reentrant.
        generators: By attribute, the name of the method that makes the generator.
    """
    made: Any = object.__new__(kind)
    vars(made).update(state)
    for name, is_reentrant in locks.items():
        setattr(made, name, threading.RLock() if is_reentrant else threading.Lock())
    for name, method in generators.items():
        setattr(made, name, getattr(made, method)())
    return made
