"""A directory whose every change is a moment at which something may happen.

What is written there is written. But a process may be killed before, in the middle of or after a
change; the power may be cut, and then what was not forced to the disk may be there or not; and
there may be no room.

What a power cut leaves is what an ordered, journalling file system leaves: names change in the
order in which they were changed, and forcing one file forces the names; of content that was not
forced, any first part may be there.
"""

from __future__ import annotations

import builtins
import collections
import contextlib
import dataclasses
import errno
import io
import itertools
import os
import pathlib
import random
import shutil
from collections.abc import Iterator
from unittest import mock

BEFORE, WITHIN, AFTER = 0.0, 0.5, 1.0
_PATH = {name: getattr(pathlib.Path, name) for name in ("open", "replace", "unlink", "write_bytes")}
_FSYNC, _LINK, _OPEN, _RMTREE = os.fsync, os.link, open, shutil.rmtree


class Killed(BaseException):
    """The process that was at work is gone."""


class PowerCut(Killed):
    """All processes are gone, and what was not forced to the disk may be."""


@dataclasses.dataclass(frozen=True)
class Fault:
    """What happens at a change of the disk.

    Attributes:
        kind: `"killed"` (the process that makes it), `"power"` or `"full"`.
        by: Whose changes are counted, `"driver"` or `"worker"`.
        at: The number of the change among those, counted from 0 in each session.
        part: How much of it is done before: none, a part of what is written, or all.
    """

    kind: str
    by: str
    at: int
    part: float = BEFORE


@dataclasses.dataclass
class _Content:
    """What is in a file.

    Attributes:
        held: As processes see it.
        forced: As it is sure to be on the disk.
        changed: When it was, in changes of the disk, each of which is another time.
    """

    held: bytes = b""
    forced: bytes = b""
    changed: int = 0

    def left(self, generator: random.Random) -> bytes:
        """What a power cut leaves of it: what was forced, and any first part of the rest."""
        if not self.held.startswith(self.forced):  # it was cut, or written anew
            return generator.choice([self.forced, self.held])
        return self.held[: generator.randint(len(self.forced), len(self.held))]


