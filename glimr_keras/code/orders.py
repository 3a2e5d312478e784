"""Assignments that reorder data without changing its content. Runs in the driver.

The order of samples is randomness, not state: parallel trials have equally good orders. The rest
after drawing and removing some samples is state: the next trial has fewer.
"""

from __future__ import annotations

import ast
import types
from collections.abc import Iterator
from typing import Any

from glimr_keras.code.frames import Frame
from glimr_keras.code.trees import CodeTrees

_WHOLE = frozenset({"shuffle", "permutation", "permuted", "randperm"})
"""Functions that draw an order of all elements."""
_SOME = frozenset({"sample", "choice", "choices"})
"""Functions that draw some elements, or a given number of them."""


def is_reordered(given: Any, key: str, frame: Frame, trees: CodeTrees) -> bool:
    """Return whether an assigned value is the result of a draw, and not the rest after a draw.

    A draw counts if it is in the expression, in the assignments of its names, or in a function of
    the user's that it calls.

    Args:
        given: The expression.
        key: The name, attribute or key that it is assigned to.
        frame: The function that assigns it.
        trees: The trees of the code.
    """
    if not isinstance(given, ast.expr) or isinstance(given, (ast.BinOp, ast.Constant)):
        return False
    nodes = [node for part in _sources(given, frame, trees) for node in ast.walk(part)]
    draws = [node for node in nodes if isinstance(node, ast.Call) and _called(node) in _WHOLE]
    some = [node for node in nodes if isinstance(node, ast.Call) and _called(node) in _SOME]
    if not draws and not some:
        return False
    if not any(_is_named(node, key) for node in nodes):
        return True
    values = dict(_given(frame.node))
    return all(_draws_all(each, values) for each in some) and not any(map(_is_part, nodes))


def _sources(given: ast.expr, frame: Frame, trees: CodeTrees) -> list[ast.AST]:
    """Return the sources of an expression: itself, the values of its names, and functions."""
    found: list[ast.AST] = []
    waiting: list[ast.AST] = [given]
    while waiting:
        part = waiting.pop()
        if any(part is each for each in found):
            continue
        found.append(part)
        if not isinstance(part, ast.expr):  # a function, which has its own names
            continue
        names = {ast.unparse(each) for each in ast.walk(part) if _is_place(each)}
        waiting += [value for name, value in _given(frame.node) if name in names]
        for call in (each for each in ast.walk(part) if isinstance(each, ast.Call)):
            waiting += _functions(call, frame, trees)
    return found


def _given(node: ast.AST) -> Iterator[tuple[str, ast.expr]]:
    """Yield the values of a function's names and attributes, also from loops and shuffles."""
    for each in ast.walk(node):
        match each:
            case ast.Assign(targets=targets, value=value):
                for target in targets:
                    yield from ((name, value) for name in _targets(target))
            case (
                ast.AnnAssign(target=target, value=ast.expr() as value)
                | ast.AugAssign(target=target, value=value)
                | ast.NamedExpr(target=target, value=value)
                | ast.For(target=target, iter=value)
            ):
                yield from ((name, value) for name in _targets(target))
            case ast.Call(args=[first, *_]) if _called(each) in _WHOLE and _is_place(first):
                yield ast.unparse(first), each


def _targets(target: ast.expr) -> Iterator[str]:
    if isinstance(target, (ast.Tuple, ast.List)):
        for part in target.elts:
            yield from _targets(part)
    elif _is_place(target):
        yield ast.unparse(target)


def _functions(call: ast.Call, frame: Frame, trees: CodeTrees) -> list[ast.AST]:
    """Return the trees of the called user's function, of its module or a method of its class."""
    match call.func:
        case ast.Attribute(attr=name):
            function = getattr(frame.kind, name, None)
        case ast.Name(id=name):
            function = frame.variables.get(name)
        case _:
            return []
    if isinstance(function, types.FunctionType) and trees.is_own(function):
        return list(trees.of(function))
    return []


def _called(node: ast.Call) -> str:
    """Return the name of the called function."""
    match node.func:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
    return ""


def _is_place(node: ast.AST) -> bool:
    return isinstance(node, (ast.Name, ast.Attribute))


def _is_named(node: ast.AST, key: str) -> bool:
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name == key
        case ast.Subscript(slice=item):
            return ast.unparse(item) == key
    return False


def _draws_all(call: ast.Call, values: dict[str, ast.expr]) -> bool:
    """Return whether each element is drawn once: `frac=1`, or the length of something.

    Args:
        call: The call that draws.
        values: The values of the function's names.
    """
    given = {each.arg: each.value for each in call.keywords}
    replaces = given.get("replace")
    draws_once = isinstance(replaces, ast.Constant) and not replaces.value
    if not (draws_once or (_called(call) == "sample" and replaces is None)):
        return False
    match given.get("frac"):
        case ast.Constant(value=1):
            return True
    counts = [given[name] for name in ("k", "n", "size") if name in given] or call.args[1:]
    if not counts and _called(call) == "sample":  # as for data frames
        counts = call.args
    return any(_is_count(values.get(ast.unparse(each), each)) for each in counts)


def _is_count(node: ast.expr) -> bool:
    match node:
        case ast.Call(func=ast.Name(id="len")) | ast.Attribute(attr="size"):
            return True
    return False


def _is_part(node: ast.AST) -> bool:
    """Return whether a node takes a part, such as the first elements."""
    return isinstance(node, ast.Slice) and (node.lower is not None or node.upper is not None)
