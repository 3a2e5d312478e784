"""The forked workers of a search, their tasks and their messages. Runs in the driver."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import itertools
import pickle
import socket
import struct
import tempfile
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection, wait
from typing import BinaryIO

from glimr_keras.executors.fork_template import Death, Template
from glimr_keras.executors.fork_worker import ForkedWorker, Look, Said, Train, say_task

_MOST_KEPT = 2**22
"""The bytes of a worker's output that are kept after a task."""
_LAST = 2000
"""The bytes of a worker's output that are shown after it has died."""
_LEAVING_S = 2.0
"""The seconds that idle workers have to run their trials' exit handlers."""
_STUCK_S = 60
"""The seconds to wait for the rest of a message."""
_MAX_UNFIT = 3
"""The number of consecutive workers that may die before they are ready."""


@dataclasses.dataclass(eq=False)
class Member:
    """A forked worker.

    Attributes:
        made: When it was made, by `time.monotonic`.
        task: Its task; `None` if it is idle.
        has_ended: Whether the outcome of the execution is known.
        is_ready: Whether the backend has computed in it.
        began: When it began its task, by `time.monotonic`; `None` if it has not reported that yet.
        stopped: When it was told to stop the trial; `None` if it was not.
        reason: Why it could not begin its task.
        ended_for: Why the driver ended it.
    """

    number: int
    connection: Connection | None
    output: BinaryIO | None
    made: float = dataclasses.field(default_factory=time.monotonic)
    task: Look | Train | None = None
    has_ended: bool = False
    is_ready: bool = False
    began: float | None = None
    stopped: float | None = None
    reason: str | None = None
    ended_for: str | None = None

    def hang_up(self) -> None:
        """Close the connection, if it is open."""
        if self.connection is not None:
            self.connection.close()
            self.connection = None

    def forget_words(self) -> None:
        """Discard its output if that is large; the worker is idle now."""
        if self.output is not None and self.output.seek(0, io.SEEK_END) > _MOST_KEPT:
            self.output.seek(0)
            self.output.truncate()

    def last_words(self) -> str:
        """Return the end of its standard output and error."""
        if self.output is None:
            return ""
        size = self.output.seek(0, io.SEEK_END)
        self.output.seek(max(0, size - _LAST))
        return self.output.read().decode("utf-8", "replace").strip()


class Team:
    """The forked workers of one search.

    Args:
        worker: The worker that each process runs.
        size: The number of workers.
        shows: Whether to show their output.

    Attributes:
        is_gone: Whether no more workers can be made and all are gone.

    Raises:
        OSError: If the system cannot make a process.
    """

    def __init__(self, worker: ForkedWorker, size: int, shows: bool) -> None:
        self._size, self._shows = size, shows
        self._numbers = itertools.count()
        self._unfit = 0
        self._members: dict[int, Member] = {}
        self.is_gone = False
        self._template = Template(worker.serve, worker.ready)
        try:
            self._fill()
        except BaseException:
            self.close()
            raise

    def __iter__(self) -> Iterator[Member]:
        return iter(list(self._members.values()))

    @property
    def idle(self) -> list[Member]:
        """Return the workers that are ready and have no task."""
        return [each for each in self if each.is_ready and each.task is None]

    @property
    def are_busy(self) -> bool:
        """Return whether any worker has a task."""
        return any(each.task is not None for each in self)

    def give(self, member: Member, task: Look | Train) -> None:
        """Give a worker a task. If it is gone, its death will be reported."""
        member.task, member.began, member.stopped, member.has_ended = task, None, None, False
        if member.connection is not None:
            with contextlib.suppress(OSError):
                say_task(member.connection, task)

    def answer(self, member: Member, answer: bytes) -> None:
        """Answer a report."""
        if member.connection is not None:
            with contextlib.suppress(OSError):
                member.connection.send_bytes(answer)

    def end(self, member: Member, reason: str) -> None:
        """End a worker at once; its death will be reported.

        Args:
            reason: Why it is ended.
        """
        member.ended_for = member.ended_for or reason
        self._template.end(member.number)

    def hear(self, seconds: float) -> list[tuple[Member, Said | Death]]:
        """Return the workers' messages and deaths, each death after the worker's last message. Dead
        workers are replaced.

        Args:
            seconds: How long to wait for a message.
        """
        connections = {each.connection: each for each in self if each.connection is not None}
        heard: list[tuple[Member, Said | Death]] = []
        ready = wait([self._template.fileno(), *connections], seconds)
        for connection in ready:
            member = connections.get(connection)  # type: ignore[call-overload]
            if member is not None:
                heard += self._heard(member)
        if self._template.fileno() in ready:
            heard += self._deaths()
            self._fill()
        return heard

    def close(self) -> None:
        """End all workers and the processes that they have started; idle ones end in order."""
        try:
            leaving = [each.number for each in self.idle]
            for member in self.idle:
                member.hang_up()
            until = time.monotonic() + _LEAVING_S
            while not self.is_gone and time.monotonic() < until:
                if not self._members.keys() & leaving:
                    break
                if wait([self._template.fileno()], _LEAVING_S / 20):
                    self._deaths()
        finally:
            self._template.close()
            for member in self:
                self._forget(member)
            self.is_gone = True

    def _heard(self, member: Member) -> list[tuple[Member, Said | Death]]:
        """Return the next message of a worker; nothing if its connection has ended."""
        if member.connection is None:
            return []
        try:
            said: Said = pickle.loads(member.connection.recv_bytes())
        except Exception:  # it has died, or closed its end, or what it said cannot be had here
            member.hang_up()
            self.end(member, "Its connection was lost.")
            return []
        member.is_ready = member.is_ready or said.what == "ready"
        self._unfit = 0 if member.is_ready else self._unfit
        return [(member, said)]

    def _deaths(self) -> list[tuple[Member, Said | Death]]:
        heard: list[tuple[Member, Said | Death]] = []
        deaths = self._template.deaths()
        if deaths is None:
            self.is_gone = True
            deaths = [Death(number, None) for number in self._members]
        for death in deaths:
            member = self._members.get(death.worker)
            if member is None:
                continue
            while member.connection is not None and member.connection.poll(0):
                heard += self._heard(member)
            self._unfit += not member.is_ready
            heard.append((member, death))
            self._forget(member)
        return heard

    def _forget(self, member: Member) -> None:
        self._members.pop(member.number, None)
        member.hang_up()

    def _fill(self) -> None:
        """Replace dead workers, unless too many died before they were ready."""
        while len(self._members) < self._size and self._unfit < _MAX_UNFIT and not self.is_gone:
            number = next(self._numbers)
            try:
                output = None if self._shows else tempfile.TemporaryFile()  # noqa: SIM115
                made = self._template.make(number, None if output is None else output.fileno())
            except OSError:
                self.is_gone = not self._members
                return
            with socket.socket(fileno=made.fileno()) as end:
                patience = struct.pack("ll", _STUCK_S, 0)
                end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, patience)
                end.detach()
            self._members[number] = Member(number, made, output)
