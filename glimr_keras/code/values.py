"""References to objects that outlive a trial, as far as static analysis can tell, and the
operations that change them. Runs in the driver.
"""

from __future__ import annotations

import dataclasses
import inspect
import itertools
import os
import queue
import random
import sys
import types
from collections.abc import Iterable, Iterator, MutableMapping, MutableSequence, MutableSet
from typing import Any

import numpy as np

from glimr_keras.code.trees import unwrapped

Cell = tuple[Any, ...]
"""The place of kept state: a variable, an attribute of an object, an item of a container."""


class _Unknown:
    """A placeholder for a value that does not exist yet."""


UNKNOWN = _Unknown()
ANY = "…"
"""A placeholder for an item's key that stands for all items."""


@dataclasses.dataclass(frozen=True, eq=False)
class Kept:
    """An object that exists before and after a trial.

    Attributes:
        name: The name in the code.
        value: The current value.
        cell: The place where it is kept.
        is_library: Whether it was reached through a module that is not the user's.
        bound: The object whose method it is.
        owner: The object, the module's variables, the closure's cell or the container that holds
            it.
    """

    name: str
    value: Any = UNKNOWN
    cell: Cell | None = None
    is_library: bool = False
    bound: Reference = None
    owner: Any = None


@dataclasses.dataclass(frozen=True, eq=False)
class Instance:
    """An object of a user-defined class that each trial creates for itself."""

    kind: type


@dataclasses.dataclass(frozen=True, eq=False)
class Made:
    """A container that a trial creates, and its parts, by key or position."""

    parts: dict[Any, Reference]

    def part(self, key: Any) -> Reference:
        """Return a part; for an unknown key, one that is kept."""
        if key is UNKNOWN:
            return next((each for each in self.parts.values() if isinstance(each, Kept)), None)
        return self.parts.get(key)

    def turns(self) -> list[Reference]:
        """Return the values of a loop's iterations; all without known parts count as one."""
        parts = list(self.parts.values())
        return [each for each in parts if _is_known(each)] or [next(iter(parts), None)]


Reference = Kept | Instance | Made | None
"""The reference of an expression; `None` for objects that a trial creates, or unknown ones."""


def _is_known(found: Reference) -> bool:
    if isinstance(found, Made):
        return any(isinstance(each, (Kept, Instance)) for each in found.parts.values())
    return found is not None


def likeliest(found: Iterable[Reference]) -> Reference:
    """Return one of an expression's possible references, preferably a kept one."""
    known = [each for each in found if each is not None]
    return next((each for each in known if isinstance(each, Kept)), next(iter(known), None))


GROWING = frozenset(
    (
        *("append", "appendleft", "extend", "extendleft", "insert", "pop", "popitem", "popleft"),
        *("remove", "discard", "clear", "add", "update", "subtract", "reverse", "rotate", "push"),
        *("put", "put_nowait", "get_nowait", "write", "writelines", "writerow", "writerows"),
        *(
            "assign_add",
            "assign_sub",
            "difference_update",
            "intersection_update",
            "fill",
            "partial_fit",
        ),
        *("symmetric_difference_update", "move_to_end"),
        *("__setitem__", "__delitem__", "__iadd__"),
    )
)
"""Methods that change an object in place. (Sorting, or setting a default, has the same result in
every trial.)
"""

IMMUTABLE = (str, bytes, int, float, complex, bool, type(None), tuple, frozenset, range)
GENERATORS = (random.Random, np.random.RandomState, np.random.Generator)
_DRAWS_NOTHING = frozenset({"getstate", "get_state", "seed", "setstate", "set_state", "spawn"})
_HEAPS = ("heappush", "heappop", "heapify", "heappushpop", "heapreplace")
_IN_PLACE = {
    "heapq": frozenset(_HEAPS),
    "bisect": frozenset({"insort", "insort_left", "insort_right"}),
    "operator": frozenset({"setitem", "delitem", "iadd", "iconcat"}),
}


def is_grown_by_addition(value: Any) -> bool:
    """Return whether operators such as `+=` change a value in place."""
    return isinstance(value, (MutableSequence, MutableSet, MutableMapping, np.ndarray))


def is_changed_by(method: str, kept: Kept) -> bool:
    """Return whether calling a method changes the object."""
    value = kept.value
    if kept.is_library or isinstance(value, (*IMMUTABLE, type, types.ModuleType)):
        return False
    if isinstance(value, GENERATORS):
        return method not in _DRAWS_NOTHING
    if isinstance(value, queue.Queue) and method == "get":
        return True
    if isinstance(value, Iterator) and method in ("send", "__next__"):
        return True
    if method not in GROWING:
        return False
    if value is UNKNOWN:
        return True
    is_sum = method == "add" and hasattr(type(value), "__add__")  # as for data frames
    return hasattr(type(value), method) and not is_sum


def is_changed_by_function(function: Any, kept: Kept) -> bool:
    """Return whether calling a function changes its first argument."""
    if kept.is_library:
        return False
    name = getattr(function, "__name__", "")
    if function is next:
        return kept.value is UNKNOWN or isinstance(kept.value, Iterator)
    if isinstance(function, (types.MethodDescriptorType, types.WrapperDescriptorType)):
        return is_changed_by(name, kept)  # `list.append(x, …)`
    module = str(getattr(function, "__module__", "")).removeprefix("_")
    return name in _IN_PLACE.get(module, ())


