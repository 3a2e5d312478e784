"""The memory layout of pickled bags, so that large arrays are sent separately.

Runs in driver and worker.
"""

from __future__ import annotations

import collections
from typing import Any

import numpy as np

_SMALL = 2**20
"""Arrays of fewer bytes would be part of the pickle, which each worker copies."""


def joined(bags: list[Any]) -> list[Any]:
    """Return the bags, with small ones joined into one large array per type.

    Bags that are already joined stay unchanged.
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
    """Return the arrays that contain the bags, each once, and the location of each bag.

    A location is the number of its array and its first byte, shape and type there; `None` for the
    whole array.
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
    """Return the bags from the result of `apart`."""
    return [
        wholes[number] if part is None else np.ndarray(part[1], part[2], wholes[number], part[0])
        for number, part in places
    ]


def _parts(bags: list[Any]) -> dict[int, np.ndarray]:
    """Return the larger array of each bag that is sent in its place.

    It is a memory-mapped file, or memory that consists of bags by at least half.
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
    """Return the array that contains a bag as rows.

    `None` if there is no such array, or if the bag is not contiguous.
    """
    whole = bag
    while isinstance(whole, np.ndarray) and isinstance(whole.base, np.ndarray):
        if type(whole.base) not in (np.ndarray, np.memmap):
            return None
        whole = whole.base
    if whole is bag or not bag.flags.c_contiguous or not whole.flags.c_contiguous:
        return None
    return whole
