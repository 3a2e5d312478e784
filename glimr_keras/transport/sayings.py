"""Repeat workers' warnings and logged warnings in the driver, each once. Runs in driver
and worker.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import importlib
import logging
import pathlib
import sys
import threading
import warnings
from collections.abc import Callable, Iterable
from typing import Any

import ray

_MAX_KINDS = 1000
"""So many different ones are sent by a process; what says more repeats itself in other words."""

_PLAIN = (bool, int, float, str, bytes, type(None))

_RAY = str(pathlib.Path(ray.__file__).parent)


@dataclasses.dataclass(frozen=True)
class Saying:
    """A warning, or what was logged as one.

    Attributes:
        text: What it says.
        filename, line: Where the code is that it is about.
        kind: Of a warning the category's name; else that of the logger.
        place: Of a warning the category's module, and its name there. It is looked up in the
            driver: a class of the script that is unpickled in its own process would be changed.
        arguments: Of the warning; `None` where they are no plain values.
        level: At which it was logged; `None` for a warning.
    """

    text: str
    filename: str
    line: int
    kind: str
    place: tuple[str, str] | None = None
    arguments: tuple[Any, ...] | None = None
    level: int | None = None

    @property
    def key(self) -> tuple[Any, ...]:
        """Two that have the same are one to the user."""
        return (self.text, self.filename, self.line, self.kind, self.level)


class Collector(logging.Handler):
    """Collect the warnings of a worker's process, to be sent with its next report."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._said: list[Saying] = []
        self._known: set[tuple[Any, ...]] = set()
        self._mutex = threading.Lock()

    def install(self) -> None:
        """Has this process give it all that it warns of.

        It is no logger's handler: a script's `logging.basicConfig` does nothing where there is one.
        """
        logging.captureWarnings(False)
        warnings.showwarning = self.take_warning
        logging.lastResort = None  # what no handler takes is taken here
        logging.root.manager.emittedNoHandlerWarning = True
        if getattr(logging.Logger.callHandlers, "collector", None) is not self:
            logging.Logger.callHandlers = self._before(  # type: ignore[method-assign]
                logging.Logger.callHandlers
            )

    def _before(self, call: Callable[..., None]) -> Callable[..., None]:
        """What takes in a record before its logger's handlers do."""

        def call_handlers(logger: logging.Logger, record: logging.LogRecord) -> None:
            if record.levelno >= self.level:
                self.handle(record)
            call(logger, record)

        call_handlers.collector = self  # type: ignore[attr-defined]
        return call_handlers

    def take_warning(
        self,
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: Any = None,
        line: str | None = None,
    ) -> None:
        """Take in a warning, as `warnings.showwarning` is given it."""
        if filename.startswith(_RAY):
            return
        place = category.__module__, category.__qualname__
        arguments = message.args if isinstance(message, Warning) else (message,)
        self._take(
            Saying(
                str(message),
                filename,
                lineno,
                category.__name__,
                place,
                arguments if all(isinstance(each, _PLAIN) for each in arguments) else None,
            )
        )

    def emit(self, record: logging.LogRecord) -> None:
        """Take in what was logged."""
        if record.name.split(".")[0] == "ray":
            return
        try:
            text = record.getMessage()
        except Exception:
            self.handleError(record)
            return
        where = record.pathname, record.lineno
        self._take(Saying(text, *where, record.name, level=record.levelno))

    def _take(self, saying: Saying) -> None:
        with self._mutex:
            if saying.key not in self._known and len(self._known) < _MAX_KINDS:
                self._known.add(saying.key)
                self._said.append(saying)

    def hand_out(self) -> tuple[Saying, ...]:
        """Return the warnings since the last call."""
        with self._mutex:
            said, self._said = tuple(self._said), []
        return said


class Repeater:
    """Repeat the workers' warnings in the driver, each once per search."""

    def __init__(self) -> None:
        self._known: set[tuple[Any, ...]] = set()

    def repeat(self, sayings: Iterable[Saying]) -> None:
        """Show warnings, and log messages, as if they had been raised here.

        Filters have been applied in the worker, which has the script's.
        """
        for saying in sayings:
            if saying.key not in self._known:
                self._known.add(saying.key)
                _say(saying)


def _say(saying: Saying) -> None:
    if saying.level is None:
        message, category = _warning(saying)
        warnings.showwarning(message, category, saying.filename, saying.line)
        return
    logger = logging.getLogger(saying.kind)
    logger.handle(
        logger.makeRecord(
            saying.kind, saying.level, saying.filename, saying.line, saying.text, (), None
        )
    )


def _warning(saying: Saying) -> tuple[Warning | str, type[Warning]]:
    """The warning with its category, or its text where they cannot be had here."""
    category = None
    with contextlib.suppress(Exception):
        category = _found(*saying.place) if saying.place is not None else None
    if not (isinstance(category, type) and issubclass(category, Warning)):
        return UserWarning(f"{saying.kind}: {saying.text}"), UserWarning
    if saying.arguments is not None:
        with contextlib.suppress(Exception):
            message = category(*saying.arguments)
            if str(message) == saying.text:
                return message, category
    return saying.text, category


def _found(module: str, name: str) -> Any:
    """A category, by the name that it has in its module; of those that functions make, the newest
    of this name.
    """
    with contextlib.suppress(AttributeError):
        there = sys.modules.get(module) or importlib.import_module(module)
        return functools.reduce(getattr, name.split("."), there)
    short = name.rpartition(".")[2]  # which is all that a class has that was unpickled
    waiting: list[type[Warning]] = [Warning]
    found = None
    while waiting:
        kinds = waiting.pop().__subclasses__()
        waiting += kinds
        same = [kind for kind in kinds if (kind.__module__, kind.__name__) == (module, short)]
        found = same[-1] if same else found
    return found