def is_shuffle(function: Any) -> bool:
    """Return whether a function shuffles its argument in place."""
    is_of_generator = isinstance(getattr(function, "__self__", None), GENERATORS)
    return is_of_generator and getattr(function, "__name__", "") == "shuffle"


def member(of: Kept, name: str) -> Kept:
    """Return an attribute of a kept object, without running the user's code."""
    owner = of.value
    path = f"{of.name}.{name}"
    if owner is UNKNOWN:
        return Kept(path, UNKNOWN, ("attr", of.cell or of.name, name), of.is_library)
    if name == "__class__":
        return Kept(path, type(owner))
    if isinstance(owner, types.ModuleType):
        variables = vars(owner)
        cell: Cell = ("global", id(variables), name)
        value = variables.get(name, UNKNOWN)
        return Kept(path, value, cell, of.is_library, owner=variables)
    cell = ("attr", id(owner), name)
    try:
        found = inspect.getattr_static(owner, name)
    except (AttributeError, TypeError):
        is_made = hasattr(type(owner), "__getattr__")  # such as a column of a data frame
        return Kept(path, UNKNOWN, cell, of.is_library or is_made, owner=owner)
    if isinstance(found, staticmethod):
        return Kept(path, unwrapped(found), cell, of.is_library)
    if isinstance(found, classmethod):
        kind = owner if isinstance(owner, type) else type(owner)
        return Kept(path, unwrapped(found), cell, of.is_library, Kept(kind.__name__, kind))
    is_of_class = not isinstance(owner, type) and name not in getattr(owner, "__dict__", {})
    if is_of_class and isinstance(unwrapped(found), types.FunctionType):
        return Kept(path, found, cell, of.is_library, of)
    if is_of_class and hasattr(type(found), "__get__"):
        return Kept(path, UNKNOWN, cell, of.is_library, of)
    return Kept(path, found, cell, of.is_library, owner=owner)


def item(of: Kept, key: Any, text: str) -> Kept:
    """Return an item of a kept container.

    Args:
        of: The container.
        key: The key if it is a constant, otherwise `UNKNOWN`.
        text: The source of the key.
    """
    value: Any = UNKNOWN
    if isinstance(of.value, (dict, list, tuple)) and key is not UNKNOWN:
        value = _item_of(of.value, key)
    elif isinstance(of.value, (dict, list, tuple)):
        value = _some(of)
    elif isinstance(of.value, np.ndarray):  # a slice is a view of it
        value = of.value
    cell = item_cell(of, text)
    return Kept(f"{of.name}[{text}]", value, cell, of.is_library, owner=of.value)


def _item_of(container: Any, key: Any) -> Any:
    """Return an item of a builtin container, ignoring a subclass's methods."""
    try:
        if isinstance(container, dict):
            return dict.get(container, key, UNKNOWN)
        kind = list if isinstance(container, list) else tuple
        return kind.__getitem__(container, key)
    except (LookupError, TypeError):
        return UNKNOWN


def is_container(value: Any) -> bool:
    """Return whether an object holds the items that were put into it."""
    return isinstance(value, (MutableMapping, MutableSequence))


def is_copied(found: Kept, is_slice: bool) -> bool:
    """Return whether an item is a copy of the content of a table or an array.

    Args:
        found: The item.
        is_slice: Whether it is a slice, which for arrays is a view.
    """
    if found.cell is None or found.cell[0] != "item":
        return False
    if isinstance(found.owner, np.ndarray):
        return not is_slice
    is_of_table = found.name.removesuffix(f"[{found.cell[2]}]").endswith((".loc", ".iloc"))
    return is_of_table or hasattr(type(found.owner), "iloc")


def item_cell(of: Kept, text: str) -> Cell:
    """Return the cell of an item of a container."""
    return ("item", owner_of(of), text)


def owner_of(of: Kept) -> Any:
    """Return the identity of a container."""
    return of.cell or of.name if of.value is UNKNOWN else id(of.value)


def element(of: Kept) -> Kept | None:
    """Return the reference of a loop variable over a kept object, like the first element."""
    kind = of.value
    if isinstance(kind, (dict, set, frozenset, np.ndarray)):
        return None
    return Kept(f"{of.name}[…]", _some(of), None, of.is_library)


def parts_of(of: Kept, most: int) -> Iterator[Kept]:
    """Yield an object, or the first objects in a container."""
    value = of.value
    if not isinstance(value, (dict, list, tuple)):
        yield of
        return
    pairs = value.items() if isinstance(value, dict) else enumerate(value)
    for key, part in itertools.islice(list(pairs), most):
        yield Kept(f"{of.name}[{key!r}]", part, ("item", id(value), repr(key)), of.is_library)


def part_of(of: Kept, number: int) -> Kept | None:
    """Return the part of a kept sequence that one of several assigned names gets."""
    if not isinstance(of.value, (list, tuple)) or number >= len(of.value):
        return None
    return Kept(f"{of.name}[{number}]", of.value[number], None, of.is_library, owner=of.value)


def is_of_process(value: Any) -> bool:
    """Return whether a value belongs to the process, whatever the script calls it."""
    return any(value is each for each in (os.environ, sys.path, sys.modules, sys.argv))


def _some(of: Kept) -> Any:
    """Return a value like those in a container, or `UNKNOWN`."""
    values = of.value.values() if isinstance(of.value, dict) else of.value
    if isinstance(values, (list, tuple, type({}.values()))) and len(values) > 0:
        return next(iter(values))
    return UNKNOWN
