"""Code of the user's own that is run for a look before the search, unseen. Runs in the worker.

What it prints is not shown. So a debugger's prompt would not be either, while it waits for an
answer: breakpoints are passed over, and stop in the trials.
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
    """Has what the block prints not shown, and its breakpoints passed over."""
    with (
        contextlib.redirect_stdout(io.StringIO()),
        mock.patch.object(sys, "breakpointhook", _pass_over),
        mock.patch.object(pdb.Pdb, "set_trace", _pass_over),
    ):
        yield


def _pass_over(*args: Any, **kwargs: Any) -> None:
    """Stand in for what begins to debug."""
