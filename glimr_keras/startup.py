"""Imports Keras without TensorFlow's start-up lines, and sets Ray's log filter. Imported first; runs in driver and worker.

No user can act on those lines. TensorFlow writes them to the process' standard error before its log level counts, so they are
taken out there; anything else that is written meanwhile is passed on.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
import tempfile
from collections.abc import Iterator

_STARTUP_LINE = re.compile(
    rb"[IWE]0000 00:00:|WARNING: All log messages before absl::InitializeLog|To enable the following instructions:"
)


@contextlib.contextmanager
def without_startup_lines() -> Iterator[None]:
    """Takes TensorFlow's start-up lines out of what is written to standard error."""
    sys.stderr.flush()
    before = os.dup(2)
    with tempfile.TemporaryFile() as written:
        os.dup2(written.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(before, 2)
            os.close(before)
            written.seek(0)
            for line in written:
                if not _STARTUP_LINE.match(line):
                    os.write(2, line)


os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# A lost worker is a failed trial with its reason; Ray would print a paragraph on it as well
os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", "A worker died or was killed while executing a task")

with without_startup_lines():
    import keras  # noqa: F401
