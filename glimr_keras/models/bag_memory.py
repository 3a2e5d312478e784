"""Where bags are in memory when they are pickled, so that large arrays go apart. Runs in driver and
worker.
"""

from __future__ import annotations

import collections
from typing import Any

import numpy as np

_SMALL = 2**20
"""Arrays of fewer bytes would be part of the pickle, of which each worker has a copy."""


def joined(bags: list[Any]) -> list[Any]:
    """The bags with small ones as parts of one large array of their type; those that are so already
    are as they are.
    """
    parts = _parts(bags)
    groups = collections.defaultdict(list)
    for place, bag in enumerate(bags):
        if type(bag) is np.ndarray and bag.nbytes < _SMALL and place not in parts:
            groups[bag.dtype].append(place)
    found = list(bags)
    for places in groups.values():
        whole = np.concatenate([bags[place] for place in places])
        end = 0
        for place in places:
            begin, end = end, end + len(bags[place])
            found[place] = whole[begin:end]
    return found


def apart(bags: list[Any]) -> tuple[list[Any], list[tuple[int, Any]]]:
    """The arrays that bags are parts of, each once, and for each bag the number of its array and
    which part it is: its first byte, shape and type; `None` for the whole.
    """
    parts = _parts(bags)
    wholes: list[Any] = []
    places: list[tuple[int, Any]] = []
    numbers: dict[int, int] = {}
    for place, bag in enumerate(bags):
        whole = parts.get(place, bag)
        if id(whole) not in numbers:
            numbers[id(whole)] = len(wholes)
            wholes.append(whole)
        part = None
        if whole is not bag:
            part = (bag.ctypes.data - whole.ctypes.data, bag.shape, bag.dtype)
        places.append((numbers[id(whole)], part))
    return wholes, places


def together(wholes: list[Any], places: list[tuple[int, Any]]) -> list[Any]:
    """The bags of what `apart` returned."""
    return [
        wholes[number] if part is None else np.ndarray(part[1], part[2], wholes[number], part[0])
        for number, part in places
    ]


def _parts(bags: list[Any]) -> dict[int, np.ndarray]:
    """The larger array of each bag that is rows of one which is sent in its place: of a file that
    is mapped, or of memory of which the bags are at least half.
    """
    found = {place: whole for place, bag in enumerate(bags) if (whole := _whole(bag)) is not None}
    used: collections.Counter[int] = collections.Counter()
    for place, whole in found.items():
        used[id(whole)] += bags[place].nbytes
    return {
        place: whole
        for place, whole in found.items()
        if isinstance(whole, np.memmap) or 2 * used[id(whole)] >= whole.nbytes
    }


def _whole(bag: Any) -> np.ndarray | None:
    """The array that a bag is rows of; `None` if it is none, or not in one piece."""
    whole = bag
    while isinstance(whole, np.ndarray) and isinstance(whole.base, np.ndarray):
        if type(whole.base) not in (np.ndarray, np.memmap):
            return None
        whole = whole.base
    if whole is bag or not bag.flags.c_contiguous or not whole.flags.c_contiguous:
        return None
    return whole
