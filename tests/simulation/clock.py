"""A clock of its own, and threads of which one runs at a time: the one whose time has come."""

from __future__ import annotations

import contextlib
import heapq
import itertools
import math
import threading
import types
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

from glimr_keras.project import remote_claim, remote_mirror
from tests.simulation.disk import Killed

_BEGAN = 1_700_000_000.0
"""The time of day when the clock is at 0."""


class Process:
    """What dies together.

    Attributes:
        death: What its threads end with, when it is dead.
        error: What its first thread ended with.
    """

    def __init__(self) -> None:
        self.death: Killed | None = None
        self.error: BaseException | None = None


class _Task:
    """A thread, and when it goes on."""

    def __init__(self, process: Process) -> None:
        self.process, self.is_over = process, False
        self.turn = threading.Semaphore(0)
        self.number = 0  # of the time that it waits for
        self.joined_by: list[_Task] = []


class Clock:
    """Says what time it is, in seconds, and lets one thread go on at a time. Outside of threads,
    who waits has waited at once.

    Attributes:
        now: Seconds since the beginning.
    """

    def __init__(self) -> None:
        self.now = 0.0
        self._order = itertools.count()
        self._waiting: list[tuple[float, int, int, _Task]] = []
        self._tasks: list[_Task] = []
        self._task: _Task | None = None  # which runs
        self._back = threading.Semaphore(0)

    @property
    def process(self) -> Process | None:
        """That which runs; `None` outside of threads."""
        return None if self._task is None else self._task.process

    def time_ns(self) -> int:
        """The time of day, which is another each time."""
        return int((_BEGAN + self.now) * 1e9) + next(self._order)

    def sleep(self, seconds: float) -> None:
        """Wait."""
        self.wait_until(self.now + seconds)

    def wait_until(self, wake: float) -> None:
        """Wait until the clock is there, if it is not."""
        wake = max(wake, self.now)
        if self._task is None or not self._waiting or wake < self._waiting[0][0]:
            self.check_alive()
            self.now = wake
        else:
            self._wait(wake)

    def check_alive(self) -> None:
        """End the thread that runs if its process is dead."""
        if self._task is not None and self._task.process.death is not None:
            raise type(self._task.process.death)

    def begin(self, work: Callable[[], None], process: Process | None = None) -> _Task:
        """Begin a thread.

        Args:
            work: What it does.
            process: That it is the first of; `None` for a further one of the process that runs.
        """
        is_first = process is not None
        if process is None:
            assert self._task is not None
            process = self._task.process
        task = _Task(process)
        self._tasks.append(task)
        self._later(task, self.now)
        threading.Thread(target=self._do, args=(task, work, is_first), daemon=True).start()
        return task

    def run(self) -> None:
        """Let all threads run to their end."""
        while self._waiting:
            wake, _, number, task = heapq.heappop(self._waiting)
            if task.is_over or number != task.number:
                continue
            self.now = max(self.now, wake) if wake < math.inf else self.now
            self._task = task
            task.number += 1
            task.turn.release()
            self._back.acquire()
            self._task = None
        self._tasks.clear()

    def _do(self, task: _Task, work: Callable[[], None], is_first: bool) -> None:
        task.turn.acquire()
        try:
            self.check_alive()
            work()
        except Killed as error:
            task.process.death = task.process.death or error
            task.process.error = error
        except BaseException as error:
            task.process.error = error
        if is_first:
            task.process.death = task.process.death or Killed()
        task.is_over = True
        for other in task.joined_by:
            self._later(other, self.now)
        if task.process.death is not None:
            for other in self._tasks:
                if other.process is task.process and not other.is_over:
                    self._later(other, self.now)
        self._back.release()

    def _later(self, task: _Task, wake: float) -> None:
        heapq.heappush(self._waiting, (wake, next(self._order), task.number, task))

    def _wait(self, wake: float) -> None:
        self.check_alive()
        task = self._task
        assert task is not None
        self._later(task, wake)
        self._back.release()
        task.turn.acquire()
        self.check_alive()

    # In the place of modules

    @contextlib.contextmanager
    def told(self) -> Iterator[None]:
        """What mirrors projects has this clock."""
        clock = types.SimpleNamespace(
            sleep=self.sleep,
            time=lambda: _BEGAN + self.now,
            time_ns=self.time_ns,
            monotonic=lambda: self.now,
        )
        with contextlib.ExitStack() as patches:
            threads = types.SimpleNamespace(Thread=self._thread, Event=lambda: _Event(self))
            for module in (remote_mirror, remote_claim):
                patches.enter_context(mock.patch.object(module, "time", clock))
                patches.enter_context(mock.patch.object(module, "threading", threads))
            yield

    def _thread(self, target: Callable[[], None], daemon: bool) -> Any:
        assert daemon
        tasks: list[_Task] = []

        def join() -> None:
            self.check_alive()
            if not tasks[0].is_over:
                assert self._task is not None
                tasks[0].joined_by.append(self._task)
                self._wait(math.inf)

        return types.SimpleNamespace(start=lambda: tasks.append(self.begin(target)), join=join)


class _Event:
    """In the place of `threading.Event`."""

    def __init__(self, clock: Clock) -> None:
        self._clock, self._is_set = clock, False
        self._waits: list[_Task] = []

    def set(self) -> None:
        self._is_set = True
        for task in self._waits:
            self._clock._later(task, self._clock.now)

    def clear(self) -> None:
        self._is_set = False

    def wait(self, seconds: float) -> bool:
        if not self._is_set:
            task = self._clock._task
            assert task is not None
            self._waits.append(task)
            self._clock._wait(self._clock.now + seconds)
            self._waits.remove(task)
        return self._is_set
