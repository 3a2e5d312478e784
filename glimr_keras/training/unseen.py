"""Runs the user's code before the search without showing its output. Runs in the worker.

A debugger's prompt would not be shown either, while it waits for an answer. So breakpoints are
skipped here, and stop in the trials only.
"""

from __future__ import annotations

import contextlib
import io
import pdb
import sys
from collections.abc import Iterator
from typing import Any
from unittest import mock


@contextlib.contextmanager
def unseen() -> Iterator[None]:
    """Hide the block's output, and skip its breakpoints."""
    with (
        contextlib.redirect_stdout(io.StringIO()),
        mock.patch.object(sys, "breakpointhook", _pass_over),
        mock.patch.object(pdb.Pdb, "set_trace", _pass_over),
    ):
        yield


def _pass_over(*args: Any, **kwargs: Any) -> None:
    """Replace a function that starts the debugger, and do nothing."""
