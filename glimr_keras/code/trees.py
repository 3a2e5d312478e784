"""The syntax trees of functions, and the distinction of user code from libraries. Runs in the
driver.
"""

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

OF_TRAINING = ("model", "_model", "params", "_params", "validation_data")
"""Attributes that training sets on a callback."""
_OF_MAKING = frozenset(
    (
        *("__init__", "__new__", "__del__", "__init_subclass__", "__set_name__", "__post_init__"),
        *("__getstate__", "__setstate__", "__reduce__", "__reduce_ex__", "__copy__"),
        *("__deepcopy__", "__class_getitem__", "get_config", "from_config"),
    )
)
"""Methods that create and copy objects."""
_OF_VARIABLES = ("add_weight", "add_variable", "trainable_variables", "register_parameter")
_BEGIN = ("__iter__", "__enter__", "set_params", "set_model", "on_train_begin")
_END = ("on_epoch_end", "on_train_end", "__exit__")


class CodeTrees:
    """The trees of functions; each file is read once.

    Args:
        packages: Names of installed packages whose code counts as the user's, since their classes
            run trials. Defaults to `()`.
    """

    def __init__(self, packages: Iterable[str] = ()) -> None:
        self._packages = frozenset(packages)
        self._trees: dict[str, ast.Module | None] = {}
        self._functions: dict[str, dict[tuple[str, int], list[FunctionNode]]] = {}
        self._own_classes: dict[type, bool] = {}

    def is_own(self, function: types.FunctionType) -> bool:
        """Return whether a function is the user's, not a library's."""
        return self.is_own_module(function.__code__.co_filename, function.__module__)

    def is_own_module(self, file: str | None, name: str | None) -> bool:
        """Return whether code in a file, in a module of this name, is the user's."""
        return is_own_file(file, name, self._packages)

    def is_own_class(self, kind: type) -> bool:
        """Return whether a class is user-defined: at least one of its functions is."""
        if kind not in self._own_classes:
            found = any(self.is_own(function) for _, function in functions_of(kind))
            self._own_classes[kind] = found
        return self._own_classes[kind]

    def has_own_code(self, value: Any) -> bool:
        """Return whether an object's class, or one of its bases, is user-defined."""
        return any(map(self.is_own_class, type(value).__mro__))

    def called_by_libraries(self, kind: type) -> Iterator[str]:
        """Yield the user's methods that a library may call on an object of a class.

        These are overridden library methods, methods of Python's protocols, and events. They come
        in the order in which they would be called.
        """
        own = [each for each in kind.__mro__ if self.is_own_class(each)]
        theirs = {name for each in kind.__mro__[:-1] if each not in own for name in vars(each)}
        names = dict.fromkeys(name for each in own for name, _ in functions_of(each))
        for name in sorted(names, key=_turn):
            is_protocol = name.startswith("__") and name.endswith("__") and name not in _OF_MAKING
            if is_protocol or name.startswith("on_") or (name in theirs and name not in _OF_MAKING):
                yield name

    def of(self, function: types.FunctionType) -> list[FunctionNode]:
        """Return the function's tree, or its candidates; empty without source.

        Several lambdas in one line are candidates if they take the same arguments.
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
        """Return the tree of a file or of a notebook's cell."""
        if file not in self._trees:
            lines = linecache.getlines(file, variables)
            try:
                self._trees[file] = ast.parse("".join(lines)) if lines else None
            except (SyntaxError, ValueError):  # the file has changed
                self._trees[file] = None
        return self._trees[file]

    def is_attribute_read(self, name: str, walked: Container[int]) -> bool:
        """Return whether code in the files read so far reads an attribute of this name.

        Args:
            name: The name of the attribute.
            walked: The ids of function nodes to ignore.
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


def is_of_package(kind: type) -> bool:
    """Return whether a class derives from one of ours: a hypermodel, a tuner, an oracle."""
    ours = __name__.partition(".")[0]
    return any(each.__module__.partition(".")[0] == ours for each in kind.__mro__)


def is_callback(kind: type) -> bool:
    """Return whether objects of a class receive a model before training."""
    return hasattr(kind, "set_model")


def is_data(kind: type) -> bool:
    """Return whether objects of a class provide batches or samples."""
    return hasattr(kind, "__getitem__") or hasattr(kind, "__iter__")


def has_variables(kind: type) -> bool:
    """Return whether training changes variables of a class's objects.

    This holds for layers, metrics, optimizers and modules.
    """
    return any(hasattr(kind, name) for name in _OF_VARIABLES)


def functions_of(kind: type) -> Iterator[tuple[str, types.FunctionType]]:
    """Yield the functions that a class itself defines, including properties, by name."""
    for name, member in vars(kind).items():
        found = member.fget if isinstance(member, property) else unwrapped(member)
        if isinstance(found, types.FunctionType):
            yield name, found


def _turn(method: str) -> tuple[int, int]:
    """Return a sort key for the order in which an object's methods are called."""
    if method in _BEGIN:
        return 0, _BEGIN.index(method)
    if method in _END:
        return 3, _END.index(method)
    return 1 if method.endswith("_begin") else 2, 0


def unwrapped(function: Any) -> Any:
    """Return the function inside a static method, a class method, or decorators."""
    seen = 0
    while not isinstance(function, (type, types.FunctionType)) and seen < 9:
        inner = getattr(function, "__func__", None) or getattr(function, "__wrapped__", None)
        inner = inner or getattr(function, "python_function", None)  # of TensorFlow
        if inner is None:
            break
        function, seen = inner, seen + 1
    return function


def own_nodes(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes of a function's own body.

    The bodies of functions and classes nested in it are left out.
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
    """Return the name and first line that identify a function's code."""
    if isinstance(node, ast.Lambda):
        return "<lambda>", node.lineno
    return node.name, min([node.lineno, *(each.lineno for each in node.decorator_list)])


def _taken(code: types.CodeType) -> tuple[str, ...]:
    """Return the names of the parameters of a code object."""
    count = code.co_argcount + code.co_kwonlyargcount
    count += bool(code.co_flags & inspect.CO_VARARGS) + bool(code.co_flags & inspect.CO_VARKEYWORDS)
    return code.co_varnames[:count]
