"""Frames of walked functions, and the references of their names. Runs in the driver."""

from __future__ import annotations

import ast
import builtins
import dataclasses
import inspect
import types
from collections.abc import Mapping, Sequence
from typing import Any

from glimr_keras.code.trees import FunctionNode, functions_of, own_nodes, parameters
from glimr_keras.code.values import UNKNOWN, Instance, Kept, Made, Reference


@dataclasses.dataclass(eq=False)
class Frame:
    """A function that is being walked.

    Attributes:
        file: The file of its code.
        name: Its qualified name.
        variables: The global variables of its module.
        cells: The variables of enclosing functions that are not walked.
        env: Its local variables, if they refer to kept state.
        names: The names of all its local variables.
        node: Its node in the tree.
        declared: The names that it declares as global.
        outer: The enclosing function that is walked.
        kind: The class whose method it is.
        receiver: Its first argument.
        returned: What it may return, or yields to a `with`.
    """

    file: str
    name: str
    variables: dict[str, Any]
    cells: Mapping[str, types.CellType]
    env: dict[str, Reference]
    names: frozenset[str]
    node: FunctionNode
    declared: frozenset[str] = frozenset()
    outer: Frame | None = None
    kind: type | None = None
    receiver: Reference = None
    returned: list[Reference] = dataclasses.field(default_factory=list)


def frame_of(
    node: FunctionNode,
    function: types.FunctionType,
    bound: Reference,
    args: Sequence[Reference],
    kwargs: Mapping[str, Reference],
    kind: type | None,
) -> Frame:
    """Return the frame of a function, called with the known references of its arguments.

    Args:
        node: The node of the function.
        function: The function.
        bound: The object whose method it is.
        args: The positional arguments.
        kwargs: The keyword arguments.
        kind: The class whose method it is, if known.
    """
    env: dict[str, Reference] = {
        name: Kept(name, value, ("default", id(function), name))
        for name, value in _defaults(function).items()
        if isinstance(value, (list, dict, set))
    }
    given = list(args if bound is None else [bound, *args])
    env |= _arguments(node, given, kwargs)
    names, declared = _variables(node)
    receiver = next(iter(given), None)
    return Frame(
        function.__code__.co_filename,
        function.__qualname__,
        function.__globals__,
        cells_of(function),
        env,
        names,
        node,
        declared,
        kind=kind or class_of(function, receiver),
        receiver=receiver,
    )


def _arguments(
    node: FunctionNode, given: Sequence[Reference], kwargs: Mapping[str, Reference]
) -> dict[str, Reference]:
    """Return the references of parameters; `*args` and `**kwargs` get the rest."""
    taken = node.args
    positional = [each.arg for each in (*taken.posonlyargs, *taken.args)]
    named = {*positional, *(each.arg for each in taken.kwonlyargs)}
    found: dict[str, Reference] = dict(zip(positional, given, strict=False))
    found |= {name: value for name, value in kwargs.items() if name in named}
    if taken.vararg is not None:
        found[taken.vararg.arg] = Made(dict(enumerate(given[len(positional) :])))
    if taken.kwarg is not None:
        left = {name: value for name, value in kwargs.items() if name not in named}
        found[taken.kwarg.arg] = Made(left)
    return found


def nested_frame(node: FunctionNode, frame: Frame) -> Frame:
    """Return the frame of a function that is defined in a walked function."""
    names, declared = _variables(node)
    name = "<lambda>" if isinstance(node, ast.Lambda) else node.name
    return dataclasses.replace(
        frame,
        name=name,
        env={},
        names=names,
        node=node,
        declared=declared,
        outer=frame,
        returned=[],
    )


def cells_of(function: types.FunctionType) -> dict[str, types.CellType]:
    """Return the variables that a function captures from enclosing functions."""
    return dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=False))


def variable(name: str, frame: Frame) -> Reference:
    """Return the reference of a name, as its function or the script set it."""
    around: Frame | None = frame
    while around is not None and name not in around.declared:
        if name in around.names:
            return around.env.get(name)
        if name in around.cells:
            return of_cell(name, around.cells[name])
        around = around.outer
    if name not in frame.variables and hasattr(builtins, name):
        return Kept(name, getattr(builtins, name), is_library=True)
    value = frame.variables.get(name, UNKNOWN)
    cell = ("global", id(frame.variables), name)
    return Kept(name, value, cell, owner=frame.variables)


def of_cell(name: str, cell: types.CellType) -> Kept:
    """Return the reference of a closure's variable."""
    try:
        value = cell.cell_contents
    except ValueError:  # it is empty
        value = UNKNOWN
    return Kept(name, value, ("cell", id(cell), ""), owner=cell)


def of_object(value: Any, name: str | None = None) -> Kept:
    """Return the reference of a kept object, named by its type or by the call's keyword."""
    return Kept(name or type(value).__name__, value, ("object", id(value)))


def key_of(reference: Reference) -> Any:
    match reference:
        case Kept():
            return id(reference.value) if reference.value is not UNKNOWN else reference.name
        case Instance():
            return reference.kind
        case Made():
            parts = reference.parts.items()
            return tuple(
                (name, id(part) if isinstance(part, Made) else key_of(part)) for name, part in parts
            )
    return None


def kinds_of(reference: Reference) -> tuple[type, ...]:
    """Return the classes of an object, or a class itself and its bases."""
    if isinstance(reference, Instance):
        return reference.kind.__mro__
    if isinstance(reference, Kept) and reference.value is not UNKNOWN:
        value = reference.value
        return (value if isinstance(value, type) else type(value)).__mro__
    return ()


def class_of(function: types.FunctionType, bound: Reference) -> type | None:
    """Return the class that defines a method."""
    for kind in kinds_of(bound):
        for _, each in functions_of(kind):
            if inspect.unwrap(each) is function:
                return kind
    return None


def receiver_of(frame: Frame) -> Reference:
    around: Frame | None = frame
    while around is not None and around.receiver is None:
        around = around.outer
    return None if around is None else around.receiver


def owner_frame(name: str, frame: Frame) -> Frame | None:
    """Return the walked function that has a name as a local variable."""
    around: Frame | None = frame
    while around is not None and name not in around.declared:
        if name in around.names:
            return around
        if name in around.cells:
            return None
        around = around.outer
    return None


def _defaults(function: types.FunctionType) -> dict[str, Any]:
    code, values = function.__code__, function.__defaults__ or ()
    names = code.co_varnames[code.co_argcount - len(values) : code.co_argcount]
    return {**dict(zip(names, values, strict=False)), **(function.__kwdefaults__ or {})}


def _variables(node: FunctionNode) -> tuple[frozenset[str], frozenset[str]]:
    """Return the names of a function's local variables, and those that it declares as global."""
    names, others, declared = set(parameters(node)), set(), set()
    for each in own_nodes(node):
        match each:
            case ast.Name(id=name, ctx=ast.Store() | ast.Del()):
                names.add(name)
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                names.add(name)
            case ast.ClassDef(name=name) | ast.ExceptHandler(name=str(name)):
                names.add(name)
            case ast.alias(name=name, asname=asname):
                names.add(asname or name.partition(".")[0])
            case ast.Global(names=found):
                declared |= set(found)
            case ast.Nonlocal(names=found):
                others |= set(found)
    return frozenset(names - declared - others), frozenset(declared)
