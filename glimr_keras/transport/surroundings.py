"""What a script's process has around it, which its workers take over: the command line, the working
directory, where modules are found, the environment, and settings of Python. Runs in driver and
worker.

They are those of the moment when `search()` is called, and each trial begins with them again,
whatever the one before it did to them. What a module adds while it is imported stays, as the module
does: a variable of the environment, a place where modules are found, or the level of a logger, of
which the driver has none. What it changes of the driver's is the driver's again.
"""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import decimal
import functools
import locale
import logging
import multiprocessing
import os
import pathlib
import socket
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

import ray
from ray import cloudpickle

from glimr_keras._utils.own_code import is_own_file
from glimr_keras._utils.saying import say
from glimr_keras.training.keras_session import Session
from glimr_keras.transport.imports import IMPORTS
from glimr_keras.transport.module_state import ModuleState, keeping_what_changes

_T = TypeVar("_T")


@dataclasses.dataclass(frozen=True)
class Surroundings:
    """What workers take over.

    Attributes:
        machine: Which one this is.
        arguments: The command line.
        directory: The working directory; `None` if it was removed.
        path: Where modules are found, each as an absolute path.
        environment: Its variables, but for those that Ray gives each of its processes.
        changed: The names of those that the script has set or removed since it began.
        settings: Of Python and of libraries, by name, each pickled: what is in it may need modules
            that are found only when `path` is.
        modules: What the user's own modules have.
    """

    machine: str
    arguments: tuple[str, ...]
    directory: str | None
    path: tuple[str, ...]
    environment: Mapping[str, str]
    changed: frozenset[str]
    settings: Mapping[str, bytes]
    modules: ModuleState

    @classmethod
    def current(cls) -> Surroundings:
        """Return the surroundings of this process."""
        now = _without_ray(os.environ)
        begun = _without_ray(_environment_at_start())
        return cls(
            _machine(),
            tuple(sys.argv),
            _working_directory(),
            tuple(os.path.abspath(entry) for entry in sys.path),  # noqa: PTH100
            now,
            frozenset(name for name in {*now, *begun} if now.get(name) != begun.get(name)),
            dict(_pickled()),
            ModuleState.current(),
        )

    def take_over(self) -> None:
        """Gives this process, and this thread, what the driver has, and takes away what a trial
        has added.

        What another machine does not have is said, and left as it is there. Variables that it has
        itself are left alone too, unless the script has changed them.
        """
        own = _own()
        sys.argv[:] = self.arguments
        self._go_to_directory()
        here = [entry for entry in sys.path if entry in own.path or entry in self.path]
        sys.path[:] = merged(here, filter(os.path.exists, self.path))
        self._take_environment(own.environment)
        for name, value in self.settings.items():
            try:
                _set(name, cloudpickle.loads(value))
            except Exception as error:
                say(
                    f"A setting of the script cannot be taken over on {socket.gethostname()}, "
                    f"where trials go on without it: {name} ({type(error).__name__}: {error})."
                )
        IMPORTS.around = _keeping_what_is_added
        self.modules.take_over()

    def _go_to_directory(self) -> None:
        if self.directory is None or _working_directory() == self.directory:
            return
        try:
            os.chdir(self.directory)
        except OSError:
            say(
                f"The script's working directory does not exist on {socket.gethostname()}: "
                f"{self.directory}. In the trials that run there, relative paths mean "
                f"{_working_directory()}."
            )

    def _take_environment(self, own: Mapping[str, str]) -> None:
        is_same_machine, kept = self.machine == _machine(), _of_runtime_env()
        added = _without_ray(os.environ).keys() - own.keys()
        for name in (self.changed | added) - set(self.environment) - kept:
            os.environ.pop(name, None)
        for name in own.keys() - self.changed - set(os.environ):
            os.environ[name] = own[name]
        for name, value in self.environment.items():
            is_taken = is_same_machine or name in self.changed or name not in os.environ
            if is_taken and name not in kept and os.environ.get(name) != value:
                os.environ[name] = value
        if hasattr(time, "tzset"):
            time.tzset()


def merged(here: Iterable[str], wanted: Iterable[str]) -> list[str]:
    """Return module paths in the driver's order, after those that only this process has before any
    of them, and before its others.
    """
    here, wanted = list(here), list(dict.fromkeys(wanted))
    shared = [place for place, entry in enumerate(here) if entry in wanted]
    first = shared[0] if shared else len(here)
    rest = [entry for entry in here[first:] if entry not in wanted]
    return [*here[:first], *wanted, *rest]


def _machine() -> str:
    """Return an identifier of this machine, or of this process' container."""
    boot = ""
    with contextlib.suppress(OSError):
        boot = pathlib.Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return f"{socket.gethostname()} {boot}"


def _working_directory() -> str | None:
    with contextlib.suppress(OSError):
        return str(pathlib.Path.cwd())
    return None


_OF_RAY = (
    *("RAY_", "OMP_NUM_THREADS", "PYTHONBREAKPOINT"),
    *("CUDA_VISIBLE_", "NVIDIA_VISIBLE_", "ROCR_VISIBLE_", "HIP_VISIBLE_", "ASCEND_RT_VISIBLE_"),
    *("HABANA_VISIBLE_", "NEURON_RT_VISIBLE_", "ONEAPI_DEVICE_SELECTOR", "ZE_AFFINITY_MASK"),
    *("TPU_VISIBLE_", "TPU_CHIPS_PER_HOST_BOUNDS", "TPU_HOST_BOUNDS"),
    *("TT_VISIBLE_", "QBRUNTIME_VISIBLE_", "FURIOSA_DEVICES", "RBLN_DEVICES"),
)
"""How the names of variables begin that Ray gives each of its processes, by what is free."""


