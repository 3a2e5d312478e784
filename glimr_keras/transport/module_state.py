"""What a script has set in modules of its own, such as `settings.UNITS = 64`, on its way to
workers, which import these modules anew. Runs in driver and worker.

Sent are variables of modules and attributes of classes and functions: plain values and objects made
of such, and classes and functions by where they are found. What the main script put there itself
goes along with the context (`Rebound`). Anything else is compared, and told of where it differs.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import dataclasses
import datetime
import decimal
import enum
import fractions
import functools
import importlib
import importlib.abc
import importlib.machinery
import operator
import pathlib
import pickle
import sys
import types
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from ray import cloudpickle

from glimr_keras._utils.own_code import is_own_file
from glimr_keras._utils.saying import say
from glimr_keras.transport.custom_objects import place_of

_MOST = 10_000
"""So many values a variable may be made of."""
_FEW = 1000
_NESTED = 3
"""So many in a container, and containers in one another, are looked through for what is of the main
script."""
_LONGEST = 2**16
"""Characters or bytes of one of them."""
_DEEPEST = 20
_SIMPLE = (
    *(bool, int, float, complex, str, bytes, type(None), type(...), slice, range, np.generic),
    *(pathlib.PurePath, decimal.Decimal, fractions.Fraction, uuid.UUID, np.dtype),
    *(datetime.date, datetime.time, datetime.timedelta, enum.Enum),
)
_CONTAINERS = (list, tuple, set, frozenset, dict, collections.deque)
_NAMED = (type, types.FunctionType, types.BuiltinFunctionType)
_KNOWN = {"builtins", *sys.stdlib_module_names, "numpy"}
_NUMBERS = frozenset((bool, int, float, complex, type(None)))
_MISSING = object()

Path = tuple[str, ...]
"""The names of a variable, and of what it is an attribute of, in a module."""


@dataclasses.dataclass(frozen=True)
class _Place:
    """A class or function that is imported from elsewhere."""

    module: str
    name: str


@dataclasses.dataclass(frozen=True)
class _Like:
    """What something is that is not sent."""

    text: str


@dataclasses.dataclass(frozen=True)
class ModuleState:
    """What the user's modules have in the driver.

    Attributes:
        contents: By module, pickled: its file, the names of its variables, what is sent, by path,
            and what refers to modules, each of which is pickled by itself.
    """

    contents: Mapping[str, bytes]

    @classmethod
    def current(cls) -> ModuleState:
        """That of this process."""
        return cls({name: _pickled(name, module) for name, module in _own_modules()})

    def take_over(self) -> None:
        """Gives this process' modules the same; those that are not imported yet, when they are."""
        _AFTER_IMPORT.expect(
            {name: [functools.partial(self._give, name)] for name in self.contents}
        )

    def _give(self, name: str, module: Any) -> None:
        file, names, entries, referring = pickle.loads(self.contents[name])
        for left in [each for each in vars(module) if each not in names and not _is_special(each)]:
            value = vars(module)[left]
            if not isinstance(value, _NAMED) and _is_plain(value):  # which another trial has set
                delattr(module, left)
        is_elsewhere = getattr(module, "__file__", None) != file
        for path, entry in entries:
            if not (is_elsewhere and _are_paths(entry, _value(module, path))):
                _take(module, path, entry)
        # Modules import one another, so what is in them can be had when all of them are there
        _AFTER_IMPORT.when_idle(functools.partial(_take_referring, module, referring))


@dataclasses.dataclass(frozen=True)
class Rebound:
    """Classes, functions and objects of the main script that it has put into modules of its own.

    Attributes:
        values: Each with the module's name, and its path there.
    """

    values: Sequence[tuple[str, Path, Any]]

    @classmethod
    def current(cls, is_sendable: Callable[[Any], bool]) -> Rebound:
        """Those of this process. What cannot be sent is told of."""
        found = [
            (name, path, value)
            for name, module in _own_modules()
            for path, value in _variables(name, module)
            if _is_of_main(value)
        ]
        sent = [each for each in found if is_sendable(each[-1])]
        for name, path, value in found:
            if not any(value is each[-1] for each in sent):
                say(
                    f"What the script has set as `{'.'.join((name, *path))}` cannot be sent to "
                    f"workers, where trials have what the module itself sets. It is "
                    f"{_likeness(value)}."
                )
        return cls(sent)

    def install(self) -> None:
        """Puts them into this process' modules; those that are not imported yet, when they are."""
        wanted: dict[str, list[Callable[[Any], None]]] = collections.defaultdict(list)
        for name, path, value in self.values:
            wanted[name].append(functools.partial(_set, path=path, value=value))
        _AFTER_IMPORT.expect_too(wanted)


