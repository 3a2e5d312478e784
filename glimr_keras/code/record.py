"""A record of the kept state that code reads, sets and changes. Runs in the driver."""

from __future__ import annotations

import ast
import collections
import contextlib
import dataclasses
import types
from collections.abc import Iterator
from typing import Any

from glimr_keras.code import conditions
from glimr_keras.code.frames import Frame
from glimr_keras.code.orders import is_reordered
from glimr_keras.code.trees import CodeTrees, is_data
from glimr_keras.code.values import (
    ANY,
    GENERATORS,
    Cell,
    Kept,
    Reference,
    is_of_process,
    item_cell,
    owner_of,
)


@dataclasses.dataclass(frozen=True)
class KeptState:
    """State that is kept between trials.

    Attributes:
        name: The name in the code.
        place: The file, line and function of the change.
        what: The reference that changes.
    """

    name: str
    place: str
    what: Kept | None = dataclasses.field(default=None, compare=False, repr=False)

    def __str__(self) -> str:
        return f"`{self.name}` ({self.place})"


class Record:
    """A record of what walked code does, in the order of execution.

    Args:
        trees: The trees of the code.

    Attributes:
        reads: Cells that are read before this trial sets them.
        writes: Cells that are assigned, and where first.
        changes: Cells that are changed in place, and where first.
        fresh: Cells that this trial has set, and their references.
        computed_once: Cells that are assigned here only if they are unset.
        touched: All cells that are read, in order.
        orders: Cells that data objects reorder, and where.
        walked: The ids of the nodes of functions that were walked.
        steps: All changes in place, in order: the cell, the change, and the number of branches and
            loops around it.
        branches: The number of branches and loops around the current node.
    """

    def __init__(self, trees: CodeTrees) -> None:
        self.trees = trees
        self.reads: set[Cell] = set()
        self.writes: dict[Cell, KeptState] = {}
        self.changes: dict[Cell, KeptState] = {}
        self.fresh: dict[Cell, Reference] = {}
        self.computed_once: frozenset[Cell] = frozenset()
        self.touched: list[Cell] = []
        self.orders: dict[Cell, KeptState] = {}
        self.walked: set[int] = set()
        self.steps: list[tuple[Cell, conditions.Step, int]] = []
        self.branches = 0
        self._globals: dict[Cell, tuple[str, int, str, str | None]] = {}

    def state(self) -> list[KeptState]:
        """Return the kept state that was found, each once."""
        found = [*self.changes.values()]
        found += [
            seen
            for cell, seen in self.writes.items()
            if cell not in self.changes and cell not in self.orders and self._is_read(cell)
        ]
        return found

    def load(self, place: Reference) -> Reference:
        """Return the reference at a place that is read: as this trial set it, or the older one."""
        if not isinstance(place, Kept):
            return place
        if place.cell is not None:
            self.touched.append(place.cell)
            if place.cell in self.fresh:
                return self.fresh[place.cell]
            self.reads.add(place.cell)
        value = place.value
        if isinstance(value, types.ModuleType):
            own = self.trees.is_own_module(getattr(value, "__file__", None), value.__name__)
            return dataclasses.replace(place, is_library=not own)
        return place

    def write(
        self, place: Reference, value: Reference, node: ast.AST, frame: Frame, given: Any = None
    ) -> None:
        """Record an assignment.

        A value that is computed once looks the same to the next trial, unless it only marks that
        there was an earlier trial.
        """
        if not isinstance(place, Kept) or place.is_library or place.cell is None:
            return
        if _data_of(frame) and is_reordered(given, str(place.cell[-1]), frame, self.trees):
            self.orders.setdefault(place.cell, self._seen(place, node, frame))
        is_mark = isinstance(given, ast.Constant) and isinstance(given.value, bool)
        if place.cell not in self.computed_once or is_mark:
            self.writes.setdefault(place.cell, self._seen(place, node, frame))
        self.fresh[place.cell] = value

    def grow(self, kept: Kept, node: ast.AST, frame: Frame) -> None:
        """Record a change in place."""
        if kept.is_library or is_of_process(kept.value):
            return
        if isinstance(kept.value, GENERATORS) and _data_of(frame):
            return
        cell = kept.cell or ("path", kept.name)
        self.steps.append((cell, conditions.step_of(node), self.branches))
        self.changes.setdefault(cell, self._seen(kept, node, frame))

    @contextlib.contextmanager
    def branch(self) -> Iterator[None]:
        """Mark the code walked in the block as run zero, one or several times."""
        self.branches += 1
        try:
            yield
        finally:
            self.branches -= 1

    @contextlib.contextmanager
    def balanced(self) -> Iterator[None]:
        """Discard changes that a block undoes, as `__exit__` undoes what `__enter__` does.

        These are additions that are removed, and values that are set and then restored.
        """
        known, begin, level = {*self.changes, *self.writes}, len(self.steps), self.branches
        yield
        done: dict[Cell, list[conditions.Step]] = collections.defaultdict(list)
        for cell, step, branches in self.steps[begin:]:
            done[cell].append(step if branches == level else conditions.UNSURE)
        for cell, steps in done.items():
            if cell not in known and conditions.is_undone(steps):
                self.changes.pop(cell, None)
        for cell in self.writes.keys() - known:
            last = self.fresh.get(cell)
            if isinstance(last, Kept) and last.cell == cell:
                del self.writes[cell], self.fresh[cell]

    def reorder(self, place: Kept, node: ast.AST, frame: Frame) -> None:
        """Record a shuffle in place.

        The order of a data object's samples is randomness, not state: parallel trials have equally
        good orders.
        """
        if place.cell is not None and _data_of(frame):
            self.orders.setdefault(place.cell, self._seen(place, node, frame))
        else:
            self.grow(place, node, frame)

    def _seen(self, what: Kept, node: ast.AST, frame: Frame) -> KeptState:
        line = getattr(node, "lineno", 0)
        return KeptState(what.name, f"{frame.file}:{line}, in {frame.name}", what)

    def _is_read(self, cell: Cell) -> bool:
        """Return whether an assigned cell is read in another trial, or by the script."""
        whole = (*cell[:2], ANY) if cell[0] == "item" else cell
        if cell in self.reads or whole in self.reads:
            return True
        if cell not in self._globals:
            return False
        file, line, name, key = self._globals[cell]
        tree = self.trees.of_file(file)
        return tree is not None and conditions.is_loaded(tree, name, key, line, self.walked)

    def note_global(self, place: Kept, node: ast.AST, frame: Frame, key: str | None) -> None:
        """Record the script's name for an assigned global."""
        if place.cell is not None and place.cell[0] == "global":
            cell = place.cell if key is None else item_cell(place, key)
            line = getattr(node, "lineno", 0)
            self._globals.setdefault(cell, (frame.file, line, place.cell[2], key))

    def read_whole(self, of: Kept) -> None:
        owner = owner_of(of)
        if not any(cell[:2] == ("item", owner) for cell in self.fresh):
            self.reads.add(("item", owner, ANY))


def _data_of(frame: Frame) -> bool:
    """Return whether a function is a method of a data object, such as a `PyDataset`."""
    receiver = frame.receiver if frame.kind is not None else None
    return isinstance(receiver, Kept) and is_data(type(receiver.value))
