"""A dormant copy of the script's process, from which workers are forked.

It is made before anything computes and only forks, so that a worker can be made at any moment of a
search, whatever threads the script then has. `Template` runs in the driver; the rest runs in the
process that it makes.
"""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import os
import select
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any, NoReturn

from glimr_keras.executors import fork_process

_SIZE = 4096
"""The size of the receive buffer in bytes, larger than any message."""
_PATIENCE_S = 5.0


@dataclasses.dataclass(frozen=True)
class Death:
    """The end of a worker's process.

    Attributes:
        worker: The worker's number.
        status: The status from `os.waitpid`; `None` if the process could not be made, or if the
            status is unknown.
    """

    worker: int
    status: int | None

    @property
    def is_killed(self) -> bool:
        """Return whether it was killed, by the driver or by the system."""
        return (
            self.status is not None
            and os.WIFSIGNALED(self.status)
            and (os.WTERMSIG(self.status) == signal.SIGKILL)
        )

    def __str__(self) -> str:
        if self.status is None:
            return "Its process could not be made."
        code = os.waitstatus_to_exitcode(self.status)
        if code >= 0:
            return f"Its process ended with exit code {code}."
        name = next((each.name for each in signal.Signals if each == -code), "unknown")
        short = ", as the system ends processes where memory is short" if self.is_killed else ""
        return f"Its process was ended by signal {-code} ({name}){short}."


class Template:
    """The process from which workers are forked.

    Args:
        serve: Called in each worker with its end of the connection.
        ready: Called in the process once, before it makes any worker.

    Raises:
        OSError: If the system cannot make a process.
    """

    def __init__(self, serve: Callable[[Connection], None], ready: Callable[[], None]) -> None:
        self._control, there = _socketpair(socket.SOCK_SEQPACKET)
        parent = os.getpid()
        with contextlib.suppress(AttributeError, OSError, ValueError):  # closed, or there is none
            sys.stdout.flush()
            sys.stderr.flush()
        # Neither a handler of the script's nor its Ctrl-C may run in the new process
        self._pid: int | None = None
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            try:
                self._pid = fork_process.fork()
                if self._pid == 0:
                    try:
                        _run_template(self._control, there, parent, _Tasks(serve, ready, mask))
                    finally:
                        os._exit(1)
            finally:
                there.close()
                signal.pthread_sigmask(signal.SIG_SETMASK, mask)  # after which handlers may raise
        except BaseException:
            self.close()
            raise

    def fileno(self) -> int:
        """Return the file descriptor to wait on for deaths."""
        return self._control.fileno()

    def make(self, worker: int, output: int | None) -> Connection:
        """Make a worker, and return this end of its connection.

        Args:
            worker: A number that no other worker has had.
            output: The file that replaces the script's standard output and error; `None` to keep
                them.

        Raises:
            OSError: If the template is gone.
        """
        here, there = _socketpair(socket.SOCK_STREAM)
        try:
            files = [there.fileno(), *([] if output is None else [output])]
            socket.send_fds(self._control, [f"make {worker}".encode()], files)
        except OSError:
            here.close()
            raise
        finally:
            there.close()
        return Connection(here.detach())

    def end(self, worker: int) -> None:
        """End a worker at once."""
        with contextlib.suppress(OSError):  # then all are
            self._control.send(f"end {worker}".encode())

    def deaths(self) -> list[Death] | None:
        """Return the deaths since the last call, without waiting; `None` if the template
        has died.
        """
        found: list[Death] = []
        while True:
            try:
                said = self._control.recv(_SIZE, socket.MSG_DONTWAIT).decode()
            except BlockingIOError:
                return found
            except OSError:
                return None
            if not said:
                return None
            worker, status = said.split()
            found.append(Death(int(worker), None if status == "-" else int(status)))

    def close(self) -> None:
        """End the process, all workers and the processes that they have started, and wait
        for that.
        """
        with contextlib.suppress(OSError):  # what the script has forked may have it open
            self._control.shutdown(socket.SHUT_RDWR)
        self._control.close()  # which is what it ends at
        if self._pid is None:
            return
        until = time.monotonic() + _PATIENCE_S
        while time.monotonic() < until:
            with contextlib.suppress(ChildProcessError):  # the script has waited for it
                if os.waitpid(self._pid, os.WNOHANG)[0] == 0:
                    time.sleep(0.002)
                    continue
            return
        with contextlib.suppress(OSError):
            os.kill(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, 0)


