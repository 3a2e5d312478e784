"""What a trial left changed that was there before it. Runs in the worker, where it is lost.

Only what is small is compared: numbers, texts, arrays, containers of them, and objects of the
user's own with such attributes. Layers and models are not looked at; of arrays neither those that
took the place of others, nor the order of what they have, which data draw anew in each epoch.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import inspect
import types
from collections.abc import Iterator
from typing import Any

import numpy as np

from glimr_keras.code.trees import (
    OF_TRAINING,
    CodeTrees,
    functions_of,
    has_variables,
    unwrapped,
)
from glimr_keras.code.values import IMMUTABLE
from glimr_keras.training.context import TrialContext
from glimr_keras.training.messages import Change

_PARTS = 20_000
"""So many parts are looked at in all; of containers that are met later, the length counts."""
_ITEMS = 1000
_LETTERS = 10_000
_DEPTH = 3
_BYTES_A_PART = 1000
"""So many of an array count as one part."""
_GIVEN = 100
_SIMPLE = (bool, int, float, complex, type(None))
_CONTAINERS = (list, tuple, set, frozenset, collections.deque)
_COPIED = "callbacks"
"""The argument of which each trial has a copy in one process too."""
_UNSEEN = None
"""In the place of what is not looked at."""
_FAILED = object()
"""In the place of what could not be looked at, of which nothing is known."""


@dataclasses.dataclass(frozen=True, eq=False)
class _Content:
    """What an array has, in whatever order."""

    array: np.ndarray
    digest: int

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _Content):
            return False
        return self.array is not other.array or self.digest == other.digest

    __hash__ = None  # type: ignore[assignment]


class Watch:
    """Remembers what there is before a trial.

    It never raises what the user's objects raise: what cannot be looked at is not.

    Args:
        context: What the trial is given.
    """

    def __init__(self, context: TrialContext) -> None:
        self._trees = CodeTrees()
        self._named: dict[type, frozenset[str]] = {}
        self._places: list[tuple[str, str, dict[str, Any]]] = []
        tuner = getattr(context.loop, "tuner", None)
        with contextlib.suppress(Exception):  # of an object that has attributes of any name, say
            self._places += self._watched(context.hypermodel, tuner, *self._given(context))
        self._bounds: list[int] = []
        self._before = self._states()

    def changes(self) -> tuple[Change, ...]:
        """Return what is another now."""
        return tuple(
            Change(owner, name, was_none=before == (type(None), None))
            for (owner, name, variables), before, now in zip(
                self._places, self._before, self._states(), strict=True
            )
            if name in variables and _differ(before, now)
        )

    def _given(self, context: TrialContext) -> Iterator[Any]:
        """The objects of the user's that `fit` is given, such as datasets; callbacks are copied."""
        kwargs = {name: part for name, part in context.arguments.kwargs.items() if name != _COPIED}
        for each in (*context.arguments.args, *kwargs.values()):
            parts = each[:_GIVEN] if isinstance(each, (list, tuple)) else (each,)
            for part in parts:
                if not isinstance(part, IMMUTABLE) and self._trees.has_own_code(part):
                    yield part

    def _watched(self, *things: Any) -> Iterator[tuple[str, str, dict[str, Any]]]:
        functions: list[types.FunctionType] = []
        for thing in things:
            variables = getattr(thing, "__dict__", {})
            for name in variables:
                if name != "_glimr":
                    yield type(thing).__name__, name, variables
            for kind in type(thing).__mro__:
                functions += [function for _, function in functions_of(kind)]
            functions += filter(_is_function, map(unwrapped, variables.values()))
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

    def _states(self) -> list[Any]:
        """The states of all that is watched; `_FAILED` where looking at one fails.

        Each is looked at as far as the first time, so what is the same has the same state.
        """
        self._left = _PARTS
        found: list[Any] = []
        for number, (_, name, variables) in enumerate(self._places):
            if number == len(self._bounds):
                self._bounds.append(self._left)
            self._left = self._bounds[number]
            try:
                found.append(self._state_of(variables[name]))
            except Exception:  # of the user's own `repr`, or since a thread changes it meanwhile
                found.append(_FAILED)
        return found

    def _state_of(self, value: Any, depth: int = _DEPTH) -> Any:
        """What tells a value from another one; the same for all that is not looked at."""
        kind = type(value)
        self._left -= 1
        if isinstance(value, _SIMPLE):
            return kind, value if value == value else "nan"  # noqa: PLR0124
        if isinstance(value, (str, bytes)):
            return kind, value if len(value) < _LETTERS else len(value)
        if isinstance(value, (dict, *_CONTAINERS)):
            if depth == 0 or len(value) > min(_ITEMS, self._left):
                return kind, len(value)
            parts: Any = value.values() if isinstance(value, dict) else value
            parts = sorted(value, key=repr) if isinstance(value, (set, frozenset)) else parts
            keys = tuple(map(repr, value)) if isinstance(value, dict) else ()
            return kind, keys, tuple(self._state_of(each, depth - 1) for each in parts)
        if kind is np.ndarray and value.flags.writeable and not value.dtype.hasobject:
            return kind, self._content_of(value)
        if depth > 0 and self._is_object_of_the_users(value):
            return kind, self._state_of(self._attributes(value), depth - 1)
        return _UNSEEN

    def _content_of(self, array: np.ndarray) -> _Content | None:
        parts = array.nbytes // _BYTES_A_PART
        if parts > self._left:
            return _UNSEEN
        self._left -= parts
        return _Content(array, hash(np.sort(array, axis=None).tobytes()))

    def _is_object_of_the_users(self, value: Any) -> bool:
        kind = type(value)
        is_object = hasattr(value, "__dict__") and not isinstance(value, type)
        return is_object and self._trees.has_own_code(value) and not has_variables(kind)

    def _attributes(self, value: Any) -> dict[str, Any]:
        """The attributes of an object; of one that a library's class is part of, those that the
        user's own code names and that are looked at, since the library's are its own affair.
        """
        kind = type(value)
        if all(map(self._trees.is_own_class, kind.__mro__[:-1])):
            return vars(value)
        if kind not in self._named:
            own = filter(self._trees.is_own_class, kind.__mro__)
            functions = [function for each in own for _, function in functions_of(each)]
            self._named[kind] = frozenset(
                name for function in functions for name in _names(function.__code__)
            )
        return {
            name: part
            for name, part in vars(value).items()
            if name in self._named[kind] and name not in OF_TRAINING
        }


def _differ(before: Any, now: Any) -> bool:
    """Return whether two looks saw different states; one that failed saw nothing."""
    if before is _FAILED or now is _FAILED:
        return False
    try:
        return bool(before != now)
    except Exception:  # of values whose comparison is the user's own
        return False


def _names(code: types.CodeType) -> Iterator[str]:
    """Yield the names that code has, and what is defined in it."""
    yield from code.co_names
    for part in code.co_consts:
        if isinstance(part, types.CodeType):
            yield from _names(part)


def _is_function(value: Any) -> bool:
    return isinstance(value, types.FunctionType)
