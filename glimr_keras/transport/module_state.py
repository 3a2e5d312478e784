"""What a script has set in modules of its own, such as `settings.UNITS = 64`, on its way to
workers, which import these modules anew. Runs in driver and worker.

Sent are variables of modules and attributes of classes and functions, each pickled by itself, if
that takes few bytes (`small_values`). What has something of the main script goes along with the
context (`Rebound`). Anything else is what the module makes it to be in each worker: a large table,
a connection, a cache that was filled. It is told of if a worker has nothing in its place.

Each trial begins with what the script has, but for what a process has filled since: a variable that
is no longer small is left alone once it was set, and so is what changed while a module was imported
that the driver does not have, such as a registry.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import enum
import functools
import os
import pathlib
import sys
import types
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from glimr_keras._utils.own_code import is_own_file
from glimr_keras._utils.saying import say
from glimr_keras.transport.custom_objects import is_by_value
from glimr_keras.transport.imports import IMPORTS
from glimr_keras.transport.small_values import (
    NotHereError,
    OfMainError,
    is_filled,
    read,
    written,
    written_or_none,
)

_MISSING = object()

Path = tuple[str, ...]
"""The names of a variable, and of the objects that contain it, in a module."""


@dataclasses.dataclass(frozen=True)
class _Module:
    """What a module has in the driver.

    Attributes:
        file: Where it is.
        names: Of all its variables.
        values: What is sent, pickled, by path.
        others: What else its public variables are, in words.
    """

    file: str
    names: frozenset[str]
    values: Mapping[Path, bytes]
    others: Mapping[str, str]


@dataclasses.dataclass(frozen=True)
class ModuleState:
    """The state of the user's modules in the driver, by name."""

    contents: Mapping[str, _Module]

    @classmethod
    def current(cls) -> ModuleState:
        """Return the module state of this process."""
        return cls({name: _content(name, module) for name, module in _own_modules()})

    @property
    def is_whole(self) -> bool:
        """Return whether a process that imports the modules anew has the whole state that they have
        here.
        """
        return not any(content.others for content in self.contents.values())

    def take_over(self) -> None:
        """Apply the state to this process' modules; to modules not imported yet, on import."""
        IMPORTS.expect(
            {
                name: [functools.partial(_give, content=content)]
                for name, content in self.contents.items()
            }
        )


@dataclasses.dataclass(frozen=True)
class Rebound:
    """What the script has put into modules of its own that has something of the main script.

    Attributes:
        values: Each with the module's name, and its path there.
    """

    values: Sequence[tuple[str, Path, Any]]

    @classmethod
    def current(cls, is_sendable: Callable[[Any], bool]) -> Rebound:
        """Those of this process. What cannot be sent is told of."""
        sent = []
        for name, module in _own_modules():
            for path, value in _variables(name, module):
                if not _is_of_main(value):
                    continue
                if is_sendable(value):
                    sent.append((name, path, value))
                else:
                    say(
                        f"What the script has set as `{'.'.join((name, *path))}` cannot be sent to "
                        f"workers, where trials have what the module itself sets. It is "
                        f"{_likeness(value)}."
                    )
        return cls(sent)

    def install(self) -> None:
        """Put the values into this process' modules; into modules not imported yet, on import."""
        wanted: dict[str, list[Callable[[Any], None]]] = collections.defaultdict(list)
        for name, path, value in self.values:
            wanted[name].append(functools.partial(_put_of_main, path=path, value=value))
        IMPORTS.expect_too(wanted)


# In the driver


def _own_modules() -> Iterator[tuple[str, types.ModuleType]]:
    """Yield the user's modules that a worker would import."""
    for name, module in list(sys.modules.items()):
        # What C libraries are seen by in Python says that it is a module, and has nothing of one
        if issubclass(type(module), types.ModuleType) and not name.startswith("__"):
            file = object.__getattribute__(module, "__dict__").get("__file__")
            if isinstance(file, str) and is_own_file(file, name) and not is_by_value(name):
                yield name, module


def _content(name: str, module: types.ModuleType) -> _Module:
    values: dict[Path, bytes] = {}
    others: dict[str, str] = {}
    for path, value in _variables(name, module):
        try:
            values[path] = written(value)
        except OfMainError:  # `Rebound` has it
            continue
        except Exception:  # whatever the user's objects raise
            if len(path) == 1 and not path[0].startswith("_"):  # those are made when needed
                others[path[0]] = _likeness(value)
    return _Module(str(module.__file__), frozenset(vars(module)), values, others)