def _without_ray(environment: Mapping[str, str]) -> dict[str, str]:
    return {
        name: value for name, value in environment.items() if not name.upper().startswith(_OF_RAY)
    }


def _of_runtime_env() -> set[str]:
    """Return the variables that the user sets for Ray's workers by `runtime_env`."""
    if not ray.is_initialized():
        return set()
    return set(ray.get_runtime_context().runtime_env.get("env_vars") or ())


_AT_IMPORT = dict(os.environ)


def _environment_at_start() -> Mapping[str, str]:
    """Return the variables with which this process was started; if the system does not provide
    them, those at import time.
    """
    try:
        said = pathlib.Path("/proc/self/environ").read_bytes()
    except OSError:
        return _AT_IMPORT
    entries = (os.fsdecode(entry).partition("=") for entry in said.split(b"\0") if entry)
    return {name: value for name, _, value in entries} or _AT_IMPORT


@dataclasses.dataclass
class _Own:
    """What a process had itself before it was given anything, and what imports have added."""

    environment: dict[str, str]
    path: set[str]
    levels: dict[str, int]

    @classmethod
    def current(cls) -> _Own:
        return cls(dict(os.environ), set(sys.path), _logging_levels())

    def add(self, before: _Own, now: _Own) -> None:
        """Takes what is there now and was not before."""
        self.path |= now.path - before.path
        self.environment |= _added(before.environment, now.environment)
        self.levels |= _added(before.levels, now.levels)


def _added(before: Mapping[str, _T], now: Mapping[str, _T]) -> dict[str, _T]:
    return {name: now[name] for name in now.keys() - before.keys()}


@functools.cache
def _own() -> _Own:
    """Return what this process had at the first call."""
    return _Own.current()


@contextlib.contextmanager
def _keeping_what_is_added(module: Any, is_of_driver: bool) -> Iterator[None]:
    """Has what is added in a block, in which a module is imported, be there in later trials too."""
    is_own = is_own_file(getattr(module, "__file__", None), module.__name__)
    before = _Own.current()
    try:
        with keeping_what_changes() if is_own and not is_of_driver else contextlib.nullcontext():
            yield
    finally:
        _own().add(before, _Own.current())


@dataclasses.dataclass(frozen=True)
class _Setting:
    """How a setting is read and written; `None` is what is not set."""

    read: Callable[[], Any]
    write: Callable[[Any], Any]


def _pickled() -> Iterable[tuple[str, bytes]]:
    for name, setting in _SETTINGS.items():
        try:
            yield name, cloudpickle.dumps(setting.read())
        except Exception as error:
            say(
                f"A setting of the script cannot be sent to workers, where trials go on without "
                f"it: {name} ({type(error).__name__}: {error})."
            )


def _set(name: str, value: Any) -> None:
    if _SETTINGS[name].read() != value:
        _SETTINGS[name].write(value)


def _umask() -> int:
    """Return the permission mask, which can only be read by setting it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _logging_levels() -> dict[str, int]:
    """Return the levels that were set, by logger name; the first is the root logger's."""
    loggers = {
        name: logger
        for name, logger in dict(logging.root.manager.loggerDict).items()
        if isinstance(logger, logging.Logger) and name.split(".")[0] != "ray"
    }
    levels = {name: logger.level for name, logger in loggers.items() if logger.level}
    return {"": logging.root.level, **levels}


def _set_logging_levels(levels: Mapping[str, int]) -> None:
    own = _own().levels
    for name in _logging_levels().keys() - levels.keys():  # which a trial has set
        logging.getLogger(name).setLevel(own.get(name, logging.NOTSET))
    for name, level in levels.items():
        logging.getLogger(name or None).setLevel(level)


def _set_filters(filters: list[Any]) -> None:
    warnings.resetwarnings()  # which also has Python forget what it has decided by others
    warnings.filters[:] = filters  # type: ignore[index]
    # Ray's own are not what the script asked to be told of, and an error there would be one of Ray
    warnings.filterwarnings("ignore", module=r"ray(\.|$)")
    # Another worker is just writing it: JAX compiles by itself then
    warnings.filterwarnings("ignore", r"Error \w+ persistent compilation cache entry")


def _decimals() -> dict[str, Any]:
    context = decimal.getcontext()
    return {name: getattr(context, name) for name in ("prec", "rounding", "Emin", "Emax")}


def _set_decimals(values: Mapping[str, Any]) -> None:
    for name, value in values.items():
        setattr(decimal.getcontext(), name, value)


_SETTINGS = {
    "locale": _Setting(
        lambda: locale.setlocale(locale.LC_ALL),
        lambda value: locale.setlocale(locale.LC_ALL, value),
    ),
    "umask": _Setting(_umask, os.umask),
    "recursion limit": _Setting(sys.getrecursionlimit, sys.setrecursionlimit),
    "default timeout of sockets": _Setting(socket.getdefaulttimeout, socket.setdefaulttimeout),
    "largest field of CSV files": _Setting(csv.field_size_limit, csv.field_size_limit),
    "decimal numbers": _Setting(_decimals, _set_decimals),
    "start method of multiprocessing": _Setting(
        lambda: multiprocessing.get_start_method(allow_none=True),
        lambda value: multiprocessing.set_start_method(value, force=True),
    ),
    "levels of loggers": _Setting(_logging_levels, _set_logging_levels),
    "level below which nothing is logged": _Setting(
        lambda: logging.root.manager.disable, logging.disable
    ),
    "filters of warnings": _Setting(lambda: list(warnings.filters), _set_filters),
    "settings of Keras and other libraries": _Setting(Session.current, Session.apply),
}