# In the driver


def _own_modules() -> Iterator[tuple[str, types.ModuleType]]:
    """The user's modules that a worker would import."""
    by_value = cloudpickle.list_registry_pickle_by_value()
    for name, module in list(sys.modules.items()):
        # What C libraries are seen by in Python says that it is a module, and has nothing of one
        if issubclass(type(module), types.ModuleType) and not name.startswith("__"):
            file = object.__getattribute__(module, "__dict__").get("__file__")
            if isinstance(file, str) and is_own_file(file, name) and name not in by_value:
                yield name, module


def _pickled(name: str, module: types.ModuleType) -> bytes:
    entries: list[tuple[Path, Any]] = []
    referring: list[tuple[Path, bytes]] = []
    for path, value in _variables(name, module):
        entry = _entry(path, value)
        if _refers(entry):
            with contextlib.suppress(Exception):  # of a class that says how it is pickled
                referring.append((path, pickle.dumps(entry)))
        elif entry is not _MISSING:
            entries.append((path, entry))
    return pickle.dumps((module.__file__, frozenset(vars(module)), entries, referring))


def _variables(name: str, owner: Any, above: Path = ()) -> Iterator[tuple[Path, Any]]:
    """The variables of a module, and the attributes of classes and functions that are its own."""
    for key, value in list(vars(owner).items()):
        path = (*above, key)
        if _is_special(key) or isinstance(value, types.ModuleType):
            continue
        if isinstance(value, (type, types.FunctionType)) and (
            (value.__module__, value.__qualname__) == (name, ".".join(path))
        ):
            if not (isinstance(value, type) and issubclass(value, enum.Enum)):
                yield from _variables(name, value, path)
            continue
        yield path, value


def _is_special(name: str) -> bool:
    return name.startswith("__") and name.endswith("__")


def _entry(path: Path, value: Any) -> Any:
    """What is sent of a variable."""
    if _is_of_main(value) or value is sys.path or value is sys.argv:
        return _MISSING  # `Rebound` has it, or `Surroundings`
    if isinstance(value, _NAMED):
        place = place_of(value)
        return _Place(*place) if place is not None else _like(path, value)
    return value if _is_plain(value) else _like(path, value)


def _like(path: Path, value: Any) -> Any:
    """What is compared: of public variables of modules, since others are made when needed."""
    is_public = len(path) == 1 and not path[0].startswith("_")
    return _Like(_likeness(value)) if is_public else _MISSING


def _likeness(value: Any) -> str:
    kind = value if isinstance(value, (type, types.FunctionType)) else type(value)
    text = f"{kind.__module__}.{kind.__qualname__}".removeprefix("builtins.")
    if isinstance(value, np.ndarray):
        return f"{text} of shape {value.shape}"
    if isinstance(value, (str, bytes)):
        return f"{text} of length {len(value)}"
    return text


def _is_of_main(value: Any, depth: int = 0) -> bool:
    """Whether it is of the main script, or of a module that is sent by value."""
    if isinstance(value, functools.partial):
        return _is_of_main(value.func)
    is_named = isinstance(value, (type, types.FunctionType))
    if isinstance(value, types.MethodType):
        return _is_of_main(value.__self__)
    if type(value) in _CONTAINERS:
        is_small = len(value) <= _FEW and depth < _NESTED
        return is_small and any(_is_of_main(each, depth + 1) for each in _others(_items_of(value)))
    module = value.__module__ if is_named else type(value).__module__
    return module == "__main__" or module in cloudpickle.list_registry_pickle_by_value()


def _is_plain(value: Any) -> bool:
    """Whether it is small, and made of numbers, texts and the like, and of what can be imported, in
    containers or objects.
    """
    waiting, left = [(value, 0)], _MOST
    while waiting:
        each, depth = waiting.pop()
        parts = _parts_of(each)
        left -= 1 if parts is None else 1 + len(parts)
        if parts is None or left < 0 or depth > _DEEPEST:
            return False
        waiting += [(part, depth + 1) for part in _others(parts)]
    return True


