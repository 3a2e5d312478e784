"""Threads of this process that Python did not start: which are unknown, and how many linear algebra
libraries use. Linux.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import pathlib
import re
import threading
from collections.abc import Iterable, Iterator

_TASKS = pathlib.Path("/proc/self/task")
_MAPS = pathlib.Path("/proc/self/maps")
_SAFE = frozenset({"jemalloc_bg_thd"})
"""Names of threads that their library restarts in a fork."""
_BLAS = re.compile(r"/lib[^/]*openblas[^/]*\.so[^/]*$")
"""The library's pool has one thread fewer than there are CPUs, and restarts in a fork."""
_OPENMP = re.compile(r"/lib(gomp|iomp|omp)[^/]*\.so[^/]*$")
_ARROW = re.compile(r"/libarrow\.so[^/]*$")
"""Arrow's pool has as many threads as there are CPUs, and restarts in a fork."""
_SETTERS = (
    "scipy_openblas_set_num_threads64_",
    "scipy_openblas_set_num_threads",
    "openblas_set_num_threads64_",
    "openblas_set_num_threads",
    "omp_set_num_threads",
    "MKL_Set_Num_Threads",
)


def num_cpus() -> int:
    """Return the number of CPUs this process may use, from its affinity and its cgroup's quota."""
    count = len(os.sched_getaffinity(0))
    with contextlib.suppress(OSError, ValueError):
        quota, period = pathlib.Path("/sys/fs/cgroup/cpu.max").read_text("ascii").split()
        count = min(count, max(1, int(quota) // int(period)))
    return count


def unknown() -> list[str]:
    """Return the names of threads that neither Python nor a linear algebra library started.

    Pool threads have the process' name. So as many of these are ignored as the pools of the loaded
    libraries may have.
    """
    own = _name(os.getpid())
    of_python = {thread.native_id for thread in threading.enumerate()}
    others = [_name(task) for task in _tasks() if task not in of_python]
    unnamed = others.count(own) - _allowance()
    named = [name for name in others if name not in (own, "") and name not in _SAFE]
    return named + [own] * max(unnamed, 0)


def end_openmp() -> None:
    """End the threads of OpenMP, which restart when needed.

    A fork has none of them, but would assume that it does.
    """
    for library in filter(_OPENMP.search, _loaded()):
        with contextlib.suppress(OSError, AttributeError):  # an old version lacks this function
            ctypes.CDLL(library).omp_pause_resource_all(_HARD)


_HARD = 2
"""`omp_pause_hard` of OpenMP 5."""


def limit(threads: int) -> None:
    """Limit the threads of the loaded linear algebra libraries, as `OMP_NUM_THREADS` does at
    process start.

    Environment variables take precedence.
    """
    for library in _loaded():
        if not (_BLAS.search(library) or _OPENMP.search(library)):
            continue
        wanted = os.environ.get("OMP_NUM_THREADS", str(threads))
        if _BLAS.search(library):
            wanted = os.environ.get("OPENBLAS_NUM_THREADS", wanted)
        if not wanted.isdigit() or int(wanted) == 0:
            continue
        with contextlib.suppress(OSError):
            there = ctypes.CDLL(library)
            for name in _SETTERS:
                if hasattr(there, name):
                    getattr(there, name)(ctypes.c_int(int(wanted)))


def _allowance() -> int:
    cpus, libraries = os.cpu_count() or 1, list(_loaded())
    pools = sum(_BLAS.search(library) is not None for library in libraries)
    return pools * (cpus - 1) + cpus * any(map(_ARROW.search, libraries))


def _loaded() -> Iterable[str]:
    """Return the files of the loaded libraries."""
    with contextlib.suppress(OSError):
        lines = _MAPS.read_text("utf-8", "replace").splitlines()
        found = (line.split(maxsplit=5)[5:] for line in lines if ".so" in line)
        return dict.fromkeys(parts[0] for parts in found if parts)
    return ()


def _tasks() -> Iterator[int]:
    with contextlib.suppress(OSError):
        yield from (int(task.name) for task in _TASKS.iterdir())


def _name(task: int) -> str:
    with contextlib.suppress(OSError):  # the thread has just ended
        return (_TASKS / str(task) / "comm").read_text("utf-8", "replace").strip()
    return ""