class Disk:
    """The directory `root`, and what happens there.

    Args:
        root: Of all that is watched; it is empty.
        seed: Of what a power cut leaves.

    Attributes:
        actor: Who is at work, `"driver"` or `"worker"`.
        changes: How many each has made in this session.
        happened: The faults that came true.
    """

    def __init__(self, root: pathlib.Path, seed: int) -> None:
        self.root, self.actor = root, "driver"
        self.changes: collections.Counter[str] = collections.Counter()
        self.happened: list[Fault] = []
        self._faults: dict[tuple[str, int], Fault] = {}
        self._is_full = False
        self._generator = random.Random(seed)
        self._names: dict[str, _Content] = {}
        self._times = itertools.count(1)
        self._open: list[io.FileIO] = []
        self._sure: dict[str, _Content] = {}  # the names that a power cut leaves
        self._unsure: list[dict[str, _Content]] = []  # those after each change since

    def begin(self, faults: tuple[Fault, ...]) -> None:
        """A script begins, with room on the disk, and these faults to come. What those before had
        open is closed, as they are gone.
        """
        while self._open:
            io.FileIO.close(self._open.pop())
        self.changes.clear()
        self.actor, self._is_full = "driver", False
        self._faults = {(fault.by, fault.at): fault for fault in faults}

    def cut_power(self) -> None:
        """Leave what is on the disk, when all processes are gone."""
        names = self._generator.choice([self._sure, *self._unsure])
        left = {id(content): content.left(self._generator) for content in names.values()}
        for path in self.root.iterdir():
            _RMTREE(path)
        changed = {id(content): content.changed for content in names.values()}
        contents = {key: _Content(held, held, changed[key]) for key, held in left.items()}
        self._names = {name: contents[id(content)] for name, content in names.items()}
        for name, content in self._names.items():
            path = pathlib.Path(name)
            path.parent.mkdir(parents=True, exist_ok=True)
            _write(path, content.held)
            os.utime(path, ns=(content.changed, content.changed))
        self._sure, self._unsure = dict(self._names), []

    def rewrite(self, path: pathlib.Path, content: bytes) -> None:
        """Somebody else has written a file."""
        _write(path, content)
        self._names[str(path)].held = self._names[str(path)].forced = content

    def settle(self) -> None:
        """All is on the disk, after a while in which nobody was at work."""
        for content in self._names.values():
            content.forced = content.held
        self._sure, self._unsure = dict(self._names), []

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Changes of the directory go through here."""
        disk = self

        def opened(path, mode="r", buffering=-1, *args, **kwargs):
            if not disk._has(path) or not set(mode) & set("wa+"):
                return _PATH["open"](path, mode, buffering, *args, **kwargs)
            raw = _File(disk, path, mode.replace("b", ""))
            return raw if buffering == 0 else io.BufferedRandom(raw)

        def write_bytes(path, data):
            if not disk._has(path):
                return _PATH["write_bytes"](path, data)
            with disk._change(len(data), needs_room=True) as done:
                _write(path, data[:done])
                disk._names[str(path)] = _Content(data[:done])
                disk._note_time(path, str(path))
            return len(data)

        def opened_anew(path, mode="r", *args, opener=None, **kwargs):
            if "w" not in mode or not disk._has(pathlib.Path(path)):
                return _OPEN(path, mode, *args, opener=opener, **kwargs)
            return _File(disk, pathlib.Path(path), "w")

        def unlink(path, missing_ok=False):
            if not disk._has(path) or not path.exists():
                _PATH["unlink"](path, missing_ok)
                return
            with disk._change() as done:
                if done:
                    _PATH["unlink"](path)
                    del disk._names[str(path)]

        def moved(path, target):
            if not disk._has(path):
                return _PATH["replace"](path, target)
            if not path.exists():
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
            with disk._change() as done:
                if done:
                    _PATH["replace"](path, target)
                    disk._move(str(path), str(target))
            return pathlib.Path(target)

        def link(source, target):
            if not disk._has(pathlib.Path(target)):
                _LINK(source, target)
                return
            with disk._change(needs_room=True) as done:
                if done:
                    _LINK(source, target)
                    disk._names[str(target)] = disk._names[str(source)]

        def rmtree(path, ignore_errors=False, **kwargs):
            path = pathlib.Path(path)
            if not disk._has(path):
                _RMTREE(path, ignore_errors, **kwargs)
                return
            for name in sorted(name for name in disk._names if name.startswith(f"{path}/")):
                unlink(pathlib.Path(name))
            _RMTREE(path, ignore_errors)

        def fsync(file):
            name = str(pathlib.Path(f"/proc/self/fd/{file}").readlink())
            if not name.startswith(f"{disk.root}/"):
                _FSYNC(file)
                return
            with disk._change() as done:
                if done:
                    disk._names[name].forced = disk._names[name].held
                    disk._sure, disk._unsure = dict(disk._names), []

        with contextlib.ExitStack() as patches:
            of_path = {"open": opened, "write_bytes": write_bytes, "unlink": unlink}
            for name, function in {**of_path, "replace": moved, "rename": moved}.items():
                patches.enter_context(mock.patch.object(pathlib.Path, name, function))
            patches.enter_context(mock.patch.object(builtins, "open", opened_anew))
            patches.enter_context(mock.patch.object(os, "link", link))
            patches.enter_context(mock.patch.object(os, "fsync", fsync))
            patches.enter_context(mock.patch.object(shutil, "rmtree", rmtree))
            yield

    def _note_time(self, file: pathlib.Path | int, name: str) -> None:
        """A file was changed now, which is another time than that of any other change."""
        now = self._names[name].changed = next(self._times)
        os.utime(file, ns=(now, now))

    def _has(self, path: pathlib.Path) -> bool:
        return str(path).startswith(f"{self.root}/")

    def _move(self, source: str, target: str) -> None:
        """A file or a directory gets another name."""
        under = f"{source}/"
        for name in [name for name in self._names if name == source or name.startswith(under)]:
            self._names[target + name.removeprefix(source)] = self._names.pop(name)

    @contextlib.contextmanager
    def _change(self, size: int = 1, needs_room: bool = False) -> Iterator[int]:
        """One change: how much of it is to be done, and then what happens.

        Args:
            size: Of what is written; 1 for what is done wholly or not at all.
            needs_room: Whether it cannot be done where there is none.
        """
        number = self.changes[self.actor]
        self.changes[self.actor] += 1
        fault = self._faults.get((self.actor, number))
        part = AFTER if fault is None else fault.part
        if fault is not None and (fault.kind != "full" or not self._is_full):
            self.happened.append(fault)
        is_killed = fault is not None and fault.kind != "full"
        self._is_full = self._is_full or (fault is not None and fault.kind == "full")
        lacks_room = self._is_full and needs_room and not is_killed
        if fault is not None and fault.kind == "full" and not needs_room:
            part = AFTER
        yield int(size * (min(part, WITHIN) if lacks_room else part))
        self._unsure.append(dict(self._names))
        if fault is not None and is_killed:
            raise (PowerCut if fault.kind == "power" else Killed)
        if lacks_room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _write(path: pathlib.Path, data: bytes) -> None:
    with _OPEN(path, "wb") as file:  # which is not watched
        file.write(data)


class _File(io.FileIO):
    """A file that is written to in place."""

    def __init__(self, disk: Disk, path: pathlib.Path, mode: str) -> None:
        super().__init__(path, mode)
        self._disk, self._name = disk, str(path)
        disk._open.append(self)
        if mode == "w" or self._name not in disk._names:
            disk._names[self._name] = _Content()
            disk._unsure.append(dict(disk._names))

    def write(self, data) -> int:
        with self._disk._change(len(data), needs_room=True) as done:
            super().write(bytes(data[:done]))
            self._disk._names[self._name].held += bytes(data[:done])
            self._disk._note_time(self.fileno(), self._name)
        return len(data)

    def truncate(self, size=None) -> int:
        with self._disk._change() as done:
            if done:
                super().truncate(size)
                content = self._disk._names[self._name]
                content.held = content.held[:size]
        return size