def _refers(value: Any) -> bool:
    """Whether something plain has what is to be imported from a module that is not Python's own."""
    waiting = [value]
    while waiting:
        each = waiting.pop()
        if isinstance(each, (_Place, *_NAMED)):
            return True
        if isinstance(each, _Like) or each is _MISSING:
            return False
        if type(each).__module__.partition(".")[0] not in _KNOWN:
            return True
        waiting += _others(_parts_of(each) or ())
    return False


def _others(values: Sequence[Any]) -> list[Any]:
    """Those that are no numbers."""
    return [value for value in values if type(value) not in _NUMBERS]


def _parts_of(value: Any) -> Sequence[Any] | None:
    """What a value is made of; `None` if it is not plain."""
    kind = type(value)
    if isinstance(value, _NAMED):
        return () if place_of(value) is not None else None
    if isinstance(value, _SIMPLE):
        is_short = not isinstance(value, (str, bytes)) or len(value) <= _LONGEST
        return () if is_short and _is_found(kind) else None
    if kind is np.ndarray:
        return () if value.nbytes <= _LONGEST and not value.dtype.hasobject else None
    is_container = isinstance(value, _CONTAINERS)
    if is_container and len(value) > _MOST:
        return None
    if kind in _CONTAINERS:
        return _items_of(value)
    is_object = is_container or isinstance(getattr(value, "__dict__", None), dict)
    if not is_object or not _is_usual(kind) or not _is_configuration(value):
        return None
    attributes = getattr(value, "__dict__", {})
    return [*attributes.values(), *(_items_of(value) if is_container else ())]


def _is_usual(kind: type) -> bool:
    """Whether objects of a class are pickled as what they are made of."""
    has_own = any(
        name in vars(base)
        for base in kind.__mro__
        if base.__module__ not in _KNOWN
        for name in ("__reduce__", "__reduce_ex__", "__getstate__", "__setstate__")
    )
    return not has_own and _is_found(kind)


def _is_configuration(value: Any) -> bool:
    """Whether it is an object of a kind that keeps values: the user's own, or a usual one."""
    kind = type(value)
    if isinstance(value, (*_CONTAINERS, argparse.Namespace, types.SimpleNamespace)):
        return True
    module = sys.modules.get(kind.__module__)
    return is_own_file(getattr(module, "__file__", None), kind.__module__)


def _is_found(kind: type) -> bool:
    return kind.__module__ == "builtins" or place_of(kind) is not None


def _items_of(value: Any) -> list[Any]:
    return [*value.keys(), *value.values()] if isinstance(value, dict) else list(value)


# In the worker


def _value(module: Any, path: Path) -> Any:
    with contextlib.suppress(AttributeError):
        return functools.reduce(getattr, path, module)
    return _MISSING


def _are_paths(*values: Any) -> bool:
    """Whether all are paths of a machine: each has its own, such as what is beside the module."""
    return all(
        isinstance(value, (str, pathlib.PurePath)) and pathlib.PurePath(value).is_absolute()
        for value in values
    )


def _take_referring(module: Any, referring: Sequence[tuple[Path, bytes]]) -> None:
    for path, content in referring:
        try:
            entry = pickle.loads(content)
        except Exception as error:
            _say_without(module, path, error)
        else:
            _take(module, path, entry)


def _say_without(module: Any, path: Path, error: Exception) -> None:
    say(
        f"What the script has set as `{'.'.join((module.__name__, *path))}` cannot be taken over "
        f"in trials, which go on without it ({type(error).__name__}: {error})."
    )


def _take(module: Any, path: Path, entry: Any) -> None:
    *above, name = path
    try:
        owner = functools.reduce(getattr, above, module)
        now = vars(owner).get(name, _MISSING)
        match entry:
            case _Like(text):
                _compare(".".join((module.__name__, *path)), text, now)
            case _Place(place, found):
                if now is _MISSING or place_of(now) != (place, found):
                    there = importlib.import_module(place)
                    setattr(owner, name, functools.reduce(getattr, found.split("."), there))
            case _ if not _is_same(now, entry) and not _is_filled(now, entry):
                setattr(owner, name, entry)
    except Exception as error:
        _say_without(module, path, error)


