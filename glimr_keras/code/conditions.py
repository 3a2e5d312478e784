"""What single expressions imply about kept state: whether it exists yet. Runs in the driver."""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence
from typing import Any, TypeGuard

from glimr_keras.code.values import UNKNOWN, Cell

Step = tuple[str, str]
"""How something is changed in place, and the operand of the change."""
UNSURE: Step = ("", "")
_NONE: frozenset[Cell] = frozenset()
_MISSING = frozenset({"AttributeError", "NameError", "KeyError", "LookupError"})


def guards(
    test: ast.expr, cell_of: Callable[[ast.expr], Cell | None]
) -> tuple[frozenset[Cell], frozenset[Cell]]:
    """Return the cells that are unset where a test is true, and those unset where it is false.

    Args:
        test: The test.
        cell_of: Returns the cell that a name, an attribute or an item refers to.
    """
    match test:
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            absent, present = guards(operand, cell_of)
            return present, absent
        case ast.Compare(left=left, ops=[ast.Is() | ast.Eq()], comparators=[other]):
            return (_cells(left, cell_of) if _is_none(other) else _NONE), _NONE
        case ast.Compare(left=left, ops=[ast.IsNot() | ast.NotEq()], comparators=[other]):
            return _NONE, (_cells(left, cell_of) if _is_none(other) else _NONE)
        case ast.Compare(left=key, ops=[ast.In() | ast.NotIn()], comparators=[container]):
            found = _cells(_item(container, key), cell_of)
            return (found, _NONE) if isinstance(test.ops[0], ast.NotIn) else (_NONE, found)
        case ast.Call(func=ast.Name(id="hasattr"), args=[of, ast.Constant(value=str(name))]):
            return _NONE, _cells(ast.Attribute(of, name, ast.Load()), cell_of)
        case ast.BoolOp(op=ast.And(), values=values):
            found = _NONE.union(*(guards(value, cell_of)[0] for value in values))
            return found, _NONE
        case ast.Name() | ast.Attribute() | ast.Subscript():
            return _NONE, _cells(test, cell_of)
    return _NONE, _NONE


def computed_from(value: ast.expr) -> ast.expr | None:
    """Return the kept value that an expression reuses if set, and otherwise computes."""
    match value:
        case ast.BoolOp(op=ast.Or(), values=[first, *_]):
            return first
        case ast.IfExp(test=ast.Compare(left=left, ops=[_], comparators=[other])):
            return left if _is_none(other) else None
        case ast.IfExp(test=ast.UnaryOp(op=ast.Not(), operand=operand)):
            return operand
        case ast.IfExp(test=ast.Name() | ast.Attribute() as test):
            return test
    return None


def constant(node: ast.expr) -> Any:
    """Return the value of a constant, or `UNKNOWN`."""
    return node.value if isinstance(node, ast.Constant) else UNKNOWN


def is_context_manager(node: ast.AST) -> bool:
    """Return whether a function is decorated as a context manager for `with`."""
    decorators = getattr(node, "decorator_list", ())
    return any("contextmanager" in ast.unparse(each) for each in decorators)


def step_of(node: ast.AST) -> Step:
    """Return how a node changes something in place, and the operand."""
    match node:
        case ast.AugAssign(op=operator, value=value):
            return type(operator).__name__, ast.unparse(value)
        case ast.Call(func=ast.Attribute(attr=name), args=args, keywords=[]):
            return name, ", ".join(map(ast.unparse, args))
    return UNSURE


def is_undone(steps: Sequence[Step]) -> bool:
    """Return whether changes remove again, last first, what they have added."""
    left: list[Step] = []
    for how, what in steps:
        if left and (how, what) in _undoing(left[-1]):
            left.pop()
        else:
            left.append((how, what))
    return not left


def _undoing(step: Step) -> tuple[Step, ...]:
    """Return the changes that undo a change."""
    match step:
        case ("append" | "push", _):
            return ("pop", ""), ("pop", "-1")
        case ("appendleft", _):
            return (("popleft", ""),)
        case ("add", what):
            return ("remove", what), ("discard", what)
        case ("Add" | "Sub" as how, what):
            return (("Sub" if how == "Add" else "Add", what),)
    return ()


def is_in_place(node: ast.Call) -> bool:
    """Return whether a call has `inplace=True`."""
    return any(
        each.arg == "inplace" and isinstance(each.value, ast.Constant) and each.value.value is True
        for each in node.keywords
    )


def is_of_what_is_missing(handler: ast.ExceptHandler) -> bool:
    """Return whether a handler catches the errors of missing names, attributes or keys."""
    kinds = [] if handler.type is None else ast.walk(handler.type)
    return any(isinstance(each, ast.Name) and each.id in _MISSING for each in kinds)


def is_slice(node: ast.AST) -> bool:
    """Return whether the key of an item is one or several slices."""
    key = node.slice if isinstance(node, ast.Subscript) else None
    parts = key.elts if isinstance(key, ast.Tuple) else [key]
    return any(isinstance(part, ast.Slice) for part in parts)


def is_loaded(tree: ast.Module, name: str, key: str | None, line: int, walked: set[int]) -> bool:
    """Return whether a script reads a global below a line, before it assigns it itself.

    Functions that were walked do not count.

    Args:
        tree: The tree of the script.
        name: The name of the global.
        key: The source of the item's key, or `None` for the global itself.
        line: The line.
        walked: The ids of the nodes of functions that were walked.
    """
    waiting: list[ast.AST] = [tree]
    loads: list[int] = []
    stores: list[int] = []
    while waiting:
        node = waiting.pop()
        if id(node) in walked:
            continue
        waiting.extend(ast.iter_child_nodes(node))
        if isinstance(node, ast.Subscript) and _is_name(node.value, name):
            waiting.remove(node.value)
            if key not in (None, ast.unparse(node.slice)):
                continue
            node = node.value
        if _is_name(node, name) and node.lineno > line:
            (loads if isinstance(node.ctx, ast.Load) else stores).append(node.lineno)
    return bool(loads) and min(loads) <= min(stores, default=min(loads))


def _is_name(node: ast.AST, name: str) -> TypeGuard[ast.Name]:
    return isinstance(node, ast.Name) and node.id == name


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _item(container: ast.expr, key: ast.expr) -> ast.expr:
    match container:
        case ast.Call(func=ast.Attribute(value=base, attr="keys"), args=[]):
            return ast.Subscript(base, key, ast.Load())
    return ast.Subscript(container, key, ast.Load())


def _cells(node: ast.expr, cell_of: Callable[[ast.expr], Cell | None]) -> frozenset[Cell]:
    if not isinstance(node, (ast.Name, ast.Attribute, ast.Subscript)):
        return _NONE
    found = cell_of(node)
    return _NONE if found is None else frozenset({found})