def _variables(name: str, owner: Any, above: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Yield a module's variables, and the attributes of its own classes and functions."""
    for key, value in list(vars(owner).items()):
        path, kind = (*above, key), type(value)
        is_ours = value is sys.path or value is sys.argv  # `Surroundings` has them
        if _is_special(key) or issubclass(kind, types.ModuleType) or is_ours:
            continue
        if issubclass(kind, (type, types.FunctionType)) and (
            (value.__module__, value.__qualname__) == (name, ".".join(path))
        ):
            if not issubclass(kind, enum.EnumMeta):
                yield from _variables(name, value, path)
            continue
        yield path, value


def _is_special(name: str) -> bool:
    return name.startswith("__") and name.endswith("__")


def _is_of_main(value: Any) -> bool:
    try:
        written(value)
    except OfMainError:
        return True
    except Exception:
        return False
    return False


def _likeness(value: Any) -> str:
    kind = value if issubclass(type(value), (type, types.FunctionType)) else type(value)
    text = f"{kind.__module__}.{kind.__qualname__}".removeprefix("builtins.")
    if kind is np.ndarray:
        return f"{text} of shape {value.shape}"
    if kind in (str, bytes, list, dict):
        return f"{text} of length {len(value)}"
    return text


# In the worker


@dataclasses.dataclass
class _Given:
    """What a module of this process was given.

    Attributes:
        names: Of the variables that it had before.
        values: By path, as they were sent.
        kept: The paths of those that are left alone while the same is sent.
    """

    names: set[str]
    values: dict[Path, bytes] = dataclasses.field(default_factory=dict)
    kept: set[Path] = dataclasses.field(default_factory=set)


_GIVEN: weakref.WeakKeyDictionary[Any, _Given] = weakref.WeakKeyDictionary()


@contextlib.contextmanager
def keeping_what_changes() -> Iterator[None]:
    """Let later trials find modules as a block leaves them, where it changes them."""
    before = [
        (module, given, set(vars(module)), {path: _state(module, path) for path in given.values})
        for module, given in list(_GIVEN.items())
    ]
    try:
        yield
    finally:
        for module, given, names, states in before:
            given.names |= vars(module).keys() - names
            given.kept |= {path for path in states if _state(module, path) != states[path]}


def _state(module: Any, path: Path) -> bytes | None:
    with contextlib.suppress(AttributeError):
        return written_or_none(_found(module, path)[1])
    return None


def _give(module: Any, content: _Module) -> None:
    given = _GIVEN.setdefault(module, _Given(set(vars(module))))
    for left in vars(module).keys() - content.names - given.names:
        value = vars(module)[left]
        is_named = issubclass(type(value), (type, types.FunctionType))
        if not _is_special(left) and not is_named and written_or_none(value) is not None:
            delattr(module, left)  # which another trial has set
    places = _places(content.file, getattr(module, "__file__", None) or content.file)
    taking = _Taking(module, given, places)
    waiting = [each for each in content.values.items() if not taking.takes(*each, at_once=True)]
    taking.repair()
    # Modules import one another, so what is in them can be had when all of them are there
    IMPORTS.when_idle(functools.partial(_finish, taking, waiting, content.others))


def _finish(
    taking: _Taking, waiting: Sequence[tuple[Path, bytes]], others: Mapping[str, str]
) -> None:
    for path, content in waiting:
        taking.takes(path, content)
    taking.repair()
    for name, text in others.items():
        if vars(taking.module).get(name) is None:
            say(
                f"A variable of a module of the script is missing in trials, since it is too large "
                f"or cannot be sent: `{taking.module.__name__}.{name}` is {text} in the script, "
                "and missing or None in a worker, which imports the module anew. Set it where the "
                "module is imported, or make it an attribute of the HyperModel."
            )


def _places(there: str, here: str) -> tuple[str, str]:
    """The directories that make a file another one on another machine: all that is above what its
    two paths have in common at their ends.
    """
    one, other = pathlib.Path(there), pathlib.Path(here)
    while one.name == other.name and one != one.parent and other != other.parent:
        one, other = one.parent, other.parent
    return str(one).rstrip(os.sep), str(other).rstrip(os.sep)


class _Taking:
    """Gives the variables of a module their values.

    Args:
        given: What they were given before.
        places: As for `small_values.read`.
    """

    def __init__(self, module: Any, given: _Given, places: tuple[str, str]) -> None:
        self.module = module
        self._given, self._places = given, places
        self._settled: dict[Path, tuple[bytes, bytes | None]] = {}

    def takes(self, path: Path, content: bytes, at_once: bool = False) -> bool:
        """Gives a variable its value, and returns whether that is done.

        Args:
            at_once: Whether it is done only if nothing has to be imported for it.
        """
        try:
            self._take(path, content, at_once)
        except Exception as error:
            if at_once:
                return False
            _say_without(self.module, path, error)
        return True

    def _take(self, path: Path, content: bytes, at_once: bool) -> None:
        owner, now = _found(self.module, path)
        here = None if now is _MISSING else written_or_none(now)
        is_given = self._given.values.get(path) == content
        if not is_given:
            self._given.kept.discard(path)
        is_left = is_given and (here is None or path in self._given.kept)
        if here != content and (now is _MISSING or not is_left):
            keep = now is not _MISSING and now is not None
            try:
                value = read(content, self._places, keep, imports=not at_once)
            except NotHereError:
                if at_once:
                    raise
                return  # this machine has paths of its own
            wanted = written_or_none(value)
            if here is None or here != wanted:
                _put(owner, path[-1], now, value)
            here = wanted
        self._given.values[path] = content
        self._settled[path] = (content, here)

    def repair(self) -> None:
        """Sets variables anew that another one's contents went into, as `CURRENT = SMALL` has two
        names for one object.
        """
        for path, (content, here) in self._settled.items():
            with contextlib.suppress(Exception):
                owner, now = _found(self.module, path)
                if here is not None and written_or_none(now) != here:
                    setattr(owner, path[-1], read(content, self._places))
        self._settled.clear()


def _found(module: Any, path: Path) -> tuple[Any, Any]:
    """Return the object that contains a variable, and the variable's value."""
    owner = functools.reduce(getattr, path[:-1], module)
    return owner, vars(owner).get(path[-1], _MISSING)


def _put(owner: Any, name: str, now: Any, value: Any, objects: bool = True) -> None:
    if not is_filled(now, value, objects):
        setattr(owner, name, value)


def _put_of_main(module: Any, path: Path, value: Any) -> None:
    try:
        owner, now = _found(module, path)
        _put(owner, path[-1], now, value, objects=False)
    except Exception as error:
        _say_without(module, path, error)


def _say_without(module: Any, path: Path, error: Exception) -> None:
    say(
        f"What the script has set as `{'.'.join((module.__name__, *path))}` cannot be taken over "
        f"in trials, which go on without it ({type(error).__name__}: {error})."
    )