def _compare(name: str, text: str, now: Any) -> None:
    """Tells of a variable that is not sent and is another thing here."""
    here = "missing" if now is _MISSING else _likeness(now)
    if here != text:
        say(
            f"A variable of a module of the script is not the same in trials, since it is too "
            f"large or no plain value: `{name}` is {text} in the script, and {here} in a worker, "
            "which imports the module anew. Set it where the module is imported, or make it an "
            "attribute of the HyperModel."
        )


def _is_same(one: Any, other: Any) -> bool:
    with contextlib.suppress(Exception):
        return type(one) is type(other) and pickle.dumps(one) == pickle.dumps(other)
    return False


def _is_filled(now: Any, value: Any) -> bool:
    """Gives an object that others may have too the contents of another, and returns whether that
    could be.
    """
    if type(now) is not type(value) or isinstance(value, (*_SIMPLE, tuple, frozenset)):
        return False
    if isinstance(value, np.ndarray):
        if now.shape != value.shape or now.dtype != value.dtype or not now.flags.writeable:
            return False
        np.copyto(now, value)
        return True
    if isinstance(now, (list, collections.deque)):
        now.clear()
        now.extend(value)
    elif isinstance(now, (dict, set)):
        now.clear()
        now.update(value)
    if hasattr(now, "__dict__"):  # also of one that is a container
        vars(now).clear()
        vars(now).update(vars(value))
    return True


def _set(module: Any, path: Path, value: Any) -> None:
    *above, name = path
    with contextlib.suppress(AttributeError):  # of a class that is not there
        setattr(functools.reduce(getattr, above, module), name, value)


class _AfterImport(importlib.abc.MetaPathFinder):
    """Calls something with a module as soon as it is imported, and before what imports it goes on;
    of one that is imported already, at once.
    """

    def __init__(self) -> None:
        self._expected: dict[str, list[Callable[[Any], None]]] = {}
        self._depth = 0
        self._later: list[Callable[[], None]] = []

    def expect(self, calls: Mapping[str, list[Callable[[Any], None]]]) -> None:
        """Calls these, and no others any more."""
        self._expected = {}
        self.expect_too(calls)

    def expect_too(self, calls: Mapping[str, Iterable[Callable[[Any], None]]]) -> None:
        """Calls these too."""
        if self not in sys.meta_path:
            sys.meta_path.insert(0, self)
        for name, several in calls.items():
            self._expected.setdefault(name, []).extend(several)
            if name in sys.modules:
                for call in several:
                    call(sys.modules[name])

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Find the module as the others do."""
        if fullname not in self._expected:
            return None
        others = (finder for finder in sys.meta_path if finder is not self)
        finds = map(operator.methodcaller("find_spec", fullname, path, target), others)
        spec = next((spec for spec in finds if spec is not None), None)
        if spec is not None and hasattr(spec.loader, "exec_module"):
            spec.loader = _Loader(spec.loader, self.importing)
        return spec

    def when_idle(self, call: Callable[[], None]) -> None:
        """Calls something when none of these modules is being imported."""
        self._later.append(call)
        self._catch_up()

    def _catch_up(self) -> None:
        while self._later and not self._depth:
            self._later.pop(0)()

    @contextlib.contextmanager
    def importing(self, module: types.ModuleType) -> Iterator[None]:
        """Calls what is expected after a block that runs the module's code."""
        self._depth += 1
        try:
            yield
            for call in list(self._expected.get(module.__name__, ())):
                call(module)
        finally:
            self._depth -= 1
        self._catch_up()


class _Loader(importlib.abc.Loader):
    """A module's own loader, with something around it."""

    def __init__(
        self,
        loader: Any,
        around: Callable[[types.ModuleType], contextlib.AbstractContextManager[None]],
    ) -> None:
        self._loader, self._around = loader, around

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType | None:
        """Make the module, as its own loader does."""
        made: types.ModuleType | None = self._loader.create_module(spec)
        return made

    def exec_module(self, module: types.ModuleType) -> None:
        """Run the module's code."""
        module.__loader__ = self._loader
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        with self._around(module):
            self._loader.exec_module(module)


_AFTER_IMPORT = _AfterImport()
