"""The phases of a search, in each of which every trial gets the same resources. Runs in the driver.

Most searches have one phase. If trials share a GPU, those that ran out of memory are retried once,
in a phase of their own. The first phase can measure how many trials may share a GPU.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from glimr_keras.errors import ResourcesError
from glimr_keras.executors.coordinator import Coordinator
from glimr_keras.executors.resources import Machine, Share, most_per_gpu, share_of
from glimr_keras.training.gpus import CONTEXT_BYTES, SPARE
from glimr_keras.training.messages import ExecutionSpec


class Phase:
    """A phase that lasts until the search ends.

    Args:
        share: The resources of each trial.
    """

    def __init__(self, share: Share) -> None:
        self.share = share

    def next_spec(self, coordinator: Coordinator) -> ExecutionSpec | None:
        """Return the next execution to start; `None` if there is none now."""
        return coordinator.next_spec()

    def is_over(self, coordinator: Coordinator) -> bool:
        """Return whether nothing more is to be started."""
        return coordinator.finished


class Alone(Phase):
    """Run the executions that ran out of memory on a shared GPU, each with a whole GPU."""

    def next_spec(self, coordinator: Coordinator) -> ExecutionSpec | None:
        return coordinator.next_alone()

    def is_over(self, coordinator: Coordinator) -> bool:
        if coordinator.error is not None or coordinator.remark is not None:
            return True
        return not coordinator.has_alone and coordinator.num_open == 0


class Measuring(Phase):
    """Run the first executions, each with a whole GPU, until it is known how many fit on one. If
    only one fits, run the rest of the search too.

    Args:
        share: The resources of each trial.
        most: The maximum number of trials that may share a GPU.

    Attributes:
        count: How many trials will share a GPU; `None` while unknown.
    """

    def __init__(self, share: Share, most: int) -> None:
        super().__init__(share)
        self.count: int | None = None
        self._most, self._tries = most, 0

    def next_spec(self, coordinator: Coordinator) -> ExecutionSpec | None:
        if self.count is None:
            self._settle(coordinator)
        if self.count is not None:
            return coordinator.next_spec() if self.count == 1 else None
        is_enough = coordinator.num_open + coordinator.gpu_use.measured >= self.share.capacity
        if is_enough or self._tries == self.share.capacity * _TRIES:
            return None
        spec = coordinator.next_spec()
        self._tries += spec is not None
        return spec

    def is_over(self, coordinator: Coordinator) -> bool:
        return coordinator.finished or self.count not in (None, 1)

    def _settle(self, coordinator: Coordinator) -> None:
        """Decide how many trials share a GPU, once enough executions were measured, or too many
        ended without a measurement.
        """
        if coordinator.num_open > 0:
            return
        if coordinator.gpu_use.measured >= self.share.capacity:
            left = coordinator.num_left
            needed = self._most if left is None else math.ceil(left / self.share.capacity)
            found = fitting(coordinator.gpu_use.peak, coordinator.gpu_use.size)
            self.count = max(min(found or 1, self._most, needed), 1)
            if found is None:
                coordinator.say(_UNKNOWN)
        elif self._tries == self.share.capacity * _TRIES:
            self.count = 1
            coordinator.say(_UNKNOWN)


_TRIES = 3
"""Give up measuring after this many times as many executions as needed have ended without a
measurement.
"""
_UNKNOWN = "What trials take of a GPU's memory could not be measured, so each has one for itself."


class Plan:
    """Plan the phases of a search and the resources of each trial in them.

    Args:
        machines: Returns the resources of each machine.
        wanted: The requested resources of a trial, by name. Defaults to `None`, which means
            automatic.
        trials_per_gpu: The number of trials that share a GPU, or `"auto"` to measure with the first
            trials how many fit. Defaults to `None`, which means one.
        max_concurrent: An upper bound on the number of concurrent trials. Defaults to `None`, which
            means as many as fit.
    """

    def __init__(
        self,
        machines: Callable[[], Sequence[Machine]],
        wanted: Mapping[str, float] | None = None,
        trials_per_gpu: int | Literal["auto"] | None = None,
        max_concurrent: int | None = None,
    ) -> None:
        self._machines, self._wanted = machines, wanted
        self._per_gpu, self._max_concurrent = trials_per_gpu, max_concurrent
        self._count = 1 if trials_per_gpu == "auto" else trials_per_gpu

    def first(self) -> Phase:
        """Return the first phase.

        Raises:
            ResourcesError: If no machine has room for a trial.
        """
        machines = self._machines()
        share = share_of(machines, self._wanted, self._count)
        most = most_per_gpu(machines, self._wanted, self._max_concurrent)
        is_measured = self._per_gpu == "auto" and share.gpus == 1 and most > 1
        return Measuring(share, most) if is_measured else Phase(share)

    def may_go_on(self, first: Phase) -> bool:
        """Return whether other phases may follow the first one."""
        return isinstance(first, Measuring) or 0 < first.share.gpus < 1

    def after(self, phase: Phase, coordinator: Coordinator) -> Phase | None:
        """Return the phase that follows; `None` at the end of the search."""
        if coordinator.error is not None:
            return None
        if coordinator.remark is not None:
            coordinator.end_alone()
        elif isinstance(phase, Measuring) and not coordinator.finished:
            self._count = phase.count
            packed = Phase(self._share(phase.share, self._wanted, self._count))
            coordinator.say(f"{phase.count} trials fit on a GPU: now {self.described(packed)}")
            return packed
        elif coordinator.has_alone:
            return Alone(self._share(phase.share, {**(self._wanted or {}), "gpu": 1.0}))
        elif isinstance(phase, Alone) and coordinator.goes_on():
            return Phase(self._share(phase.share, self._wanted, self._count))
        if self._per_gpu is None and phase.share.gpus == 1:
            most = most_per_gpu(self._machines(), self._wanted)
            coordinator.say(hint(coordinator.gpu_use.peak, coordinator.gpu_use.size, most))
        return None

    def _share(
        self, before: Share, wanted: Mapping[str, float] | None, per_gpu: int | None = None
    ) -> Share:
        """Return the resources of each trial in another phase. If no machine has a GPU any more,
        keep the previous ones; Ray then waits for one.
        """
        machines = self._machines()
        if not any(machine.get("GPU", 0) >= 1 for machine in machines):
            return before
        try:
            return share_of(machines, wanted, per_gpu)
        except ResourcesError:
            return before

    def at_once(self, share: Share) -> tuple[int, int | None]:
        """Return how many workers there are, and how many trials they may be given; `None` for one
        that is chosen ahead, too.
        """
        workers = min(share.capacity, self._max_concurrent or share.capacity)
        # With room for no more, one is chosen ahead; but who asks for one at a time means it
        is_bound = workers < share.capacity or self._max_concurrent == 1
        return workers, workers if is_bound else None

    def described(self, phase: Phase) -> str:
        """Return a description of a phase."""
        measures = isinstance(phase, Measuring)
        then = "; when their GPU memory is measured, as many as fit" if measures else ""
        return f"{phase.share.described(self.at_once(phase.share)[0])}{then}."


def fitting(used: int | None, size: int | None) -> int | None:
    """Return how many trials fit on one GPU; `None` if unknown.

    Args:
        used: The most bytes that a trial used; `None` if unknown.
        size: The GPU's memory in bytes; `None` if unknown.
    """
    if used is None or size is None:
        return None
    return max(math.floor(size * SPARE / (used + CONTEXT_BYTES)), 1)


def hint(used: int | None, size: int | None, most: int) -> str | None:
    """Return a hint if GPUs were mostly empty; otherwise `None`.

    Args:
        used, size: As for `fitting`.
        most: The maximum number of trials that may share a GPU.
    """
    count = min(fitting(used, size) or 1, most)
    if count < 2 or used is None or size is None:
        return None
    return (
        f"Each trial took at most {used / 2**30:.1f} of the {size / 2**30:.0f} GiB of its GPU: "
        f"`trials_per_gpu={count}` trains {count} on each."
    )
