"""A project at a URI, such as `s3://bucket/runs/digits`: worked on as a local copy, which is sent there. Runs in the driver.

What is at the URI is whole at any time. The best checkpoints are sent as they are written (new weights, description, then the
weights take their place), then the journal as it was before them, and then the states of trainings, which are from before that:
a state that were ahead of the journal would lack the epochs between them. What is gone here is removed there at the end.
"""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pyarrow
import pyarrow.fs

from glimr_keras import checkpoints, storage
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
        self._there: Any = None  # the journal's size and time of change there, when it was last known to be ours
        self._conflict: ProjectError | None = None
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
            # another project was started there
            self.directory.rename(self.directory.with_name(f"{self.directory.name}.{time.time_ns()}"))
            self._sent = {}
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
        is_whole = checkpoints.is_whole(directory)
        if is_whole and (score is None or checkpoints.describe(directory).score == score):
            return
        name = directory.relative_to(self.directory).as_posix()
        description = self._content(f"{name}/{checkpoints.DESCRIPTION}")
        here = directory / checkpoints.DESCRIPTION
        if description is None or (is_whole and here.read_bytes() == description):
            return
        for file in (checkpoints.WEIGHTS, checkpoints.NEW):  # the second if a machine was lost while it sent them
            weights = self._content(f"{name}/{file}")
            if weights is not None and checkpoints.fits(description, weights):
                checkpoints.put(directory, {checkpoints.DESCRIPTION: description, checkpoints.WEIGHTS: weights})
                return

    def fetch_all(self) -> None:
        """Brings all checkpoints.

        Raises:
            StorageError: If they cannot be read.
        """
        for name in self._names():
            if name.endswith(f"/{checkpoints.DESCRIPTION}") and "/latest/" not in name:
                self.fetch((self.directory / name).parent)

    # To there

    def start(self, overwrites: Callable[[str], bool] | None = None) -> None:
        """Sends what changes, from now on, in the background.

        Args:
            overwrites: Says of the first part of a name whether what is there under it belongs to the project that this one
                takes the place of, and is removed.

        Raises:
            ProjectError: If the project there is not one that this one continues.
            StorageError: If it cannot be read.
        """
        there = set(self._names())
        if overwrites is not None:
            with self._storing():
                for name in [name for name in there if overwrites(name.partition("/")[0])]:
                    self._files.delete_file(f"{self._root}/{name}")
                    there.discard(name)
        known = self.directory / HIDDEN / _SENT
        with contextlib.suppress(OSError, ValueError):
            self._sent = json.loads(known.read_text()) | self._sent
        self._sent = {name: stamp for name, stamp in self._sent.items() if name in there}
        self._there, self._conflict = None, None
        with self._storing():
            self._check_journal((self.directory / _JOURNAL).read_bytes())
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
            ProjectError: If another search has written to the project there.
            StorageError: If that is not possible; the local copy has all of it.
        """
        if self._conflict is not None:
            raise self._conflict
        with self._storing():
            here = {name: _stamp(self.directory / name) for name in self._local()}
            changed = sorted({name.rpartition("/")[0] for name, stamp in here.items() if self._sent.get(name) != stamp})
            states = {folder: self._put_weights(folder) for folder in changed if "/latest/" in folder}
            journal = (self.directory / _JOURNAL).read_bytes()
            self._check_journal(journal)
            best = {folder: self._put_weights(folder) for folder in changed if folder not in states}
            self._describe(best)
            self._put_journal(journal)
            self._describe(states)
            for name in set(self._sent) - set(here):
                self._delete(name)
        unsent = {folder for folder, description in (best | states).items() if description is None}
        self._sent = {name: stamp for name, stamp in here.items() if stamp and name.rpartition("/")[0] not in unsent}
        _write(self.directory / HIDDEN / _SENT, json.dumps(self._sent).encode())

    def _check_journal(self, ours: bytes) -> None:
        """Refuses to go on where another search has written."""
        if self._there is not None and self._journal_there() == self._there:
            return
        there = self._content(_JOURNAL)
        if there is not None and not ours.startswith(there):
            self._conflict = ProjectError(
                f"Another search has written to the project at {self.uri}, so this one sends nothing more there. What was done "
                f"here is in {self.directory}, and can be given to other searches as `warm_start`."
            )
            raise self._conflict
        self._there = self._journal_there()

    def _journal_there(self) -> Any:
        found = self._files.get_file_info(f"{self._root}/{_JOURNAL}")
        return None if found.type != pyarrow.fs.FileType.File else (found.size, found.mtime_ns)

    def _put_journal(self, journal: bytes) -> None:
        if self._there is not None and self._there[0] == len(journal):
            return
        if self._files.type_name in _WITHOUT_DIRECTORIES:  # where a file is there when it is whole
            self._put(_JOURNAL, journal)
        else:
            self._put(f"{_JOURNAL}.new", journal)
            self._files.move(f"{self._root}/{_JOURNAL}.new", f"{self._root}/{_JOURNAL}")
        self._there = self._journal_there()

    def _put_weights(self, folder: str) -> bytes | None:
        """Sends the weights of a checkpoint, beside those that are there.

        Returns:
            The description that is to follow; `None` if there is no whole checkpoint, since it is being written or removed.
        """
        try:
            files = checkpoints.packed(self.directory / folder)
        except CheckpointError:
            return None
        self._put(f"{folder}/{checkpoints.NEW}", files[checkpoints.WEIGHTS])
        return files[checkpoints.DESCRIPTION]

    def _describe(self, descriptions: Mapping[str, bytes | None]) -> None:
        """Sends descriptions, and puts the weights that they are of in their place."""
        for folder, description in descriptions.items():
            if description is not None:
                self._put(f"{folder}/{checkpoints.DESCRIPTION}", description)
                place = f"{self._root}/{folder}"
                self._files.move(f"{place}/{checkpoints.NEW}", f"{place}/{checkpoints.WEIGHTS}")

    def _loop(self) -> None:
        while not self._done.wait(SECONDS):
            try:
                self.send()
            except Exception:
                continue  # it may be possible again; if it is not at the end, that is said

    def _local(self) -> Iterator[str]:
        """The names of the files of checkpoints."""
        for folder, _, files in os.walk(self.directory):
            name = pathlib.Path(folder).relative_to(self.directory).as_posix()
            if name.startswith("trial_") and "/." not in name:
                yield from (f"{name}/{file}" for file in files if file in (checkpoints.WEIGHTS, checkpoints.DESCRIPTION))

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
        except (CheckpointError, ProjectError):
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
    storage.write_whole(path, content)
