"""Restores the state that trials keep, after code that changes it was inspected. Runs in the
driver.
"""

from __future__ import annotations

import collections
import contextlib
import copy
import functools
import random
import types
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from glimr_keras.code.record import KeptState
from glimr_keras.code.values import UNKNOWN, Kept

_CONTAINERS: tuple[Any, ...] = (collections.OrderedDict, dict, list, set, collections.deque)
_MOST = 10_000
"""The largest number of nested containers to restore."""
_LARGEST = 2**20
"""The largest size in bytes of an array to restore."""


@contextlib.contextmanager
def put_back(kept: Sequence[KeptState]) -> Iterator[None]:
    """Restore kept state after the block, if it can be copied.

    It restores variables, attributes, and the contents of containers.
    """
    undone = [undo for seen in kept if seen.what is not None for undo in _undoing(seen.what)]
    try:
        yield
    finally:
        for undo in undone:
            with contextlib.suppress(Exception):  # a container that is read-only, say
                undo()


def _undoing(what: Kept) -> Iterator[Callable[[], None]]:
    """Yield functions that restore the present state."""
    value, kind = what.value, "" if what.cell is None else what.cell[0]
    yield from _contents([value, what.owner if kind == "item" else None])
    if isinstance(value, np.ndarray) and value.nbytes <= _LARGEST:
        yield from _array(value)
    elif isinstance(value, random.Random):
        yield functools.partial(value.setstate, value.getstate())
    elif isinstance(value, np.random.RandomState):
        yield functools.partial(value.set_state, value.get_state())
    elif isinstance(value, np.random.Generator):
        yield functools.partial(setattr, value.bit_generator, "state", value.bit_generator.state)
    elif isinstance(value, Iterator):
        with contextlib.suppress(Exception):  # a generator cannot be copied
            value = copy.deepcopy(value)
    if what.cell is not None and not (value is UNKNOWN and _is_there(kind, what)):
        change = _unbind if value is UNKNOWN else functools.partial(_bind, value)
        yield functools.partial(change, kind, what.owner, what.cell[-1])


def _is_there(kind: str, what: Kept) -> bool:
    """Return whether something exists now that was unset when the code was read."""
    if isinstance(what.owner, types.CellType):
        return what.owner != types.CellType()
    variables = what.owner if kind == "global" else getattr(what.owner, "__dict__", {})
    return what.cell is not None and what.cell[-1] in (variables or ())


def _unbind(kind: str, owner: Any, name: str) -> None:
    """Remove a variable or an attribute that did not exist."""
    if isinstance(owner, types.CellType):
        del owner.cell_contents
    elif kind == "global":
        del owner[name]
    elif kind == "attr" and name in getattr(owner, "__dict__", ()):
        delattr(owner, name)


def _bind(value: Any, kind: str, owner: Any, name: str) -> None:
    """Set a variable or an attribute, if it has another value."""
    if isinstance(owner, types.CellType):
        owner.cell_contents = value
    elif kind == "global":
        owner[name] = value
    elif kind == "attr" and getattr(owner, name, UNKNOWN) is not value:
        setattr(owner, name, value)


def _array(value: np.ndarray) -> Iterator[Callable[[], None]]:
    before = value.copy()
    yield lambda: np.copyto(value, before)


def _contents(containers: Sequence[Any]) -> Iterator[Callable[[], None]]:
    """Yield functions that refill containers and those nested in them."""
    waiting = list(containers)
    seen: set[int] = set()
    while waiting and len(seen) < _MOST:
        each = waiting.pop()
        if isinstance(each, _CONTAINERS) and id(each) not in seen:
            seen.add(id(each))
            kind = next(kind for kind in _CONTAINERS if isinstance(each, kind))
            yield _filling(each, kind)
            waiting.extend(kind.values(each) if issubclass(kind, dict) else kind.__iter__(each))


def _filling(container: Any, kind: Any) -> Callable[[], None]:
    """Return a function that refills a container.

    Args:
        container: The container.
        kind: Its builtin base class, whose methods run no code of the user's.
    """
    is_dict = issubclass(kind, dict)
    before = list(kind.items(container) if is_dict else kind.__iter__(container))

    def undo() -> None:
        kind.clear(container)
        if is_dict:
            for key, value in before:
                kind.__setitem__(container, key, value)
        else:
            (kind.update if kind is set else kind.extend)(container, before)

    return undo
