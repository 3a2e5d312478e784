"""A store at a URI, in the place of one that `pyarrow.fs` knows: it takes its time, it fails, and
processes are lost while they write to it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import random
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pyarrow.fs

from glimr_keras.project import remote_files
from glimr_keras.project.journal import FILE, HIDDEN
from tests.simulation.clock import Clock
from tests.simulation.disk import AFTER, BEFORE, Fault, Killed

ROOT = "bucket/runs/p"
PLACE = f"made-up://{ROOT}"


@dataclasses.dataclass(frozen=True)
class Uri:
    """What a store is like.

    Attributes:
        seconds: That each call takes, at most.
        has_directories: Whether it is a file system, in which half a file is seen, and not an
            object store.
    """

    seconds: float = 0.0
    has_directories: bool = False


class Store:
    """The files at a URI, by name.

    Args:
        kind: What it is like.
        clock: Whose time a call takes.
        seed: Of how long.

    Attributes:
        calls: How many there were in this session.
        files: Content and time of change, by name.
        happened: The faults that came true.
        wrong: What was done to the journal that must not be.
    """

    def __init__(self, kind: Uri, clock: Clock, seed: int) -> None:
        self._kind, self._clock, self._generator = kind, clock, random.Random(seed)
        self.type_name = "made-up" if kind.has_directories else "s3"
        self.files: dict[str, tuple[bytes, int]] = {}
        self.happened: list[Fault] = []
        self.wrong: list[str] = []
        self.calls = 0
        self._faults: dict[int, Fault] = {}
        self._is_gone = False
        self._watched: Any = None

    def begin(self, faults: tuple[Fault, ...], watched: Any) -> None:
        """A session begins.

        Args:
            faults: To come: `"fails"` (a call), `"gone"` (all calls from then on) and `"killed"`.
            watched: The process whose calls are counted, and that faults happen to.
        """
        self.calls, self._is_gone, self._watched = 0, False, watched
        self._faults = {fault.at: fault for fault in faults if fault.by == "store"}

    @contextlib.contextmanager
    def there(self) -> Iterator[None]:
        """It is what the URI leads to."""
        with mock.patch.object(remote_files, "_file_system", lambda uri: (self, ROOT)):
            yield

    @contextlib.contextmanager
    def _call(self) -> Iterator[float]:
        """One call: how much of it is to be done, and then what happens."""
        self._clock.sleep(self._kind.seconds * self._generator.random())
        self._clock.check_alive()
        if self._clock.process is not self._watched:
            yield AFTER
            return
        fault = self._faults.get(self.calls)
        self.calls += 1
        if fault is not None:
            self.happened.append(fault)
            self._is_gone = self._is_gone or fault.kind == "gone"
        otherwise = BEFORE if self._is_gone else AFTER
        yield otherwise if fault is None else fault.part
        if fault is not None and fault.kind == "killed":
            raise Killed
        if self._is_gone or fault is not None:
            raise OSError("The store does not answer.")

    # As `pyarrow.fs.FileSystem` has it

    def get_file_info(self, what: Any) -> Any:
        with self._call():
            if isinstance(what, str):
                return self._info(what)
            return [self._info(path) for path in list(self.files) if path.startswith(f"{ROOT}/")]

    def _info(self, path: str) -> Any:
        if path not in self.files:
            return SimpleNamespace(type=pyarrow.fs.FileType.NotFound, path=path)
        content, changed = self.files[path]
        kind = pyarrow.fs.FileType.File
        return SimpleNamespace(type=kind, path=path, size=len(content), mtime_ns=changed)

    def open_input_stream(self, path: str) -> Any:
        with self._call():
            if path not in self.files:
                raise FileNotFoundError(path)
            return io.BytesIO(self.files[path][0])

    @contextlib.contextmanager
    def open_output_stream(self, path: str) -> Iterator[io.BytesIO]:
        stream = io.BytesIO()
        yield stream
        content = stream.getvalue()
        with self._call() as part:
            if part == AFTER or (part > BEFORE and self._kind.has_directories):
                self._put(path, content[: int(len(content) * part)])

    def create_dir(self, path: str, recursive: bool) -> None:
        with self._call():
            pass

    def move(self, source: str, target: str) -> None:
        with self._call() as part:
            if source not in self.files:
                raise FileNotFoundError(source)
            if part == AFTER or (part > BEFORE and not self._kind.has_directories):
                self._put(target, self.files[source][0])
            if part == AFTER:
                del self.files[source]

    def delete_file(self, path: str) -> None:
        with self._call() as part:
            if path not in self.files:
                raise FileNotFoundError(path)
            if part == AFTER:
                del self.files[path]

    @property
    def journal(self) -> bytes:
        """That of the project which is there; empty if there is none."""
        return self.files.get(f"{ROOT}/{HIDDEN}/{FILE}", (b"", 0))[0]

    def _put(self, path: str, content: bytes) -> None:
        before = self.journal if path == f"{ROOT}/{HIDDEN}/{FILE}" else b""
        # where it is but begun, two may have done that at the same time
        if before.count(b"\n") > 1 and not content.startswith(before):
            self.wrong.append(f"{before!r} is replaced by {content!r}")
        self.files[path] = content, self._clock.time_ns()
