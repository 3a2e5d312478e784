"""The syntax trees of functions, and which code is the user's own. Runs in the driver."""

from __future__ import annotations

import ast
import inspect
import linecache
import types
from collections.abc import Container, Iterable, Iterator
from typing import Any

from glimr_keras._utils.own_code import is_own_file

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
NestedScope = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef


class CodeTrees:
    """Finds the trees of functions; each file is read once.

    Args:
        packages: Names of installed packages whose code counts as the user's own, since their
            classes run trials.
    """

    def __init__(self, packages: Iterable[str] = ()) -> None:
        self._packages = frozenset(packages)
        self._trees: dict[str, ast.Module | None] = {}
        self._functions: dict[str, dict[tuple[str, int], list[FunctionNode]]] = {}
        self._own_classes: dict[type, bool] = {}

    def is_own(self, function: types.FunctionType) -> bool:
        """Return whether a function is the user's, and no library's."""
        return self.is_own_module(function.__code__.co_filename, function.__module__)

    def is_own_module(self, file: str | None, name: str | None) -> bool:
        """Return whether what is defined in a file, in a module of this name, is the user's."""
        return is_own_file(file, name, self._packages)

    def is_own_class(self, kind: type) -> bool:
        """Return whether a class is the user's: one of its functions is."""
        if kind not in self._own_classes:
            found = any(self.is_own(function) for _, function in functions_of(kind))
            self._own_classes[kind] = found
        return self._own_classes[kind]

    def of(self, function: types.FunctionType) -> list[FunctionNode]:
        """Return the function's tree, or those that may be it: of several lambdas in a line, all
        that take the same arguments. None where there is no source.
        """
        code = function.__code__
        tree = self.of_file(code.co_filename, function.__globals__)
        if tree is None:
            return []
        if code.co_filename not in self._functions:
            found: dict[tuple[str, int], list[FunctionNode]] = {}
            for node in ast.walk(tree):
                if isinstance(node, FunctionNode):
                    found.setdefault(_name_and_line(node), []).append(node)
            self._functions[code.co_filename] = found
        nodes = self._functions[code.co_filename].get((code.co_name, code.co_firstlineno), [])
        return [node for node in nodes if sorted(parameters(node)) == sorted(_taken(code))]

    def of_file(self, file: str, variables: dict[str, Any] | None = None) -> ast.Module | None:
        """Return the tree of a file, a notebook's cell included."""
        if file not in self._trees:
            lines = linecache.getlines(file, variables)
            try:
                self._trees[file] = ast.parse("".join(lines)) if lines else None
            except (SyntaxError, ValueError):  # the file is another now
                self._trees[file] = None
        return self._trees[file]

    def is_attribute_read(self, name: str, walked: Container[int]) -> bool:
        """Return whether one of the files that were read has code that reads an attribute of this
        name.

        Args:
            walked: The ids of functions' nodes that do not count.
        """
        waiting: list[ast.AST] = [tree for tree in self._trees.values() if tree is not None]
        while waiting:
            node = waiting.pop()
            if id(node) in walked:
                continue
            match node:
                case ast.Attribute(attr=attr, ctx=ast.Load()) if attr == name:
                    return True
            waiting.extend(ast.iter_child_nodes(node))
        return False


def functions_of(kind: type) -> Iterator[tuple[str, types.FunctionType]]:
    """Yield the functions that a class itself defines, its properties' included, by name."""
    for name, member in vars(kind).items():
        found = member.fget if isinstance(member, property) else plain(member)
        if isinstance(found, types.FunctionType):
            yield name, found


def plain(function: Any) -> Any:
    """Return the function in a static method, a class method, or what decorators made of it."""
    seen = 0
    while not isinstance(function, (type, types.FunctionType)) and seen < 9:
        inner = getattr(function, "__func__", None) or getattr(function, "__wrapped__", None)
        inner = inner or getattr(function, "python_function", None)  # of TensorFlow
        if inner is None:
            break
        function, seen = inner, seen + 1
    return function


def own_nodes(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes of a function's own body; of functions and classes in there, only their
    nodes themselves.
    """
    waiting = list(ast.iter_child_nodes(node))
    while waiting:
        each = waiting.pop()
        yield each
        if not isinstance(each, NestedScope):
            waiting.extend(ast.iter_child_nodes(each))


def parameters(node: FunctionNode) -> list[str]:
    """Return the names of a function's parameters, positional ones first."""
    args = node.args
    named = [*args.posonlyargs, *args.args, *args.kwonlyargs]
    return [each.arg for each in (*named, args.vararg, args.kwarg) if each is not None]


def _name_and_line(node: FunctionNode) -> tuple[str, int]:
    """Return by what a function's code is found: its name, and the line where it begins."""
    if isinstance(node, ast.Lambda):
        return "<lambda>", node.lineno
    return node.name, min([node.lineno, *(each.lineno for each in node.decorator_list)])


def _taken(code: types.CodeType) -> tuple[str, ...]:
    """Return the names of the parameters of code."""
    count = code.co_argcount + code.co_kwonlyargcount
    count += bool(code.co_flags & inspect.CO_VARARGS) + bool(code.co_flags & inspect.CO_VARKEYWORDS)
    return code.co_varnames[:count]
