"""Finds where code keeps state between trials, before it runs. Runs in the driver.

State is an attribute of an object that outlives a trial, a global, or a closure's variable. It
must be read and then changed, or changed in place. In one process, each trial sees the state that
earlier trials left. In workers, each trial starts with the script's state. Variables that are only
assigned, set before use in each trial, or computed once and then kept, do not count.

The code is walked as it would run, through the user's functions. None of it is called.
"""

from __future__ import annotations

import ast
import contextlib
import functools
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar

from glimr_keras.code import conditions
from glimr_keras.code.expressions import Expressions
from glimr_keras.code.frames import Frame, owner_frame, variable
from glimr_keras.code.values import (
    UNKNOWN,
    Cell,
    Instance,
    Kept,
    Made,
    Reference,
    is_container,
    is_grown_by_addition,
    is_of_process,
    item,
    likeliest,
    member,
    part_of,
)


class Walk(Expressions):
    """A walk over code that records the kept state it reads, sets and changes.

    Args:
        trees: The trees of the code.
    """

    def block(self, body: Sequence[ast.stmt], frame: Frame) -> bool:
        """Walk statements, and return whether the code after them is unreachable."""
        once = self.computed_once
        for statement in body:
            if self._statement(statement, frame):
                self.computed_once = once
                return True
        self.computed_once = once
        return False

    def _statement(self, node: ast.stmt, frame: Frame) -> bool:
        handler = self._HANDLERS.get(type(node))
        if handler is not None:
            return bool(handler(self, node, frame))
        for part in ast.iter_child_nodes(node):
            self.value(part, frame)
        return isinstance(node, (ast.Raise, ast.Continue, ast.Break))

    def _set(self, node: ast.Assign, frame: Frame) -> None:
        found = self._assigned(node.targets[0], node.value, frame)
        for target in node.targets:
            self.assign(target, found, node.value, node, frame)

    def _set_annotated(self, node: ast.AnnAssign, frame: Frame) -> None:
        if node.value is not None:
            found = self._assigned(node.target, node.value, frame)
            self.assign(node.target, found, node.value, node, frame)

    def _for(self, node: ast.For | ast.AsyncFor, frame: Frame) -> None:
        for value in self.loop_values(node.iter, frame):
            self.assign(node.target, value, None, node.target, frame)
            with self.branch():
                self.block(node.body, frame)
        self.block(node.orelse, frame)

    def _while(self, node: ast.While, frame: Frame) -> None:
        self.value(node.test, frame)
        with self.branch():
            self.block(node.body, frame)
        self.block(node.orelse, frame)

    def _with(self, node: ast.With | ast.AsyncWith, frame: Frame) -> bool:
        for each in node.items:
            with self.balanced():
                manager = self.value(each.context_expr, frame, is_called=True)
                found = self.call_protocol(manager, "__enter__") or manager
                self.call_protocol(manager, "__exit__")
            if each.optional_vars is not None:
                self.assign(each.optional_vars, found, None, node, frame)
        return self.block(node.body, frame)

    def _return(self, node: ast.Return, frame: Frame) -> bool:
        name = node.value.id if isinstance(node.value, ast.Name) else None
        is_self = frame.receiver is not None and frame.env.get(name or "") is frame.receiver
        frame.returned.append(self.value(node.value, frame, is_called=is_self))
        return True

    def _function(self, node: ast.FunctionDef | ast.AsyncFunctionDef, frame: Frame) -> None:
        frame.env[node.name] = None
        for each in (*node.decorator_list, *node.args.defaults):
            self.value(each, frame)
        self.walk_nested(node, frame)

    def _match(self, node: ast.Match, frame: Frame) -> None:
        for each in (node.subject, *(case.guard for case in node.cases)):
            self.value(each, frame)
        self._alternatives([*(case.body for case in node.cases), []], frame)

    def _import_modules(self, node: ast.Import, frame: Frame) -> None:
        for alias in node.names:
            name = alias.asname or alias.name.partition(".")[0]
            module = alias.name if alias.asname else name
            self._import(name, sys.modules.get(module, UNKNOWN), frame)

    def _import_names(self, node: ast.ImportFrom, frame: Frame) -> None:
        names = vars(sys.modules[node.module]) if node.module in sys.modules else {}
        for alias in node.names:
            self._import(alias.asname or alias.name, names.get(alias.name, UNKNOWN), frame)

    def _import(self, name: str, value: Any, frame: Frame) -> None:
        if name in frame.names:
            frame.env[name] = self.load(Kept(name, value))

    def _class(self, node: ast.ClassDef, frame: Frame) -> None:
        frame.env[node.name] = None
        for base in (*node.bases, *node.decorator_list):
            self.value(base, frame)
        for each in node.body:
            if isinstance(each, (ast.FunctionDef, ast.AsyncFunctionDef)):
                self.walk_nested(each, frame)

    def _assigned(self, target: ast.expr, value: ast.expr, frame: Frame) -> Reference:
        """Return the assigned reference; for `self.x or …`, mark the place as computed once."""
        place = conditions.computed_from(value)
        if place is not None and ast.unparse(place) == ast.unparse(target):
            found = self.place(place, frame)
            if isinstance(found, Kept) and found.cell is not None:
                self.computed_once |= {found.cell}
        return self.value(value, frame)

    def assign(
        self, target: ast.expr, value: Reference, given: Any, node: ast.AST, frame: Frame
    ) -> None:
        match target:
            case ast.Tuple(elts=parts) | ast.List(elts=parts):
                self._assign_parts(parts, value, given, node, frame)
            case ast.Starred(value=part):
                self.assign(part, None, None, node, frame)
            case ast.Name(id=name):
                owner = owner_frame(name, frame)
                if owner is not None:
                    owner.env[name] = value
                    return
                place = variable(name, frame)
                if isinstance(place, Kept):
                    self.write(place, value, node, frame, given)
                    self.note_global(place, node, frame, None)
            case ast.Attribute(value=base, attr=name):
                of = self.value(base, frame, is_called=True)
                if isinstance(of, Instance) and isinstance(value, (Kept, Made)):
                    self._of_instances[of.kind, name] = value
                elif isinstance(of, Kept):
                    self.write(member(of, name), value, node, frame, given)
            case ast.Subscript():
                self._assign_item(target, value, node, frame, given)

    def _assign_parts(
        self,
        parts: Sequence[ast.expr],
        value: Reference,
        given: Any,
        node: ast.AST,
        frame: Frame,
    ) -> None:
        sources: Sequence[Any] = [None] * len(parts)
        if isinstance(given, (ast.Tuple, ast.List)) and len(given.elts) == len(parts):
            sources = given.elts
        for number, (part, source) in enumerate(zip(parts, sources, strict=True)):
            found = self.value(source, frame)
            if isinstance(value, Kept) and source is None:
                found = part_of(value, number)
            elif isinstance(value, Made) and source is None:
                found = value.part(number)
            self.assign(part, found, given if source is None else source, node, frame)

    def _assign_item(
        self, target: ast.Subscript, value: Reference, node: ast.AST, frame: Frame, given: Any
    ) -> None:
        of = self.value(target.value, frame, is_called=True)
        self.value(target.slice, frame)
        if isinstance(of, Made):
            of.parts[conditions.constant(target.slice)] = value
        if not isinstance(of, Kept) or of.is_library or is_of_process(of.value):
            return
        if self.has_protocol(of, "__setitem__"):
            self.call_protocol(of, "__setitem__", None, value)
            if not is_container(of.value):
                return
        text = ast.unparse(target.slice)
        place = item(of, conditions.constant(target.slice), text)
        if conditions.constant(target.slice) is not UNKNOWN:
            self.write(place, value, node, frame, given)
            self.note_global(of, node, frame, text)
        elif place.cell not in self.computed_once and place.cell not in self.fresh:
            self.grow(of, node, frame)
        if place.cell is not None:
            self.fresh[place.cell] = value

    def _add_to(self, node: ast.AugAssign, frame: Frame) -> None:
        self.value(node.value, frame)
        target = node.target
        if isinstance(target, ast.Name) and owner_frame(target.id, frame) is not None:
            alias = variable(target.id, frame)
            if isinstance(alias, Kept) and is_grown_by_addition(alias.value):
                self.grow(alias, node, frame)
            return
        place = self.place(target, frame)
        if isinstance(target, ast.Subscript):
            of = self.value(target.value, frame, is_called=True)
            self.call_protocol(of, "__setitem__")
        if not isinstance(place, Kept) or place.is_library:
            return
        if place.cell is not None and place.cell in self.fresh:
            place = self.fresh[place.cell]
            if not isinstance(place, Kept) or not is_grown_by_addition(place.value):
                return
        self.grow(place, node, frame)

    def _delete(self, node: ast.Delete, frame: Frame) -> None:
        for target in node.targets:
            if not isinstance(target, ast.Subscript):
                continue
            place = self.place(target, frame)
            of = self.value(target.value, frame, is_called=True)
            self.call_protocol(of, "__delitem__")
            if isinstance(place, Kept) and isinstance(of, Kept) and place.cell not in self.fresh:
                self.grow(of, node, frame)

    def _branch(self, node: ast.If, frame: Frame) -> bool:
        absent, present = conditions.guards(node.test, functools.partial(self._cell, frame))
        self.value(node.test, frame)
        ends = self._alternatives([node.body, node.orelse], frame, [absent, present])
        if ends[0] and not node.orelse:
            self.computed_once |= present
        return all(ends)

    def _cell(self, frame: Frame, node: ast.expr) -> Cell | None:
        found = self.place(node, frame)
        return found.cell if isinstance(found, Kept) else None

    def _alternatives(
        self,
        bodies: Sequence[Sequence[ast.stmt]],
        frame: Frame,
        once: Sequence[frozenset[Cell]] | None = None,
    ) -> list[bool]:
        """Walk alternative bodies; only one of them runs.

        State counts as set afterwards if all bodies set it. Return, for each body, whether it ends
        the function or the iteration of a loop.
        """
        fresh, env, ends = dict(self.fresh), dict(frame.env), []
        left: list[tuple[dict[Cell, Reference], dict[str, Reference]]] = []
        for number, body in enumerate(bodies):
            self.fresh, frame.env = dict(fresh), dict(env)
            with self._with_once(once[number] if once else frozenset()), self.branch():
                ends.append(self.block(body, frame))
            if not ends[-1]:
                left.append((self.fresh, frame.env))
        first = left[0] if left else (fresh, env)
        self.fresh = {
            cell: value for cell, value in first[0].items() if all(cell in each for each, _ in left)
        }
        frame.env = dict(first[1])
        for _, each in left[1:]:
            names = {*frame.env, *each}
            frame.env = {name: likeliest([each.get(name), frame.env.get(name)]) for name in names}
        return ends

    @contextlib.contextmanager
    def _with_once(self, cells: frozenset[Cell]) -> Iterator[None]:
        before = self.computed_once
        self.computed_once |= cells
        try:
            yield
        finally:
            self.computed_once = before

    def _try(self, node: ast.Try, frame: Frame) -> bool:
        """Walk a `try`; a value that is assigned because it was missing is computed once."""
        before, fresh = len(self.touched), dict(self.fresh)
        ends = self.block([*node.body, *node.orelse], frame)
        after, touched = self.fresh, frozenset(self.touched[before:])
        for handler in node.handlers:
            self.fresh = dict(fresh)
            is_missing = conditions.is_of_what_is_missing(handler)
            with self._with_once(touched if is_missing else frozenset()), self.branch():
                ends = self.block(handler.body, frame) and ends
        self.fresh = after
        return self.block(node.finalbody, frame) or ends

    _HANDLERS: ClassVar[dict[type[ast.stmt], Callable[..., bool | None]]] = {
        ast.Assign: _set,
        ast.AnnAssign: _set_annotated,
        ast.AugAssign: _add_to,
        ast.Delete: _delete,
        ast.If: _branch,
        ast.For: _for,
        ast.AsyncFor: _for,
        ast.While: _while,
        ast.Try: _try,
        getattr(ast, "TryStar", ast.Try): _try,  # since Python 3.11
        ast.With: _with,
        ast.AsyncWith: _with,
        ast.Return: _return,
        ast.FunctionDef: _function,
        ast.AsyncFunctionDef: _function,
        ast.ClassDef: _class,
        ast.Import: _import_modules,
        ast.ImportFrom: _import_names,
        ast.Match: _match,
    }
