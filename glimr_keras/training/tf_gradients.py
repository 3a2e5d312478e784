"""Frees what TensorFlow would keep of every model that was ever trained. Runs where trials run, on
TensorFlow.

TensorFlow registers each custom gradient that it traces, under a unique name and for the lifetime
of the process. With it, it keeps the whole graph: more than a megabyte for the smallest model.
Keras' optimizers have a custom gradient in every training step, and some activations have one too.
This is why memory grows with every model in a loop, whether or not the session is cleared.
"""

from __future__ import annotations

import contextlib
import gc
import types
from collections.abc import Iterator
from typing import Any

from tensorflow.python.eager.polymorphic_function.atomic_function import AtomicFunction
from tensorflow.python.framework import ops

_PREFIX = "CustomGradient-"
_REGISTRY: dict[str, dict[str, Any]] = ops.gradient_registry._registry


def _names() -> set[str]:
    return {name for name in _REGISTRY if name.startswith(_PREFIX)}


_kept = _names()
"""The names to leave alone: those that existed before the first trial."""


@contextlib.contextmanager
def kept() -> Iterator[None]:
    """Leave the existing gradients alone until the end of the block, even if their functions cannot
    be found.
    """
    added = _names() - _kept
    _kept.update(added)
    try:
        yield
    finally:
        _kept.difference_update(added)


def forget() -> None:
    """Drop the custom gradients of graphs that no function uses any more. Call it after a garbage
    collection.
    """
    names = _names() - _kept
    if not names:
        return
    alive = {
        id(function._cached_graph)
        for function in gc.get_objects()
        if isinstance(function, AtomicFunction)
    }
    for name in names:
        graphs = {id(graph) for graph in _graphs(_REGISTRY[name])}
        if graphs and not graphs & alive:
            del _REGISTRY[name]


def _graphs(held: Any, depth: int = 5) -> Iterator[Any]:
    """Yield the graphs of the tensors that a registered gradient's functions refer to."""
    match held:
        case dict():
            parts = list(held.values())
        case list() | tuple():
            parts = list(held)
        case types.FunctionType():
            parts = [
                cell.cell_contents for cell in held.__closure__ or () if cell != types.CellType()
            ]
        case _:
            if getattr(held, "graph", None) is not None and isinstance(held.graph, ops.Graph):
                yield held.graph
            return
    for part in parts if depth else ():
        yield from _graphs(part, depth - 1)