def _socketpair(kind: socket.SocketKind) -> tuple[socket.socket, socket.socket]:
    """Return two connected sockets, neither with the descriptor of a closed standard stream."""
    one, other = (
        socket.socket(fileno=fork_process.beyond_streams(end.detach()))
        for end in socket.socketpair(socket.AF_UNIX, kind)
    )
    return one, other


@dataclasses.dataclass(frozen=True)
class _Tasks:
    """The template's tasks.

    Attributes:
        mask: The signals that the script has blocked.
    """

    serve: Callable[[Connection], None]
    ready: Callable[[], None]
    mask: set[Any]


def _run_template(
    of_parent: socket.socket, control: socket.socket, parent: int, tasks: _Tasks
) -> NoReturn:
    """Make workers until the driver is gone or closes its end; the script's own code never
    continues.
    """
    maker = _Maker(control, tasks)
    try:
        fork_process.leave_terminal(parent, signal.SIGTERM)
        of_parent.close()
        signal.signal(signal.SIGTERM, maker.leave)  # the driver is gone
        signal.pthread_sigmask(signal.SIG_SETMASK, tasks.mask)
        tasks.ready()
        maker.run()
    finally:
        maker.leave()


class _Maker:
    """Make workers, and report when one has died."""

    def __init__(self, control: socket.socket, tasks: _Tasks) -> None:
        self._control, self._serve = control, tasks.serve
        self._had_gc = gc.isenabled()
        self._workers: dict[int, tuple[int, int]] = {}  # number to pid and pidfd
        gc.disable()
        gc.freeze()  # so that no collection copies what is shared

    def leave(self, *signalled: Any) -> NoReturn:
        """End the workers, the processes that they have started, and this process."""
        for pid, _ in list(self._workers.values()):
            _end_group(pid)
        os._exit(0)

    def run(self) -> None:
        """Serve the driver until it is gone."""
        poll = select.poll()
        poll.register(self._control, select.POLLIN)
        while True:
            ready = {file for file, _ in poll.poll()}
            for worker, (pid, file) in list(self._workers.items()):
                if file in ready:
                    poll.unregister(file)
                    os.close(file)
                    del self._workers[worker]
                    _end_group(pid)  # what it has started; it waits to be asked for, so none is new
                    self._say(worker, str(os.waitpid(pid, 0)[1]))
            if self._control.fileno() not in ready:
                continue
            said, given, _, _ = socket.recv_fds(self._control, _SIZE, 2)
            files = list(map(fork_process.beyond_streams, given))
            if not said:
                return
            what, number = said.decode().split()
            worker = int(number)
            if what == "end":
                if worker in self._workers:
                    _end_group(self._workers[worker][0])
                continue
            made = self._made(files)
            for file in files:
                os.close(file)
            if made is None:
                self._say(worker, "-")
                continue
            self._workers[worker] = made, os.pidfd_open(made)
            poll.register(self._workers[worker][1], select.POLLIN)

    def _say(self, worker: int, status: str) -> None:
        self._control.send(f"{worker} {status}".encode())

    def _made(self, files: list[int]) -> int | None:
        """Return the pid of a new worker; `None` if the system cannot make a process."""
        template = os.getpid()
        try:
            pid = fork_process.fork()
        except OSError:
            return None
        if pid == 0:
            self._be_worker(template, *files)
        # Its group is there before it is ended
        with contextlib.suppress(OSError):
            os.setpgid(pid, pid)
        return pid

    def _be_worker(self, template: int, connection: int, output: int | None = None) -> NoReturn:
        status = 1
        try:
            fork_process.leave_terminal(template, signal.SIGKILL)
            self._control.close()
            for _, file in self._workers.values():
                os.close(file)
            fork_process.become_worker(output, self._had_gc)
            if output is not None:
                os.close(output)
            connected = Connection(connection)
            # A process that a trial forks must not keep the driver from seeing its end
            os.register_at_fork(after_in_child=connected.close)
            self._serve(connected)
            fork_process.end_worker()
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)


def _end_group(pid: int) -> None:
    """Kill a process and all processes of its group."""
    for end in (os.killpg, os.kill):
        with contextlib.suppress(OSError):
            end(pid, signal.SIGKILL)
