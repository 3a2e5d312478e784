"""A project at a URI, such as `s3://bucket/runs/digits`: worked on as a local copy, which is sent there. Runs in the driver.

What is at the URI is whole at any time: checkpoints are sent as they are written (new weights, description, then the weights
take their place), and the journal after them, up to where it was before.
"""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import shutil
import threading
import urllib.parse
from collections.abc import Iterator
from typing import Any

import pyarrow
import pyarrow.fs

from glimr_keras import checkpoints
from glimr_keras.errors import CheckpointError, ProjectError, StorageError
from glimr_keras.journal import FILE, HIDDEN

SECONDS = 5.0
"""Between two looks at what has changed."""
_JOURNAL = f"{HIDDEN}/{FILE}"
_SENT = "sent.json"
_WITHOUT_DIRECTORIES = ("s3", "gcs", "abfs")
"""File systems whose names only look like paths."""


def is_uri(place: Any) -> bool:
    """Whether a place is given as a URI, and not as a path."""
    return isinstance(place, str) and "://" in place


class Mirror:
    """The local copy of a project at a URI.

    Args:
        uri: Of a file system that `pyarrow.fs` or fsspec knows. Credentials and endpoints come from the environment, as these
            read them.

    Attributes:
        directory: The local copy, in `GLIMR_KERAS_CACHE`, or else in the user's cache directory.

    Raises:
        StorageError: If there is no such file system.
    """

    def __init__(self, uri: str) -> None:
        self.uri = uri.rstrip("/")
        self._files, self._root = _file_system(self.uri)
        cache = os.environ.get("GLIMR_KERAS_CACHE") or os.environ.get("XDG_CACHE_HOME") or "~/.cache"
        place = pathlib.Path(cache).expanduser().absolute() / "glimr_keras"
        self.directory = place / urllib.parse.quote(self.uri, safe="")
        self._sent: dict[str, list[int]] = {}  # size and time of change of each file as it was sent
        self._journal_sent = 0
        self._done = threading.Event()
        self._thread: threading.Thread | None = None

    # From there

    def pull(self) -> None:
        """Brings the journal up to date: what another machine has written there since.

        Raises:
            ProjectError: If both were continued, each in its own way.
            StorageError: If it cannot be read.
        """
        there, here = self._content(_JOURNAL), self.directory / _JOURNAL
        ours = here.read_bytes() if here.exists() else b""
        if there is None or ours.startswith(there):
            return
        if ours and not there.startswith(ours):
            if ours.split(b"\n", 1)[0] == there.split(b"\n", 1)[0]:
                raise ProjectError(
                    f"The project at {self.uri} and its local copy in {self.directory} were both continued since they were the "
                    "same. Remove the one that is to be given up."
                )
            shutil.rmtree(self.directory)  # another project was started there
            self._sent, self._journal_sent = {}, 0
        _write(here, there)

    def pull_states(self) -> None:
        """Brings what trainings go on from.

        Raises:
            StorageError: If it cannot be read.
        """
        for name in self._names():
            if "/latest/" in name and not (self.directory / name).exists():
                _write(self.directory / name, self._content(name) or b"")
                self._sent[name] = _stamp(self.directory / name) or []

    def fetch(self, directory: pathlib.Path, score: float | None = None) -> None:
        """Brings the checkpoint of an execution's folder, unless the right one is here.

        Args:
            directory: The execution's folder.
            score: That it is of, by which one from before another machine went on is known; `None` for any.

        Raises:
            StorageError: If it cannot be read.
        """
        with contextlib.suppress(CheckpointError):
            checkpoints.packed(directory)  # is whole
            if score is None or checkpoints.describe(directory).score == score:
                return
        name = directory.relative_to(self.directory).as_posix()
        description = self._content(f"{name}/{checkpoints.DESCRIPTION}")
        here = directory / checkpoints.DESCRIPTION
        if description is None or (here.exists() and here.read_bytes() == description):
            return
        weights = self._content(f"{name}/{checkpoints.WEIGHTS}")
        if weights is not None:
            checkpoints.put(directory, {checkpoints.DESCRIPTION: description, checkpoints.WEIGHTS: weights})

    def fetch_all(self) -> None:
        """Brings all checkpoints.

        Raises:
            StorageError: If they cannot be read.
        """
        for name in self._names():
            if name.endswith(f"/{checkpoints.DESCRIPTION}") and "/latest/" not in name:
                self.fetch((self.directory / name).parent)

    # To there

    def clear(self) -> None:
        """Removes what glimr_keras wrote there."""
        with self._storing():
            for name in list(self._names()):
                if name.startswith((f"{HIDDEN}/", "trial_")):
                    self._files.delete_file(f"{self._root}/{name}")

    def start(self) -> None:
        """Sends what changes, from now on, in the background."""
        known = self.directory / HIDDEN / _SENT
        with contextlib.suppress(OSError, ValueError):
            self._sent = json.loads(known.read_text()) | self._sent
        self._done.clear()
        self._thread = threading.Thread(target=self._loop, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Sends the rest.

        Raises:
            StorageError: If that is not possible.
        """
        if self._thread is None:
            return
        self._done.set()
        self._thread.join()
        self._thread = None
        self.send()

    def send(self) -> None:
        """Sends what has changed since it was sent.

        Raises:
            StorageError: If that is not possible; the local copy has all of it.
        """
        with self._storing():
            journal = (self.directory / _JOURNAL).read_bytes()
            here = {name: _stamp(self.directory / name) for name in self._local()}
            changed = {name.rpartition("/")[0] for name, stamp in here.items() if self._sent.get(name) != stamp}
            unsent = {folder for folder in sorted(changed) if not self._send_checkpoint(folder)}
            for name in set(self._sent) - set(here):
                self._delete(name)
            if len(journal) != self._journal_sent:
                self._put(_JOURNAL, journal)
        self._journal_sent = len(journal)
        self._sent = {name: stamp for name, stamp in here.items() if stamp and name.rpartition("/")[0] not in unsent}
        _write(self.directory / HIDDEN / _SENT, json.dumps(self._sent).encode())

    def _send_checkpoint(self, folder: str) -> bool:
        """Whether it was there, whole, and is now there too."""
        try:
            files = checkpoints.packed(self.directory / folder)
        except (CheckpointError, FileNotFoundError):  # it is being written, or removed
            return False
        self._put(f"{folder}/new.weights.h5", files[checkpoints.WEIGHTS])
        self._put(f"{folder}/{checkpoints.DESCRIPTION}", files[checkpoints.DESCRIPTION])
        self._files.move(f"{self._root}/{folder}/new.weights.h5", f"{self._root}/{folder}/{checkpoints.WEIGHTS}")
        return True

    def _loop(self) -> None:
        while not self._done.wait(SECONDS):
            try:
                self.send()
            except Exception:
                continue  # it may be possible again; if it is not at the end, that is said

    def _local(self) -> Iterator[str]:
        """The names of the files of checkpoints."""
        for path in self.directory.glob("trial_*/**/checkpoint.*"):
            name = path.relative_to(self.directory).as_posix()
            if path.name in (checkpoints.WEIGHTS, checkpoints.DESCRIPTION) and "/." not in name:
                yield name

    def _names(self) -> Iterator[str]:
        """The names of the files that are there."""
        with self._storing():
            selector = pyarrow.fs.FileSelector(self._root, allow_not_found=True, recursive=True)
            for found in self._files.get_file_info(selector):
                if found.type == pyarrow.fs.FileType.File:
                    yield found.path.removeprefix(f"{self._root}/")

    def _content(self, name: str) -> bytes | None:
        with self._storing():
            path = f"{self._root}/{name}"
            if self._files.get_file_info(path).type != pyarrow.fs.FileType.File:
                return None
            with self._files.open_input_stream(path) as stream:
                content: bytes = stream.read()
            return content

    def _put(self, name: str, content: bytes) -> None:
        path = f"{self._root}/{name}"
        if self._files.type_name not in _WITHOUT_DIRECTORIES:
            self._files.create_dir(path.rpartition("/")[0], recursive=True)
        with self._files.open_output_stream(path) as stream:
            stream.write(content)

    def _delete(self, name: str) -> None:
        path = f"{self._root}/{name}"
        if self._files.get_file_info(path).type == pyarrow.fs.FileType.File:
            self._files.delete_file(path)

    @contextlib.contextmanager
    def _storing(self) -> Iterator[None]:
        try:
            yield
        except CheckpointError:
            raise
        except Exception as error:  # each kind of file system has errors of its own
            raise StorageError(
                f"{self.uri} cannot be read or written: {error}. The local copy of the project, with all that was done here, "
                f"is in {self.directory}; run the script again when it can."
            ) from error


def project_place(directory: Any, name: str = "") -> tuple[pathlib.Path, Mirror | None]:
    """Where a project is on this machine, and what keeps it the same as the one at its URI, if it is at one."""
    if not is_uri(directory):
        return pathlib.Path(directory).absolute() / name, None
    mirror = Mirror(f"{directory.rstrip('/')}/{name}")
    return mirror.directory, mirror


def _file_system(uri: str) -> tuple[pyarrow.fs.FileSystem, str]:
    try:
        files, path = pyarrow.fs.FileSystem.from_uri(uri)
    except (pyarrow.ArrowInvalid, pyarrow.ArrowNotImplementedError):
        try:
            import fsspec  # for what pyarrow does not know

            known, path = fsspec.core.url_to_fs(uri)
        except (ImportError, ValueError) as error:
            raise StorageError(f"There is no file system for {uri}: {error}") from error
        files = pyarrow.fs.PyFileSystem(pyarrow.fs.FSSpecHandler(known))
    except OSError as error:
        raise StorageError(f"{uri} cannot be reached: {error}") from error
    return files, path.rstrip("/")


def _stamp(path: pathlib.Path) -> list[int] | None:
    try:
        found = path.stat()
    except OSError:  # it is gone again
        return None
    return [found.st_size, found.st_mtime_ns]


def _write(path: pathlib.Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    checkpoints.write_whole(path, content)
