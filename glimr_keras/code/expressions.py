"""What expressions of the user's code refer to, call and change. Runs in the driver."""

from __future__ import annotations

import abc
import ast
import collections
import dataclasses
import dis
import functools
import inspect
import types
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from glimr_keras.code import conditions
from glimr_keras.code.frames import (
    Frame,
    cells_of,
    frame_of,
    key_of,
    kinds_of,
    nested_frame,
    of_object,
    receiver_of,
    variable,
)
from glimr_keras.code.record import KeptState, Record
from glimr_keras.code.trees import (
    CodeTrees,
    FunctionNode,
    functions_of,
    plain,
)
from glimr_keras.code.values import (
    UNKNOWN,
    Cell,
    Instance,
    Kept,
    Reference,
    element,
    is_changed_by,
    is_changed_by_function,
    is_copied,
    item,
    member,
)

_DEPTH = 20
_MOST = 5000
"""So many functions are walked at most, some of them several times."""
_TIMES = 3
"""So often one function is walked with the same arguments, since what was set before may differ."""


@dataclasses.dataclass(frozen=True, eq=False)
class _Super:
    kind: type
    receiver: Reference


class Expressions(Record, abc.ABC):
    """Walks what expressions refer to and call.

    Args:
        trees: Of the code.
    """

    def __init__(self, trees: CodeTrees) -> None:
        super().__init__(trees)
        self._of_instances: dict[tuple[type, str], Kept] = {}
        self._times: collections.Counter[Any] = collections.Counter()
        self._walks = 0
        self._stack: list[Any] = []

    def follow(
        self, callee: Kept, args: Sequence[Reference] = (), kwargs: Mapping[str, Reference] = {}
    ) -> Reference:
        """Walk what is called, if it is the user's, and return what it may return."""
        value: Any = callee.value
        bound = callee.bound
        if isinstance(value, functools.partial):
            return self.follow(Kept(callee.name, value.func), [*map(of_object, value.args), *args])
        if isinstance(value, types.MethodType):
            value, bound = value.__func__, Kept("self", value.__self__)
        if isinstance(value, type):
            return self._follow_class(value, args, kwargs)
        function = plain(value)
        if isinstance(function, types.FunctionType):
            if not self.trees.is_own(function):
                function = inspect.unwrap(function)
            own = isinstance(function, types.FunctionType) and self.trees.is_own(function)
            return self._follow_function(function, bound, args, kwargs) if own else None
        if value is not UNKNOWN and self.trees.is_own_class(type(value)):
            call = member(callee, "__call__")
            return None if call.bound is None else self.follow(call, args, kwargs)
        return None

    def follow_instance(self, kind: type, value: Any) -> None:
        """Walk the methods of an object of which each trial has a copy, and the functions that it
        has.
        """
        for name, part in vars(value).items():
            if isinstance(part, (types.FunctionType, types.MethodType, functools.partial)):
                self.follow(Kept(name, part))
        self._follow_class(kind, (), {})

    @abc.abstractmethod
    def block(self, body: Sequence[ast.stmt], frame: Frame) -> bool:
        """Walk statements, and return whether what follows them is not reached."""

    @abc.abstractmethod
    def assign(
        self, target: ast.expr, value: Reference, given: Any, node: ast.AST, frame: Frame
    ) -> None:
        """Remember what a statement assigns.

        Args:
            value: What it refers to.
            given: The expression, if there is one.
        """

    # Functions and classes

    def _follow_class(
        self, kind: type, args: Sequence[Reference], kwargs: Mapping[str, Reference]
    ) -> Reference:
        own = [each for each in kind.__mro__ if self.trees.is_own_class(each)]
        if not own:
            return None
        made = Instance(kind)
        functions = [(each, pair) for each in own for pair in functions_of(each)]
        functions.sort(key=lambda found: found[1][0] != "__init__")
        for each, (name, function) in functions:
            given: Any = (args, kwargs) if name == "__init__" else ((), {})
            is_static = isinstance(vars(each).get(name), staticmethod)
            is_of_class = isinstance(vars(each).get(name), classmethod)
            receiver: Reference = Kept(kind.__name__, kind) if is_of_class else made
            method = inspect.unwrap(function)
            if self.trees.is_own(method):
                bound = None if is_static else receiver
                self._follow_function(method, bound, given[0], given[1], kind=each)
        return made

    def _follow_function(
        self,
        function: types.FunctionType,
        bound: Reference,
        args: Sequence[Reference],
        kwargs: Mapping[str, Reference],
        kind: type | None = None,
    ) -> Reference:
        key = (function.__code__, key_of(bound), *map(key_of, args), *map(key_of, kwargs.values()))
        is_enough = self._times[key] >= _TIMES or self._walks >= _MOST
        if key in self._stack or is_enough or len(self._stack) >= _DEPTH:
            return None
        self._times[key] += 1
        self._walks += 1
        self._stack.append(key)
        try:
            nodes = self.trees.of(function)
            if not nodes:
                self._read_bytecode(function)
            found = [
                self._walk(node, frame_of(node, function, bound, args, kwargs, kind))
                for node in nodes
            ]
            return next((each for each in found if each is not None), None)
        finally:
            self._stack.pop()

    def _walk(self, node: FunctionNode, frame: Frame) -> Reference:
        self.walked.add(id(node))
        once = self.computed_once
        if isinstance(node, ast.Lambda):
            frame.returned.append(self.value(node.body, frame))
        else:
            self.block(node.body, frame)
        self.computed_once = once
        return next((each for each in frame.returned if each is not None), None)

    def walk_nested(self, node: FunctionNode, frame: Frame) -> None:
        """Walk a function that is made in a function; it may be called later, or never."""
        fresh = dict(self.fresh)
        self._walk(node, nested_frame(node, frame))
        self.fresh = fresh

    def _read_bytecode(self, function: types.FunctionType) -> None:
        """See in a function without source which variables it reads and assigns."""
        code, cells = function.__code__, cells_of(function)
        for step in dis.get_instructions(code):
            name = step.argval
            if step.opname.endswith("_GLOBAL"):
                cell: Cell = ("global", id(function.__globals__), name)
            elif step.opname.endswith("_DEREF") and name in cells:
                cell = ("cell", id(cells[name]), "")
            else:
                continue
            if step.opname.startswith("STORE"):
                place = f"{code.co_filename}:{code.co_firstlineno}, in {function.__qualname__}"
                self.writes.setdefault(cell, KeptState(name, place))
            else:
                self.reads.add(cell)

    # Expressions

    def place(self, node: ast.AST, frame: Frame) -> Reference:
        """Return what a name, an attribute or an item is, before it is read."""
        match node:
            case ast.Name(id=name):
                return variable(name, frame)
            case ast.Attribute(value=base, attr=name):
                return self._attribute(self.value(base, frame), name)
            case ast.Subscript(value=base, slice=key):
                of = self.value(base, frame)
                self.value(key, frame)
                if not isinstance(of, Kept):
                    return None
                return item(of, conditions.constant(key), ast.unparse(key))
        return self.value(node, frame)

    def _attribute(self, of: Reference, name: str) -> Reference:
        if isinstance(of, Instance):
            return self._attribute_of_instance(of, name)
        if not isinstance(of, Kept):
            return None
        if isinstance(of.value, _Super):
            kinds = kinds_of(of.value.receiver)
            after = kinds[kinds.index(of.value.kind) + 1 :] if of.value.kind in kinds else ()
            found = next((vars(kind)[name] for kind in after if name in vars(kind)), UNKNOWN)
            return Kept(name, found, bound=of.value.receiver)
        found_member = member(of, name)
        is_property = isinstance(
            inspect.getattr_static(type(of.value), name, None),
            (property, functools.cached_property),
        )
        if is_property and of.value is not UNKNOWN:
            getter = inspect.getattr_static(type(of.value), name)
            function = getattr(getter, "fget", None) or getattr(getter, "func", None)
            if isinstance(function, types.FunctionType) and self.trees.is_own(function):
                return self._follow_function(function, of, (), {})
        return found_member

    def _attribute_of_instance(self, of: Instance, name: str) -> Reference:
        """An attribute of an object that a trial made: its own, or what its class has for all."""
        if (of.kind, name) in self._of_instances:
            return self._of_instances[of.kind, name]
        if name == "__class__":
            return Kept(of.kind.__name__, of.kind)
        found = inspect.getattr_static(of.kind, name, None)
        if isinstance(plain(found), types.FunctionType):
            return Kept(name, found, bound=of)
        if isinstance(found, (list, dict, set)) and not self._sets(of.kind, name):
            return member(Kept(of.kind.__name__, of.kind), name)
        return None

    def _sets(self, kind: type, name: str) -> bool:
        """Return whether methods of a class give its objects an attribute of their own."""
        codes = [
            function.__code__ for each in kind.__mro__[:-1] for _, function in functions_of(each)
        ]
        return any(
            step.opname == "STORE_ATTR" and step.argval == name
            for code in codes
            for step in dis.get_instructions(code)
        )

    def value(self, node: ast.AST | None, frame: Frame, is_called: bool = False) -> Reference:
        match node:
            case None:
                return None
            case ast.Name() | ast.Attribute() | ast.Subscript():
                found = self.load(self.place(node, frame))
                if not isinstance(found, Kept) or is_copied(found, conditions.is_slice(node)):
                    return found if isinstance(found, Instance) else None
                if not is_called and not found.is_library:
                    self._follow_what_is_passed_on(found)
                return found
            case ast.Call():
                return self._call(node, frame)
            case ast.Lambda():
                self.walk_nested(node, frame)
            case ast.NamedExpr(target=target, value=value):
                self.assign(target, self.value(value, frame), value, node, frame)
                return self.value(target, frame)
            case ast.IfExp() | ast.BoolOp():
                parts = [self.value(part, frame) for part in ast.iter_child_nodes(node)]
                return next((part for part in parts if isinstance(part, Kept)), None)
            case ast.ListComp() | ast.SetComp() | ast.GeneratorExp() | ast.DictComp():
                self._comprehension(node, frame)
            case ast.Starred(value=value) | ast.Await(value=value):
                return self.value(value, frame)
            case _:
                for part in ast.iter_child_nodes(node):
                    self.value(part, frame)
        return None

    def _follow_what_is_passed_on(self, found: Kept) -> None:
        """Walk a function or a class that is not called here, but may be where it is given to."""
        if isinstance(found.value, (types.FunctionType, types.MethodType, type)):
            self.follow(found)

    def _comprehension(self, node: Any, frame: Frame) -> None:
        names = {
            each.id
            for generator in node.generators
            for each in ast.walk(generator.target)
            if isinstance(each, ast.Name)
        }
        inner = dataclasses.replace(
            frame, env={}, names=frozenset(names), declared=frozenset(), cells={}, outer=frame
        )
        for generator in node.generators:
            self.loop_over(generator.target, generator.iter, inner)
            for condition in generator.ifs:
                self.value(condition, inner)
        results = [node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt]
        for result in results:
            self.value(result, inner)

    def loop_over(self, target: ast.expr, iterated: ast.expr, frame: Frame) -> None:
        of = self.value(iterated, frame)
        value = None
        if isinstance(of, Kept):
            self.read_whole(of)
            if isinstance(of.value, Iterator):
                self.grow(of, iterated, frame)
            value = element(of)
        self.assign(target, value, None, target, frame)

    def _call(self, node: ast.Call, frame: Frame) -> Reference:
        if isinstance(node.func, ast.Name) and node.func.id == "super":
            kind = frame.kind
            return None if kind is None else Kept("super()", _Super(kind, receiver_of(frame)))
        base: Reference = None
        if isinstance(node.func, ast.Attribute):
            base = self.value(node.func.value, frame)
            callee = self.load(self._attribute(base, node.func.attr))
        else:
            callee = self.value(node.func, frame, is_called=True)
        args = [self.value(each, frame) for each in node.args]
        kwargs = {each.arg or "**": self.value(each.value, frame) for each in node.keywords}
        if isinstance(callee, Kept) and callee.value is not UNKNOWN:
            special = self._call_of_builtin(callee, node, args, frame)
            if special is not None:
                return special
            followed = self.follow(callee, args, kwargs)
            if followed is not None or self._is_own(callee):
                return followed
            first = args[0] if args else None
            if isinstance(first, Kept) and is_changed_by_function(callee.value, first):
                self.grow(first, node, frame)
        if isinstance(base, Kept) and isinstance(node.func, ast.Attribute):
            return self._call_of_method(base, node.func.attr, node, frame)
        return None

    def _is_own(self, callee: Kept) -> bool:
        function = plain(getattr(callee.value, "__func__", callee.value))
        return isinstance(function, types.FunctionType) and self.trees.is_own(function)

    def _call_of_method(self, base: Kept, method: str, node: ast.Call, frame: Frame) -> Reference:
        """A method that is not the user's, of something that is kept."""
        if is_changed_by(method, base) or (conditions.is_in_place(node) and not base.is_library):
            self.grow(base, node, frame)
        if method in ("values", "items", "keys", "copy"):
            self.read_whole(base)
        if method in ("values", "items") and isinstance(base.value, dict):
            return Kept(base.name, list(getattr(base.value, method)()), None, base.is_library)
        if method not in ("get", "setdefault") or not node.args:
            return None
        key = node.args[0]
        return self.load(item(base, conditions.constant(key), ast.unparse(key)))

    def _call_of_builtin(
        self, callee: Kept, node: ast.Call, args: Sequence[Reference], frame: Frame
    ) -> Reference:
        """`type`, `getattr`, `setattr` of something that is known."""
        first = args[0] if args else None
        if callee.value is type and len(args) == 1:
            kinds = kinds_of(first)
            return Kept(kinds[0].__name__, kinds[0]) if kinds else None
        if callee.value not in (getattr, setattr, object.__setattr__) or len(args) < 2:
            return None
        name = conditions.constant(node.args[1])
        if not isinstance(name, str):
            if callee.value is not getattr and isinstance(first, Kept):
                self.grow(first, node, frame)
            return None
        place = self._attribute(first, name)
        if callee.value is getattr:
            return self.load(place)
        self.write(place, args[2] if len(args) > 2 else None, node, frame)
        return None
