"""A project at a URI, such as `s3://bucket/runs/digits`: the search works on a local copy, which is
sent there. Runs in the driver.

The content at the URI is consistent at any time. Readers read training states first, then the
journal, then the best checkpoints. So the journal refers to no missing weights, and no state is
ahead of the journal, which would lack the epochs between. The parts become valid in reverse order:
checkpoints (new weights, description, then the weights replace the old ones), the journal, states.
Content removed here is removed there last, a state only if it is superseded or no longer needed.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import pathlib
import threading
import time
import urllib.parse
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from glimr_keras._utils import files
from glimr_keras.errors import CheckpointError, ProjectError, StorageError
from glimr_keras.project import (
    checkpoints,
    predictions,
    remote_content,
    stamps,
    training_states,
)
from glimr_keras.project.journal import FILE, HIDDEN, Journal
from glimr_keras.project.remote_claim import NAME, Claim
from glimr_keras.project.remote_files import Remote, is_uri, without_keys
from glimr_keras.trials.layout import STATES, trial_directories

SECONDS = 5.0
"""The seconds between two checks for changes."""
_JOURNAL = f"{HIDDEN}/{FILE}"
_CLAIM = f"{HIDDEN}/{NAME}"
_SENT = "sent.json"
_PAUSES = (0.0, 0.05, 0.2)
"""The pauses in seconds before each attempt to read a checkpoint."""
_WAITS = (0.0, *[0.1] * 20)
"""The pauses in seconds before each check that nobody writes to the journal."""


@dataclasses.dataclass(frozen=True)
class _Checkpoint:
    """A checkpoint whose weights were sent.

    Attributes:
        folder: Its name.
        stamps: The stamps of its files before it was sent.
        descriptions: The descriptions still to send, by name in the folder.
    """

    folder: str
    stamps: dict[str, list[int]]
    descriptions: dict[str, bytes]


class Mirror:
    """The local copy of a project at a URI.

    Args:
        uri: A URI of a file system that `pyarrow.fs` or fsspec knows. They read credentials and
            endpoints from the environment.

    Attributes:
        directory: The local copy, in `GLIMR_KERAS_CACHE`, or else in the user's cache directory.
            For a reader, a directory beside it while the copy belongs to an earlier project.

    Raises:
        StorageError: If there is no such file system.
    """

    def __init__(self, uri: str) -> None:
        self.uri = uri.rstrip("/")
        asked = map(os.environ.get, ("GLIMR_KERAS_CACHE", "XDG_CACHE_HOME"))
        cache = next(filter(None, asked), "~/.cache")
        place = pathlib.Path(cache).expanduser().absolute() / "glimr_keras"
        self._home = place / urllib.parse.quote(self.uri, safe="")
        self.directory = self._home
        self._remote = Remote(self.uri, self.directory)
        self._claim = Claim(self._remote, _CLAIM, self._home)
        self._sent: dict[str, list[int]] = {}  # size and modification time of each sent file
        # Names that existed when the search began, and those among them that are to be removed
        self._found, self._removed = set[str](), set[str]()
        self._there: Any = None  # the stamp of the remote journal when last known to be ours
        self._conflict: ProjectError | None = None
        self._done = threading.Event()
        self._thread: threading.Thread | None = None

    # Downloading

    def stamp(self) -> tuple[int, int] | None:
        """Return a stamp that changes whenever the remote journal is written, without reading it;
        `None` if there is no journal.

        Raises:
            StorageError: If it cannot be determined.
        """
        return self._remote.stamp(_JOURNAL)

    def pull(self) -> bool:
        """Bring the local journal up to date with other machines' records, for a search.

        A local copy of a different project is moved aside.

        Returns:
            Whether there is a project at the URI.

        Raises:
            ProjectError: If the project and its copy were both continued separately.
            StorageError: If it cannot be read.
        """
        self.directory = self._home
        there = self._remote.content(_JOURNAL)
        if there is not None:
            self._bring(there)
        return there is not None

    def pull_to_read(self) -> bool:
        """Bring the local journal up to date, for a reader, unless a search is running here.

        A local copy of a different project is kept, and `directory` becomes one beside it.

        Returns:
            Whether there is a project at the URI.

        Raises:
            ProjectError: If the project and its copy were both continued separately.
            StorageError: If it cannot be read.
        """
        self.directory = self._home
        there = self._remote.content(_JOURNAL)
        if there is None:
            return False
        ours, header = self._journal_here(), there.partition(b"\n")[0]
        if ours and ours.partition(b"\n")[0] != header and not self._is_searched():
            digest = hashlib.blake2b(header, digest_size=8).hexdigest()
            self.directory = self._home.with_name(f"{self._home.name}.{digest}")
        self._bring(there)
        return True

    def _is_searched(self) -> bool:
        """Return whether a search writes to the local journal."""
        for pause in _WAITS:  # in case the lock is a reader's, such as this one
            time.sleep(pause)
            journal = Journal(self.directory)
            with contextlib.suppress(ProjectError):
                journal.claim()
                journal.close()
                return False
        return True

    def _bring(self, there: bytes) -> None:
        """Fetch the remote journal, unless a search writes to the local one."""
        for pause in _WAITS:  # in case the lock is a reader's, such as this one
            if self._journal_here().startswith(there):
                break
            time.sleep(pause)
            journal = Journal(self.directory)
            try:
                journal.path.parent.mkdir(parents=True, exist_ok=True)
                journal.claim()
            except ProjectError:
                continue
            try:
                self._take_journal(journal, there)
            finally:
                journal.close()
            break

    def pull_existing(self) -> None:
        """Bring the local journal up to date, for a reader.

        Raises:
            ProjectError: If there is no project at the URI, though maybe a local copy; or if both
                were continued separately.
            StorageError: If it cannot be read.
        """
        if self.pull_to_read():
            return
        copy = f" A copy from before is in {self.directory}."
        raise ProjectError(
            f"There is no project at {without_keys(self.uri)}."
            f"{copy if Journal(self.directory).exists() else ''}"
        )

    def _take_journal(self, journal: Journal, there: bytes) -> None:
        """Replace the local journal, which only this process writes, by the remote one."""
        ours = self._journal_here()
        if ours.startswith(there):
            return
        if not there.startswith(ours):
            if ours.split(b"\n", 1)[0] == there.split(b"\n", 1)[0]:
                raise ProjectError(
                    f"The project at {self.uri} and its local copy in {self.directory} were both "
                    "continued since they were the same. Remove the one that is to be given up."
                )
            # another project was started there
            self.directory.rename(
                self.directory.with_name(f"{self.directory.name}.{time.time_ns()}")
            )
            journal.close()
            journal.path.parent.mkdir(parents=True)
            ours = b""
        for trial in trial_directories(self.directory):
            for states in list(trial.glob(f"**/{STATES}")):
                training_states.remove_states(states)  # the remote project has other states
        self._sent = {
            name: stamp
            for files in stamps.listed(self.directory).values()
            for name, stamp in files.items()
        }  # none is newer
        self._remember(self._sent)
        journal.extend(there[len(ours) :])

    def pull_states(self) -> None:
        """Fetch the newest state of each training without a local one.

        Raises:
            StorageError: If it cannot be read.
        """
        states: dict[str, list[tuple[tuple[int, int], str]]] = {}
        for name in self._descriptions():
            folder = name.rpartition("/")[0]
            if stamps.training_of(name) and stamps.folder_of(name) == folder:
                states.setdefault(stamps.training_of(name), []).append(
                    (checkpoints.age(self._remote.content(name)), folder)
                )
        for training, folders in states.items():
            directory = self.directory / training / STATES
            if training_states.newest(directory) is not None:
                continue
            contents = (
                remote_content.whole(self._remote.content, each)
                for _, each in sorted(folders, reverse=True)
            )
            files = next(filter(None, contents), None)
            if files is not None:
                training_states.put_state(directory, files)
                self.fetch_predictions(self.directory / training)

    def fetch(self, directory: pathlib.Path, score: float | None = None) -> None:
        """Fetch the checkpoint of an execution's folder, unless the right one is here.

        Args:
            directory: The execution's folder.
            score: The checkpoint's score, to recognise an outdated one that another machine has
                replaced. Defaults to `None`, which means any.

        Raises:
            StorageError: If it cannot be read.
        """
        is_whole = checkpoints.is_whole(directory)
        if is_whole and score is not None and checkpoints.describe(directory).score == score:
            return
        name = directory.relative_to(self.directory).as_posix()
        known = self._remembered()
        if is_whole and any(
            known.get(file) != stamp
            for file, stamp in stamps.files_in(self.directory, name).items()
        ):
            return  # it is newer than what was sent or fetched
        description = self._remote.content(f"{name}/{checkpoints.DESCRIPTION}")
        if description is None or (
            is_whole and (directory / checkpoints.DESCRIPTION).read_bytes() == description
        ):
            return
        files = remote_content.whole(self._remote.content, name)
        if files is not None:
            checkpoints.put(directory, files)
            brought = stamps.files_in(self.directory, name)
            self._sent |= brought
            self._remember(known | brought)

    def fetch_predictions(self, directory: pathlib.Path) -> None:
        """Fetch the predictions of an execution's folder, unless the local ones are newer.

        Raises:
            StorageError: If they cannot be read.
        """
        name = f"{directory.relative_to(self.directory).as_posix()}/{predictions.FILE}"
        here, known = stamps.stamp(self.directory / name), self._remembered()
        content = self._remote.content(name) if here in (None, known.get(name)) else None
        if content is not None:
            predictions.put_whole(directory, content)
            brought = {name: stamps.stamp(self.directory / name) or []}
            self._sent |= brought
            self._remember(known | brought)

    def fetch_all(self) -> None:
        """Fetch all checkpoints.

        Raises:
            StorageError: If they cannot be read.
        """
        for name in self._descriptions():
            if stamps.STATES_PART not in name:
                self.fetch((self.directory / name).parent)

    def _descriptions(self) -> Iterator[str]:
        """Yield the names of the remote descriptions of checkpoints."""
        for name in self._remote.names():
            folder, _, file = name.rpartition("/")
            if file == checkpoints.DESCRIPTION and remote_content.is_checkpoint(folder):
                yield name

    # Uploading

    def begin(self, overwrite: bool) -> pathlib.Path:
        """Fetch what a search needs to resume, once no other one runs there, and return the local
        directory.

        Args:
            overwrite: Whether the search starts from nothing.

        Raises:
            ProjectError: If another search runs there, or both were continued separately.
            StorageError: If it cannot be read.
        """
        self.directory = self._home
        self._claim.wait()
        if not overwrite:
            self.pull()
            self.pull_states()
        return self.directory

    def start(self, overwrite: bool = False) -> None:
        """Claim the remote project, and from now on send changes in the background.

        Args:
            overwrite: Whether to remove the existing remote project first. Defaults to `False`.

        Raises:
            ProjectError: If another search runs there, or this one does not continue the remote
                project.
            StorageError: If it cannot be read.
        """
        self.directory = self._home
        self._claim.take()
        try:
            self._start(overwrite)
        except BaseException:
            with contextlib.suppress(StorageError):
                self._claim.release()
            raise

    def _start(self, overwrite: bool) -> None:
        there = set(self._remote.names()) - {_CLAIM}
        self._claim.tidy(there)
        if overwrite:
            old = remote_content.of_project(there, self._remote.content(_JOURNAL))
            # the journal first, without which the others are worthless
            for name in sorted(old, key=lambda name: name != _JOURNAL):
                self._remote.delete(name)
                there.discard(name)
        self._sent = {name: stamp for name, stamp in self._remembered().items() if name in there}
        self._found, self._there, self._conflict = there, None, None
        with self._remote.storing():
            journal = self._journal_here()
            if _JOURNAL in there:
                self._check_journal(journal)
            else:
                # this claims the place; the rest follows the weights
                self._put_journal(journal[: journal.find(b"\n") + 1])
            # states sent by others, or by this machine just before it was lost
            unknown = filter(stamps.training_of, there.difference(self._sent))
            self._sent |= {name: [] for name in unknown}
        self._done.clear()
        self._thread = threading.Thread(target=self._loop, daemon=True)
        self._thread.start()

    def remove(self, directory: pathlib.Path) -> None:
        """Remove the weights in an execution's folder, locally and remotely, whoever sent them."""
        checkpoints.remove(directory)
        folder = directory.relative_to(self.directory).as_posix()
        files = (f"{folder}/{file}" for file in remote_content.OF_CHECKPOINTS)
        self._removed |= self._found.intersection(files)

    def check(self) -> None:
        """Raise an error if this search has stopped sending.

        Raises:
            ProjectError: If another search has written to the remote project.
        """
        if self._conflict is not None:
            raise self._conflict

    def close(self) -> None:
        """Send the rest.

        Raises:
            StorageError: If that fails.
        """
        if self._thread is None:
            return
        self._done.set()
        try:
            self._thread.join()
            self._thread = None
            self.send()
        finally:
            with contextlib.suppress(StorageError):  # it expires after a minute
                self._claim.release()

    def send(self) -> None:
        """Send what has changed since the last time.

        Raises:
            ProjectError: If another search has written to the remote project.
            StorageError: If sending fails; the local copy has everything.
        """
        self.check()
        with self._remote.storing():
            self._hold()
            self._check_journal(self._journal_here())
            while self._removed:
                self._sent.setdefault(self._removed.pop(), [])
            before = stamps.listed(self.directory)
            ended = {
                each
                for each in map(stamps.training_of, self._sent)
                if each and not (self.directory / each / STATES).exists()
            }
            trainings = {stamps.training_of(f"{folder}/") for folder in before} - {""}
            states = self._put_changed(
                (state, stamps.files_in(self.directory, state))
                for state in map(self._newest_state, sorted(trainings))
            )
            journal = self._journal_here()
            best = self._put_changed(
                (folder, files)
                for folder, files in stamps.listed(self.directory).items()
                if stamps.STATES_PART not in folder
            )
            self._check_journal(journal)
            self._describe(best)
            self._put_journal(journal)
            self._describe(states)
            self._delete_gone(before, ended)
            self._remember(self._sent)

    def _newest_state(self, training: str) -> str:
        """Return the folder of a training's newest state now, which may change at any moment."""
        states = self.directory / training / STATES
        there = states.iterdir() if states.is_dir() else ()
        names = [path.name for path in there if not path.name.startswith(".")]
        return f"{training}{stamps.STATES_PART}{max(names, default='')}"

    def _put_changed(
        self, candidates: Iterable[tuple[str, dict[str, list[int]]]]
    ) -> list[_Checkpoint]:
        """Send the changed weights of checkpoints, beside the remote ones; skip any being removed.

        Args:
            candidates: Folders with their files, evaluated one at a time.
        """
        found = []
        for folder, seen in candidates:
            if any(self._sent.get(name) != stamp for name, stamp in seen.items()):
                descriptions = self._put_weights(folder)
                found += [] if descriptions is None else [_Checkpoint(folder, seen, descriptions)]
                self._hold()  # sending may have taken long
        return found

    def _delete_gone(self, before: Mapping[str, Mapping[str, list[int]]], ended: set[str]) -> None:
        """Remove remotely what was gone locally before the journal was read, except the last
        state of a training that continues.
        """
        here = [
            name
            for name, stamp in self._sent.items()
            if stamps.training_of(name) and stamps.stamp(self.directory / name) == stamp
        ]
        needless = ended | set(map(stamps.training_of, here))
        for name in [name for name in self._sent if stamps.folder_of(name) not in before]:
            training = stamps.training_of(name)
            if not (self.directory / name).exists() and (not training or training in needless):
                self._remote.delete(name)
                del self._sent[name]

    def _hold(self) -> None:
        """Raise an error if another search has claimed the project."""
        try:
            self._claim.hold()
        except ProjectError as error:
            self._conflict = error
            raise

    def _check_journal(self, ours: bytes) -> None:
        """Raise an error if another search has written to the remote journal or removed it."""
        if self._there is not None and self._remote.stamp(_JOURNAL) == self._there:
            return
        there = self._remote.content(_JOURNAL)
        if there is None or not ours.startswith(there):
            self._conflict = ProjectError(
                f"Another search has written to the project at {self.uri}, or it was removed "
                "there, so this one sends nothing more. What was done here is in "
                f"{self.directory}, and can be given to other searches as `warm_start`."
            )
            raise self._conflict
        self._there = self._remote.stamp(_JOURNAL)

    def _journal_here(self) -> bytes:
        """Return the complete lines of the local journal."""
        try:
            content = (self.directory / _JOURNAL).read_bytes()
        except FileNotFoundError:
            return b""
        return content[: content.rfind(b"\n") + 1]

    def _put_journal(self, journal: bytes) -> None:
        if self._there is not None and self._there[0] == len(journal):
            return
        self._remote.put_whole(_JOURNAL, journal, f".{self._claim.owner}")
        self._there = self._remote.stamp(_JOURNAL)

    def _put_weights(self, folder: str) -> dict[str, bytes] | None:
        """Send weights and return their descriptions, still to be sent; `None` if nothing was
        sent.
        """
        if stamps.is_predictions(folder):
            with contextlib.suppress(FileNotFoundError):
                self._remote.put_whole(folder, (self.directory / folder).read_bytes())
            return {}
        for pause in _PAUSES:
            time.sleep(pause)
            try:
                files = checkpoints.packed(self.directory / folder)
                break
            except CheckpointError:
                continue  # it may be being written
        else:
            return None
        for name, content in files.items():
            if name.endswith(checkpoints.WEIGHTS):
                self._remote.put(
                    f"{folder}/{name.removesuffix(checkpoints.WEIGHTS)}{checkpoints.NEW}", content
                )
        return {
            name: content
            for name, content in files.items()
            if name.endswith(checkpoints.DESCRIPTION)
        }

    def _describe(self, sent: Iterable[_Checkpoint]) -> None:
        """Send descriptions, and let their weights replace the old ones."""
        for checkpoint in sent:
            for name in sorted(
                checkpoint.descriptions, key=len, reverse=True
            ):  # the state itself after its best weights
                place = f"{checkpoint.folder}/{name.removesuffix(checkpoints.DESCRIPTION)}"
                self._remote.put_whole(f"{checkpoint.folder}/{name}", checkpoint.descriptions[name])
                self._remote.move(f"{place}{checkpoints.NEW}", f"{place}{checkpoints.WEIGHTS}")
            self._sent |= checkpoint.stamps

    def _loop(self) -> None:
        while not self._done.wait(SECONDS):
            try:
                self.send()
            except Exception:
                continue  # it may work later; a failure at the end is raised

    def _remembered(self) -> dict[str, list[int]]:
        """Return what this machine remembers as sent or fetched."""
        with contextlib.suppress(OSError, ValueError):
            known: dict[str, list[int]] = json.loads((self.directory / HIDDEN / _SENT).read_text())
            return known
        return {}

    def _remember(self, sent: Mapping[str, list[int]]) -> None:
        files.write_json(self.directory / HIDDEN / _SENT, sent)


def project_place(directory: Any, name: str = "") -> tuple[pathlib.Path, Mirror | None]:
    """Return a project's local directory, and its `Mirror` if it is at a URI."""
    if not is_uri(directory):
        return pathlib.Path(directory).absolute() / name, None
    mirror = Mirror(f"{directory.rstrip('/')}/{name}")
    return mirror.directory, mirror


def place_to_read(directory: Any) -> tuple[pathlib.Path, Mirror | None]:
    """Return the same for a project that is only read, up to date with its URI.

    Raises:
        ProjectError: If there is no project at its URI.
        StorageError: If it cannot be read.
    """
    place, mirror = project_place(directory)
    if mirror is not None:
        mirror.pull_existing()
        place = mirror.directory
    return place, mirror
