"""A project at a URI, such as `s3://bucket/runs/digits`: worked on as a local copy, which is sent there. Runs in the driver.

What is at the URI is whole at any time. The states of trainings are read first, then the journal, then the best checkpoints:
the journal tells of no weights that are not there, and no state is ahead of the journal, which would lack the epochs between
them. They become valid in the other order: checkpoints (new weights, description, then the weights take their place), the
journal, states. What is gone here is removed there at the end, a state only when there is a newer one or none is needed.
"""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import shutil
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pyarrow
import pyarrow.fs

from glimr_keras import checkpoints, storage
from glimr_keras.errors import CheckpointError, ProjectError, StorageError
from glimr_keras.journal import FILE, HIDDEN, Journal
from glimr_keras.trials import STATES

SECONDS = 5.0
"""Between two looks at what has changed."""
_JOURNAL = f"{HIDDEN}/{FILE}"
_SENT = "sent.json"
_STATES = f"/{STATES}/"
_PAUSES = (0.0, 0.05, 0.2)
"""In seconds, before a checkpoint is read and read again."""
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
        """Brings the journal up to date: what another machine has written there since. Nothing while a search is running here.

        Raises:
            ProjectError: If both were continued, each in its own way.
            StorageError: If it cannot be read.
        """
        there, here = self._content(_JOURNAL), self.directory / _JOURNAL
        ours = self._journal_here() if here.exists() else b""
        if there is None or ours.startswith(there):
            return
        journal = Journal(self.directory)
        if ours:
            try:
                journal.claim()
            except ProjectError:  # the search will be told
                return
        try:
            self._replace_journal(ours, there)
        finally:
            journal.close()

    def _replace_journal(self, ours: bytes, there: bytes) -> None:
        if ours and not there.startswith(ours):
            if ours.split(b"\n", 1)[0] == there.split(b"\n", 1)[0]:
                raise ProjectError(
                    f"The project at {self.uri} and its local copy in {self.directory} were both continued since they were the "
                    "same. Remove the one that is to be given up."
                )
            # another project was started there
            self.directory.rename(self.directory.with_name(f"{self.directory.name}.{time.time_ns()}"))
            self._sent = {}
        for states in list(self.directory.glob(f"trial_*/**/{STATES}")):
            shutil.rmtree(states, ignore_errors=True)  # what is there went on from others
        self._sent = dict(self._stamps())  # or would take the place of newer ones
        _write(self.directory / HIDDEN / _SENT, json.dumps(self._sent).encode())
        _write(self.directory / _JOURNAL, there)

    def pull_states(self) -> None:
        """Brings what trainings go on from: of each the newest state, unless there is one here.

        Raises:
            StorageError: If it cannot be read.
        """
        states: dict[str, list[str]] = {}
        for name in self._names():
            folder, _, file = name.rpartition("/")
            training, _, state = folder.partition(_STATES)
            if file == checkpoints.DESCRIPTION and state and "/" not in state:
                states.setdefault(training, []).append(folder)
        for training, folders in states.items():
            directory = self.directory / f"{training}{_STATES}"
            if checkpoints.newest(directory) is not None:
                continue
            whole = filter(None, map(self._whole, sorted(folders, reverse=True)))
            files = next(whole, None)
            if files is not None:
                checkpoints.put_state(directory, files)

    def _whole(self, folder: str) -> dict[str, bytes] | None:
        """The files of a checkpoint that is there, and of the one that a state has beside it; by name, as `packed` has them."""
        files: dict[str, bytes] = {}
        for part in ("", f"{checkpoints.BEST}/"):
            description = self._content(f"{folder}/{part}{checkpoints.DESCRIPTION}")
            if description is None:
                continue
            found = (  # the second if a machine was lost while it sent them
                self._content(f"{folder}/{part}{file}") for file in (checkpoints.WEIGHTS, checkpoints.NEW)
            )
            weights = next((each for each in found if each is not None and checkpoints.fits(description, each)), None)
            if weights is None:
                return None
            files |= {f"{part}{checkpoints.DESCRIPTION}": description, f"{part}{checkpoints.WEIGHTS}": weights}
        return files or None

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
        files = self._whole(name)
        if files is not None:
            checkpoints.put(directory, files)

    def fetch_all(self) -> None:
        """Brings all checkpoints.

        Raises:
            StorageError: If they cannot be read.
        """
        for name in self._names():
            if name.endswith(f"/{checkpoints.DESCRIPTION}") and _STATES not in name:
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
            journal = self._journal_here()
            if _JOURNAL in there:
                self._check_journal(journal)
            self._put_journal(journal)
            gone = there - set(dict(self._stamps()))
            self._sent |= {name: [] for name in gone if _training_of(name)}  # states that others took the place of
        self._done.clear()
        self._thread = threading.Thread(target=self._loop, daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Says if this search sends nothing more.

        Raises:
            ProjectError: If another search has written to the project there.
        """
        if self._conflict is not None:
            raise self._conflict

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
        self.check()
        with self._storing():
            before = dict(self._stamps())
            ongoing = {each for each in map(_training_of, self._sent) if each and (self.directory / each / STATES).exists()}
            states = self._put_changed(before, of_states=True)
            journal = self._journal_here()
            self._check_journal(journal)
            here = dict(self._stamps())  # again, since the journal may tell of them
            best = self._put_changed(here, of_states=False)
            self._describe(best)
            self._put_journal(journal)
            self._describe(states)
            missing = {folder for folder, files in (best | states).items() if files is None}
            now = {name: stamp for name, stamp in here.items() if not _training_of(name)}
            now |= {name: stamp for name, stamp in before.items() if _training_of(name)}
            sent = {name: stamp for name, stamp in now.items() if _folder(name) not in missing}
            without = ongoing - {_training_of(name) for name in sent}  # whose only state may be that which is there
            for name in set(self._sent) - set(sent):
                if name in now or _training_of(name) in without:
                    sent[name] = self._sent[name]
                else:
                    self._delete(name)
        self._sent = sent
        _write(self.directory / HIDDEN / _SENT, json.dumps(self._sent).encode())

    def _put_changed(self, here: Mapping[str, list[int]], of_states: bool) -> dict[str, dict[str, bytes] | None]:
        """Sends the weights of checkpoints that have changed, beside those that are there.

        Returns:
            By folder, the descriptions that are to follow; `None` if there is no whole checkpoint, since it is being removed.
        """
        changed = {_folder(name) for name, stamp in here.items() if self._sent.get(name) != stamp}
        return {folder: self._put_weights(folder) for folder in sorted(changed) if (_STATES in folder) == of_states}

    def _check_journal(self, ours: bytes) -> None:
        """Refuses to go on where another search has written, or has removed what was there."""
        if self._there is not None and self._journal_there() == self._there:
            return
        there = self._content(_JOURNAL)
        if there is None or not ours.startswith(there):
            self._conflict = ProjectError(
                f"Another search has written to the project at {self.uri}, or it was removed there, so this one sends nothing "
                f"more. What was done here is in {self.directory}, and can be given to other searches as `warm_start`."
            )
            raise self._conflict
        self._there = self._journal_there()

    def _journal_here(self) -> bytes:
        """The journal's lines that are written to their end."""
        content = (self.directory / _JOURNAL).read_bytes()
        return content[: content.rfind(b"\n") + 1]

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

    def _put_weights(self, folder: str) -> dict[str, bytes] | None:
        for pause in _PAUSES:
            time.sleep(pause)
            try:
                files = checkpoints.packed(self.directory / folder)
                break
            except CheckpointError:
                continue  # it may just be written
        else:
            return None
        for name, content in files.items():
            if name.endswith(checkpoints.WEIGHTS):
                self._put(f"{folder}/{name.removesuffix(checkpoints.WEIGHTS)}{checkpoints.NEW}", content)
        return {name: content for name, content in files.items() if name.endswith(checkpoints.DESCRIPTION)}

    def _describe(self, checkpoint_files: Mapping[str, Mapping[str, bytes] | None]) -> None:
        """Sends descriptions, and puts the weights that they are of in their place."""
        for folder, descriptions in checkpoint_files.items():
            for name in sorted(descriptions or (), key=len, reverse=True):  # the state itself after its best weights
                place = f"{folder}/{name.removesuffix(checkpoints.DESCRIPTION)}"
                self._put(f"{folder}/{name}", (descriptions or {})[name])
                self._files.move(f"{self._root}/{place}{checkpoints.NEW}", f"{self._root}/{place}{checkpoints.WEIGHTS}")

    def _loop(self) -> None:
        while not self._done.wait(SECONDS):
            try:
                self.send()
            except Exception:
                continue  # it may be possible again; if it is not at the end, that is said

    def _stamps(self) -> Iterator[tuple[str, list[int]]]:
        """The files of checkpoints that are here, each with its size and time of change."""
        for folder, _, files in os.walk(self.directory):
            name = pathlib.Path(folder).relative_to(self.directory).as_posix()
            if name.startswith("trial_") and "/." not in name:
                for file in {checkpoints.WEIGHTS, checkpoints.DESCRIPTION}.intersection(files):
                    stamp = _stamp(pathlib.Path(folder, file))
                    if stamp is not None:  # and not gone again
                        yield f"{name}/{file}", stamp

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


def _folder(name: str) -> str:
    """That of a file's checkpoint; the best weights of a state are a part of it."""
    folder = name.rpartition("/")[0]
    return folder.removesuffix(f"/{checkpoints.BEST}") if _STATES in name else folder


def _training_of(name: str) -> str:
    """The training that a state's file is of; empty for other files."""
    training, found, _ = name.partition(_STATES)
    return training if found else ""


def _stamp(path: pathlib.Path) -> list[int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return [found.st_size, found.st_mtime_ns]


def _write(path: pathlib.Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    storage.write_whole(path, content)
