"""Runs one contender as a fresh process in a directory of its own, watches it, and leaves nothing
of it behind.
"""

import contextlib
import dataclasses
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import threading
import time

from events import VARIABLE, Event, read, resident_bytes

HERE = pathlib.Path(__file__).parent
TIMEOUT_S = 1800
OUTPUT_LINES = 30

interrupted = threading.Event()  # ends the runs that go on in other threads


@dataclasses.dataclass(frozen=True)
class Sample:
    """The state of a run at one moment: how many events there were, and bytes of memory."""

    t: float
    events: int
    driver_rss: int
    tree_pss: int


@dataclasses.dataclass
class Run:
    """One contender's run on one workload.

    Attributes:
        group: The part of the benchmark that it belongs to, as in `--only`.
        started: Seconds since 1970.
        wall: Seconds from the start of the process to its end.
        error: Why it failed, with the end of what it wrote.
    """

    group: str
    contender: str
    workload: str
    trials: int
    repeat: int
    started: float = 0.0
    wall: float = 0.0
    events: list[Event] = dataclasses.field(default_factory=list)
    samples: list[Sample] = dataclasses.field(default_factory=list)
    error: str | None = None


def execute(run: Run, *options: str, measure_tree: bool = False) -> Run:
    """Runs it and fills it in.

    Args:
        options: Further arguments of `python -m contenders`.
        measure_tree: Also sample the memory of all of its processes (PSS: what they share counts
            once).
    """
    with tempfile.TemporaryDirectory(
        prefix="gk-", ignore_cleanup_errors=True
    ) as name:  # short, for Ray's sockets
        directory = pathlib.Path(name)
        output, record = directory / "output.txt", directory / "events.jsonl"
        command = [
            sys.executable,
            "-m",
            "contenders",
            run.contender,
            run.workload,
            str(run.trials),
            *options,
        ]
        with output.open("w") as file:
            run.started = time.time()
            process = subprocess.Popen(
                command,
                cwd=directory,
                env=_environment(directory, record),
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                _watch(process, run, record, measure_tree)
            finally:
                _end_session(process)
        run.events = read(record)
        run.error = _failure(process.returncode, run, output)
    return run


def _environment(directory: pathlib.Path, record: pathlib.Path) -> dict[str, str]:
    """The user's environment, with Ray's and everybody's temporary files in the run's directory,
    and no Ray to join.
    """
    own = {
        "PYTHONPATH": str(HERE),
        "TMPDIR": str(directory),
        "RAY_TMPDIR": str(directory),
        VARIABLE: str(record),
    }
    return {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"} | own


def _watch(process: subprocess.Popen, run: Run, record: pathlib.Path, measure_tree: bool) -> None:
    lines, position = 0, 0
    while (
        process.poll() is None
        and not interrupted.is_set()
        and time.time() - run.started < TIMEOUT_S
    ):
        if record.exists():
            with record.open("rb") as file:
                file.seek(position)
                new = file.read()
            lines, position = lines + new.count(b"\n"), position + len(new)
        pss = sum(map(_pss, session_pids(process.pid))) if measure_tree else 0
        run.samples.append(Sample(time.time(), lines, resident_bytes(process.pid), pss))
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.1 if measure_tree else 0.2)
    run.wall = time.time() - run.started


def _failure(code: int, run: Run, output: pathlib.Path) -> str | None:
    ended = {event.index for event in run.events if event.event == "fit_end"}
    if code == 0 and (len(ended) == run.trials or run.contender == "ray_start"):
        return None
    tail = "\n".join(output.read_text(errors="replace").splitlines()[-OUTPUT_LINES:])
    return f"exit status {code}, {len(ended)} of {run.trials} trials after {run.wall:.0f} s\n{tail}"


def session_pids(session: int) -> list[int]:
    """The processes of a session, wherever they hang in the process tree."""
    found = []
    for path in pathlib.Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(ProcessLookupError):
            if os.getsid(int(path.name)) == session:
                found.append(int(path.name))
    return found


def _end_session(process: subprocess.Popen) -> None:
    """Ray's processes end shortly after their driver; what is still there after that is killed."""
    deadline = time.time() + 10
    if process.poll() is None:
        process.kill()
    process.wait()
    while (pids := session_pids(process.pid)) and time.time() < deadline + 10:
        if time.time() > deadline:
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        time.sleep(0.1)


def _pss(pid: int) -> int:
    with contextlib.suppress(OSError):
        for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0
