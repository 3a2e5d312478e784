"""Make imports of Keras, TensorFlow, JAX and Ray quiet and a fifth faster, wherever they happen.
Imported first; runs in driver and worker.

No user can act on their startup messages. TensorFlow writes its own to the process' standard error
before its log level takes effect, so they are filtered out there. Anything else written meanwhile
is passed on.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import importlib.abc
import importlib.machinery
import logging
import os
import re
import sys
import tempfile
import threading
import types
import warnings
from collections.abc import Callable, Iterator
from typing import Any

from glimr_keras._utils.garbage import without_garbage_collection

_LOUD = ("keras", "tensorflow", "jax", "ray", "ray.tune")
_STARTUP_LINE = re.compile(
    rb"[IWE]0000 00:00:|WARNING: All log messages before absl::InitializeLog|"
    rb"To enable the following instructions:"
)


@contextlib.contextmanager
def without_startup_lines() -> Iterator[None]:
    """Remove TensorFlow's startup messages from standard error."""
    try:
        before = os.dup(2)
    except OSError:  # this process has no standard error
        yield
        return
    with tempfile.TemporaryFile() as written:
        os.dup2(written.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(before, 2)
            os.close(before)
            written.seek(0)
            for line in written:
                if not _STARTUP_LINE.match(line):
                    os.write(2, line)


@contextlib.contextmanager
def without_looking_for_garbage() -> Iterator[None]:
    """Disable garbage collection during imports.

    The objects that imports create stay alive, and scanning them takes a fifth of the import time.
    """
    with without_garbage_collection():
        try:
            yield
        finally:
            if (
                gc.get_freeze_count() == 0
            ):  # marks all objects as scanned, or the first collection would scan them
                gc.freeze()
                gc.unfreeze()


os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# Allocate a GPU's memory as needed, not all of it: other processes may train on it, and the
# driver's own models are small
os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
# A lost worker is a failed trial with its reason; Ray would print a paragraph about it as well
os.environ.setdefault(
    "RAY_DEDUP_LOGS_SKIP_REGEX", "A worker died or was killed while executing a task"
)

# In a notebook without widgets, which are not used here, Ray and tqdm warn about it when imported
logging.getLogger("ray.widgets.util").setLevel(logging.WARNING)


class _Quiet:
    """Keep imports quiet, from the start of the first to the end of the last.

    Threads may import concurrently, and there is only one standard error.
    """

    def __init__(self) -> None:
        self._lock, self._imports, self._ways = threading.Lock(), 0, contextlib.ExitStack()

    def __enter__(self) -> None:
        with self._lock:
            self._imports += 1
            if self._imports == 1:
                self._ways.enter_context(without_startup_lines())
                self._ways.enter_context(without_looking_for_garbage())
                self._ways.enter_context(warnings.catch_warnings())
                warnings.filterwarnings("ignore", message="IProgress not found")

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._imports -= 1
            if self._imports == 0:
                self._ways.close()


_quiet = _Quiet()


class _Quietly(importlib.abc.MetaPathFinder):
    """Import libraries quietly, whichever code and finder imports them."""

    def find_spec(
        self, fullname: str, path: Any = None, target: Any = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Return the other finders' spec of one of these libraries; `None` for any other."""
        if fullname not in _LOUD:
            return None
        others = (finder for finder in sys.meta_path if not isinstance(finder, _Quietly))
        found = (finder.find_spec(fullname, path, target) for finder in others)
        spec = next((each for each in found if each is not None), None)
        loader: Any = None if spec is None else spec.loader
        if hasattr(loader, "exec_module"):
            loader.exec_module = functools.partial(_made_quietly, loader.exec_module)
        return spec


def _made_quietly(make: Callable[[types.ModuleType], None], module: types.ModuleType) -> None:
    with _quiet:
        make(module)


if not any(isinstance(finder, _Quietly) for finder in sys.meta_path):
    sys.meta_path.insert(0, _Quietly())
