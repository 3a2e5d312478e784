"""What a contender's processes write down while they run: one JSON line an event, in one file,
whoever writes it.

All contenders are measured by the same few lines: `Workload.build` and the Keras callback of
`recorder` call `emit`, and the harness reads the file. Appended lines of this size do not mix, so
several processes can share the file.
"""

import dataclasses
import json
import os
import pathlib
import time

VARIABLE = "BENCHMARK_EVENTS"
_INDEX = "BENCHMARK_INDEX"
"""Of the configuration that this process works on. In the environment, and not in a global
variable: that would be state which trials keep, and `executor="auto"` runs such trials inline.
"""


@dataclasses.dataclass(frozen=True)
class Event:
    """One line.

    Attributes:
        t: Seconds since 1970.
        event: `"search"` (the user's call), `"build"`, `"first_epoch"` or `"fit_end"`.
        index: Of the configuration.
        rss: Resident memory of the process in bytes.
    """

    t: float
    event: str
    pid: int
    index: int
    rss: int


def emit(event: str, index: int | None = None) -> None:
    """Appends an event; without `index` it belongs to the configuration that this process named
    last.
    """
    if index is not None:
        os.environ[_INDEX] = str(index)
    line = json.dumps(
        {
            "t": time.time(),
            "event": event,
            "pid": os.getpid(),
            "index": int(os.environ.get(_INDEX, "-1")),
            "rss": resident_bytes(os.getpid()),
        }
    )
    file = os.open(os.environ[VARIABLE], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(file, f"{line}\n".encode())
    finally:
        os.close(file)


def read(path: pathlib.Path) -> list[Event]:
    """All events in the order of their time."""
    if not path.exists():
        return []
    return sorted(
        (Event(**json.loads(line)) for line in path.read_text().splitlines()),
        key=lambda event: event.t,
    )


def resident_bytes(pid: int) -> int:
    """Resident memory of a process, 0 if there is none."""
    try:
        pages = int(pathlib.Path(f"/proc/{pid}/statm").read_text().split()[1])
    except OSError:
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")
