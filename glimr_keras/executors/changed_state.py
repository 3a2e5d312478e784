"""What a trial left changed that was there before it. Runs in the worker, where it is lost.

Only what is small is compared: numbers, texts, containers of them, and objects of the user's own
with such attributes. Arrays and models are not looked at.
"""

from __future__ import annotations

import collections
import inspect
import types
from collections.abc import Iterator
from typing import Any

from glimr_keras.code.trees import CodeTrees, functions_of, unwrapped
from glimr_keras.training.context import TrialContext
from glimr_keras.training.messages import Change

_ITEMS = 1000
_LETTERS = 10_000
_DEPTH = 3
_SIMPLE = (bool, int, float, complex, type(None))
_CONTAINERS = (list, tuple, set, frozenset, collections.deque)


class Watch:
    """Remembers what there is before a trial.

    Args:
        context: What the trial is given.
    """

    def __init__(self, context: TrialContext) -> None:
        self._trees = CodeTrees()
        tuner = getattr(context.loop, "tuner", None)
        self._places = list(self._watched(context.hypermodel, tuner))
        self._before = [self._state_of(variables[name]) for _, name, variables in self._places]

    def changes(self) -> tuple[Change, ...]:
        """Return what is another now."""
        return tuple(
            Change(owner, name, was_none=before == (type(None), None))
            for (owner, name, variables), before in zip(self._places, self._before, strict=True)
            if name in variables and self._state_of(variables[name]) != before
        )

    def _watched(self, *things: Any) -> Iterator[tuple[str, str, dict[str, Any]]]:
        functions: list[types.FunctionType] = []
        for thing in things:
            for name in getattr(thing, "__dict__", ()):
                if name != "_glimr":
                    yield type(thing).__name__, name, vars(thing)
            for kind in type(thing).__mro__:
                functions += [function for _, function in functions_of(kind)]
            functions += filter(
                _is_function, map(unwrapped, getattr(thing, "__dict__", {}).values())
            )
        for name, variables in self._globals(functions):
            yield "", name, variables

    def _globals(self, functions: list[types.FunctionType]) -> Iterator[tuple[str, dict[str, Any]]]:
        """The variables of modules that functions of the user's, and those that they call, use."""
        seen: set[Any] = set()
        waiting = list(functions)
        while waiting:
            function = inspect.unwrap(waiting.pop())
            if function in seen or not _is_function(function) or not self._trees.is_own(function):
                continue
            seen.add(function)
            variables = function.__globals__
            for name in _names(function.__code__):
                value = unwrapped(variables.get(name))
                if _is_function(value):
                    waiting.append(value)
                elif name in variables and (id(variables), name) not in seen:
                    seen.add((id(variables), name))
                    yield name, variables

    def _state_of(self, value: Any, depth: int = _DEPTH) -> Any:
        """What tells a value from another one; the same for all that is not looked at."""
        kind = type(value)
        if isinstance(value, _SIMPLE):
            return kind, value if value == value else "nan"  # noqa: PLR0124
        if isinstance(value, (str, bytes)):
            return kind, value if len(value) < _LETTERS else len(value)
        if isinstance(value, (dict, *_CONTAINERS)):
            if depth == 0 or len(value) > _ITEMS:
                return kind, len(value)
            parts: Any = value.values() if isinstance(value, dict) else value
            parts = sorted(value, key=repr) if isinstance(value, (set, frozenset)) else parts
            keys = tuple(map(repr, value)) if isinstance(value, dict) else ()
            return kind, keys, tuple(self._state_of(each, depth - 1) for each in parts)
        if depth > 0 and hasattr(value, "__dict__") and self._is_plain_object(value):
            return kind, self._state_of(vars(value), depth - 1)
        return None

    def _is_plain_object(self, value: Any) -> bool:
        """Return whether an object is of a class that is wholly the user's."""
        kinds = type(value).__mro__[:-1]
        return not isinstance(value, type) and all(map(self._trees.is_own_class, kinds))


def _names(code: types.CodeType) -> Iterator[str]:
    """Yield the names that code has, and what is defined in it."""
    yield from code.co_names
    for part in code.co_consts:
        if isinstance(part, types.CodeType):
            yield from _names(part)


def _is_function(value: Any) -> bool:
    return isinstance(value, types.FunctionType)
