"""The references, calls and changes in expressions of the user's code. Runs in the driver."""

from __future__ import annotations

import abc
import ast
import collections
import contextlib
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
    of_cell,
    of_object,
    receiver_of,
    variable,
)
from glimr_keras.code.record import KeptState, Record
from glimr_keras.code.trees import (
    OF_TRAINING,
    CodeTrees,
    FunctionNode,
    functions_of,
    has_variables,
    is_callback,
    is_of_package,
    unwrapped,
)
from glimr_keras.code.values import (
    UNKNOWN,
    Cell,
    Instance,
    Kept,
    Made,
    Reference,
    element,
    is_changed_by,
    is_changed_by_function,
    is_container,
    is_copied,
    is_shuffle,
    item,
    likeliest,
    member,
    parts_of,
)

_DEPTH = 20
_MOST = 5000
"""The largest number of walks of functions; a function may be walked several times."""
_LOOKED_AT = 100
"""The number of parts of a container that are searched for user-defined objects."""
_TURNS = 5
"""The number of iterations to walk of a loop over different parts."""
_CALLABLE = (types.FunctionType, types.MethodType, functools.partial, type)
_LOOKS = (isinstance, issubclass, hasattr, getattr, setattr, type, id)
"""Functions that do not call their arguments."""
_CALLING = (functools.partial, map, filter)
"""Functions that call their first argument."""
_OF_ITEMS = ("__getitem__", "__setitem__", "__delitem__")
_MAYBE = (ast.IfExp, ast.BoolOp, ast.ListComp, ast.SetComp, ast.GeneratorExp, ast.DictComp)
"""Expressions whose parts may run never or several times."""
_TIMES = 3
"""How often to walk one function with the same arguments, as earlier assignments may differ."""


@dataclasses.dataclass(frozen=True, eq=False)
class _Super:
    kind: type
    receiver: Reference


class Expressions(Record, abc.ABC):
    """A walk over the references and calls of expressions.

    Args:
        trees: The trees of the code.
    """

    def __init__(self, trees: CodeTrees) -> None:
        super().__init__(trees)
        self._of_instances: dict[tuple[type, str], Kept | Made] = {}
        self._times: collections.Counter[Any] = collections.Counter()
        self._walks = 0
        self._stack: list[Any] = []

    def follow(
        self, callee: Kept, args: Sequence[Reference] = (), kwargs: Mapping[str, Reference] = {}
    ) -> Reference:
        """Walk a called function, if it is the user's, and return what it may return."""
        value: Any = callee.value
        bound = callee.bound
        if isinstance(value, functools.partial):
            named = {name: of_object(part, name) for name, part in value.keywords.items()}
            given = [*map(of_object, value.args), *args]
            return self.follow(Kept(callee.name, value.func), given, {**named, **kwargs})
        if isinstance(value, types.MethodType):
            value, bound = value.__func__, Kept("self", value.__self__)
        if isinstance(value, type):
            return self._follow_class(value, args, kwargs)
        function = unwrapped(value)
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
        """Walk the methods, and functions held, of an object that is copied for each trial."""
        for name, part in vars(value).items():
            if isinstance(part, (types.FunctionType, types.MethodType, functools.partial)):
                self.follow(Kept(name, part))
        self._follow_class(kind, (), {})

    def follow_object(self, of: Kept) -> None:
        """Walk the methods that a library may call on a user-defined object passed to it.

        What training sets on a callback, and variables of layers, metrics and optimizers, are not
        state of the script. A trial has its own tuner, oracle and hypermodel, whose methods are
        walked where they run.
        """
        kind = type(of.value)
        if not self.trees.has_own_code(of.value) or is_of_package(kind):
            return
        if has_variables(kind):
            self._follow_class(kind, (), {})
            return
        fresh = dict(self.fresh)
        if is_callback(kind):
            self.fresh |= {member(of, name).cell or (): None for name in OF_TRAINING}
        with self.balanced():
            for name in self.trees.called_by_libraries(kind):
                self.follow(member(of, name))
        if not is_callback(kind):  # its methods may never be called
            self.fresh = fresh

    @abc.abstractmethod
    def block(self, body: Sequence[ast.stmt], frame: Frame) -> bool:
        """Walk statements, and return whether the code after them is unreachable."""

    @abc.abstractmethod
    def assign(
        self, target: ast.expr, value: Reference, given: Any, node: ast.AST, frame: Frame
    ) -> None:
        """Record the assignment of a statement.

        Args:
            target: The target of the assignment.
            value: The reference of the value.
            given: The expression of the value, if there is one.
            node: The statement.
            frame: The function that assigns it.
        """

    def has_protocol(self, of: Reference, name: str) -> bool:
        """Return whether a kept object has a user-defined special method."""
        found = getattr(type(of.value), name, None) if isinstance(of, Kept) else None
        function = unwrapped(found)
        return isinstance(function, types.FunctionType) and self.trees.is_own(function)

    def call_protocol(self, of: Reference, name: str, *args: Reference) -> Reference:
        """Walk a user-defined special method, and return what it may return."""
        if not isinstance(of, Kept) or not self.has_protocol(of, name):
            return None
        return self.follow(member(of, name), args)

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
            return likeliest(found)
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
        return likeliest(frame.returned)

    def walk_nested(self, node: FunctionNode, frame: Frame) -> None:
        """Walk a function defined in a function; it may be called later, or never."""
        fresh = dict(self.fresh)
        self._walk(node, nested_frame(node, frame))
        self.fresh = fresh

    def _read_bytecode(self, function: types.FunctionType) -> None:
        """Find the variables that a function without source reads and assigns."""
        code, cells = function.__code__, cells_of(function)
        for step in dis.get_instructions(code):
            name = step.argval
            if step.opname.endswith("_GLOBAL"):
                variables = function.__globals__
                cell: Cell = ("global", id(variables), name)
                what = Kept(name, variables.get(name, UNKNOWN), cell, owner=variables)
            elif step.opname.endswith("_DEREF") and name in cells:
                what = of_cell(name, cells[name])
                cell = ("cell", id(cells[name]), "")
            else:
                continue
            if step.opname.startswith("STORE"):
                place = f"{code.co_filename}:{code.co_firstlineno}, in {function.__qualname__}"
                self.writes.setdefault(cell, KeptState(name, place, what))
            else:
                self.reads.add(cell)

    # Expressions

    def place(self, node: ast.AST, frame: Frame) -> Reference:
        """Return the reference of a name, an attribute or an item, before it is read."""
        match node:
            case ast.Name(id=name):
                return variable(name, frame)
            case ast.Attribute(value=base, attr=name):
                return self._attribute(self.value(base, frame, is_called=True), name)
            case ast.Subscript(value=base, slice=key):
                of = self.value(base, frame, is_called=True)
                self.value(key, frame)
                if isinstance(of, Made):
                    return of.part(conditions.constant(key))
                if not isinstance(of, Kept):
                    return None
                if self.has_protocol(of, "__getitem__"):
                    found = self.call_protocol(of, "__getitem__")
                    if found is not None or not is_container(of.value):
                        return found
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
        """Return an attribute of an object created in a trial: its own, or one of its class."""
        if (of.kind, name) in self._of_instances:
            return self._of_instances[of.kind, name]
        if name == "__class__":
            return Kept(of.kind.__name__, of.kind)
        found = inspect.getattr_static(of.kind, name, None)
        if isinstance(unwrapped(found), types.FunctionType):
            return Kept(name, found, bound=of)
        if isinstance(found, (list, dict, set)) and not self._sets(of.kind, name):
            return member(Kept(of.kind.__name__, of.kind), name)
        return None

    def _sets(self, kind: type, name: str) -> bool:
        """Return whether a class's methods set an attribute on its objects."""
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
                    return None if isinstance(found, Kept) else found
                if not is_called and not found.is_library:
                    self._follow_what_is_passed_on(found, node, frame)
                return found
            case ast.Call():
                return self._call(node, frame)
            case ast.NamedExpr(target=target, value=value):
                self.assign(target, self.value(value, frame), value, node, frame)
                return self.value(target, frame)
            case ast.Starred(value=value) | ast.Await(value=value):
                return self.value(value, frame)
        with self.branch() if isinstance(node, _MAYBE) else contextlib.nullcontext():
            return self._value_of_parts(node, frame)

    def _value_of_parts(self, node: ast.AST, frame: Frame) -> Reference:
        match node:
            case ast.IfExp(test=test, body=body, orelse=orelse):
                self.value(test, frame)
                return likeliest([self.value(body, frame), self.value(orelse, frame)])
            case ast.BoolOp(values=values):
                return likeliest([self.value(part, frame) for part in values])
            case ast.Tuple(elts=elements) | ast.List(elts=elements):
                return Made(dict(enumerate(self._values(elements, frame))))
            case ast.Dict(keys=names, values=elements):
                return Made(self._by_key(names, elements, frame))
            case ast.Compare(left=left, ops=operators, comparators=others):
                is_identity = all(isinstance(each, (ast.Is, ast.IsNot)) for each in operators)
                for compared in (left, *others):
                    self.value(compared, frame, is_called=is_identity)
            case ast.Yield(value=value):
                given = self.value(value, frame)
                if conditions.is_context_manager(frame.node):
                    frame.returned.append(given)
            case ast.ListComp() | ast.SetComp() | ast.GeneratorExp() | ast.DictComp():
                self._comprehension(node, frame)
            case ast.Lambda():
                self.walk_nested(node, frame)
            case _:
                for part in ast.iter_child_nodes(node):
                    self.value(part, frame)
        return None

    def _values(
        self, nodes: Sequence[ast.expr], frame: Frame, is_called: bool = False
    ) -> list[Reference]:
        """Return the references of a sequence's parts, or of a call's arguments."""
        found: list[Reference] = []
        for node in nodes:
            value = self.value(node, frame, is_called)
            is_several = isinstance(node, ast.Starred) and isinstance(value, Made)
            found += value.parts.values() if is_several and isinstance(value, Made) else [value]
        return found

    def _by_key(
        self, names: Sequence[ast.expr | None], parts: Sequence[ast.expr], frame: Frame
    ) -> dict[Any, Reference]:
        """Return the references of a dict's parts, by key where keys are constants."""
        found: dict[Any, Reference] = {}
        for number, (name, part) in enumerate(zip(names, parts, strict=True)):
            self.value(name, frame)
            value = self.value(part, frame)
            if name is None:
                found |= value.parts if isinstance(value, Made) else {}
                continue
            key = conditions.constant(name)
            found[(UNKNOWN, number) if key is UNKNOWN else key] = value
        return found

    def _follow_what_is_passed_on(self, found: Kept, node: ast.AST, frame: Frame) -> None:
        """Walk an object that is not called here, but may be called where it is passed."""
        value = found.value
        if isinstance(value, _CALLABLE):
            self.follow(found)
        elif value is UNKNOWN:  # such as `log.append`
            of = found.bound
            if isinstance(of, Kept) and is_changed_by(found.name.rpartition(".")[2], of):
                self.grow(of, node, frame)
        else:
            for each in parts_of(found, _LOOKED_AT):
                self.follow_object(each)

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
            for value in self.loop_values(generator.iter, inner)[:1]:
                self.assign(generator.target, value, None, generator.target, inner)
            for condition in generator.ifs:
                self.value(condition, inner)
        results = [node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt]
        for result in results:
            self.value(result, inner)

    def loop_values(self, iterated: ast.expr, frame: Frame) -> list[Reference]:
        """Return the references of a loop variable, one for similar iterations."""
        of = self.value(iterated, frame)
        if isinstance(of, Made):
            return of.turns()[:_TURNS]
        if not isinstance(of, Kept):
            return [None]
        self.read_whole(of)
        if isinstance(of.value, Iterator):
            self.grow(of, iterated, frame)
        return [element(of)]

    def _call(self, node: ast.Call, frame: Frame) -> Reference:
        if isinstance(node.func, ast.Name) and node.func.id == "super":
            kind = frame.kind
            return None if kind is None else Kept("super()", _Super(kind, receiver_of(frame)))
        base: Reference = None
        if isinstance(node.func, ast.Attribute):
            base = self.value(node.func.value, frame, is_called=True)
            callee = self.load(self._attribute(base, node.func.attr))
        else:
            callee = self.value(node.func, frame, is_called=True)
        only_looks = isinstance(callee, Kept) and any(callee.value is each for each in _LOOKS)
        args = self._values(node.args, frame, is_called=only_looks)
        kwargs = self._keywords(node.keywords, frame)
        if isinstance(base, Kept) and isinstance(base.value, _Super):
            return self._call_of_super(base.value, callee, node, (args, kwargs), frame)
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
            if node.args and is_shuffle(callee.value):
                self._shuffle(node.args[0], node, frame)
        if isinstance(base, Made) and isinstance(node.func, ast.Attribute) and node.args:
            is_part = node.func.attr in ("get", "setdefault", "pop")
            return base.part(conditions.constant(node.args[0])) if is_part else None
        if isinstance(base, Kept) and isinstance(node.func, ast.Attribute):
            return self._call_of_method(base, node.func.attr, node, frame)
        return None

    def _call_of_super(
        self,
        base: _Super,
        callee: Reference,
        node: ast.Call,
        given: tuple[Sequence[Reference], Mapping[str, Reference]],
        frame: Frame,
    ) -> Reference:
        """Return the result of a base class's method.

        If `log[key] = …` calls a builtin's method through a method of the same name, the item is
        recorded instead.
        """
        if isinstance(callee, Kept) and callee.value is not UNKNOWN:
            followed = self.follow(callee, *given)
            if followed is not None or self._is_own(callee):
                return followed
        method = node.func.attr if isinstance(node.func, ast.Attribute) else ""
        is_of_item = method in _OF_ITEMS and getattr(frame.node, "name", "") == method
        if is_of_item or not isinstance(base.receiver, Kept):
            return None
        return self._call_of_method(base.receiver, method, node, frame)

    def _keywords(self, nodes: Sequence[ast.keyword], frame: Frame) -> dict[str, Reference]:
        found: dict[str, Reference] = {}
        for each in nodes:
            value = self.value(each.value, frame)
            if each.arg is not None:
                found[each.arg] = value
            elif isinstance(value, Made):
                found |= {key: part for key, part in value.parts.items() if isinstance(key, str)}
        return found

    def _shuffle(self, node: ast.expr, call: ast.AST, frame: Frame) -> None:
        place = self.place(node, frame)
        if isinstance(place, Kept) and not place.is_library:
            self.reorder(place, call, frame)

    def _is_own(self, callee: Kept) -> bool:
        function = unwrapped(getattr(callee.value, "__func__", callee.value))
        return isinstance(function, types.FunctionType) and self.trees.is_own(function)

    def _call_of_method(self, base: Kept, method: str, node: ast.Call, frame: Frame) -> Reference:
        """Return the result of a library method of a kept object."""
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
        """Handle `type`, `getattr` and `setattr` of known objects, and functions called later."""
        first = args[0] if args else None
        if isinstance(first, Kept) and any(callee.value is each for each in _CALLING):
            self.follow(first, args[1:] if callee.value is functools.partial else ())
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
