"""The parts of a search: in each, every trial gets the same of the cluster. Runs in the driver.

Most searches have one. Where several trials share a GPU, those that lacked memory are tried once
more in a part of their own, and how many may share it can be measured in the first one.
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
    """A part of a search, up to the search's end.

    Args:
        share: What each trial gets.
    """

    def __init__(self, share: Share) -> None:
        self.share = share

    def next_spec(self, coordinator: Coordinator) -> ExecutionSpec | None:
        """Return the next execution to start; `None` if there is none now."""
        return coordinator.next_spec()

    def is_over(self, coordinator: Coordinator) -> bool:
        """Whether nothing more is to be started."""
        return coordinator.finished


class Alone(Phase):
    """Those executions that lacked memory beside others, each with a whole GPU."""

    def next_spec(self, coordinator: Coordinator) -> ExecutionSpec | None:
        return coordinator.next_alone()

    def is_over(self, coordinator: Coordinator) -> bool:
        if coordinator.error is not None or coordinator.remark is not None:
            return True
        return not coordinator.has_alone and coordinator.num_open == 0


class Measuring(Phase):
    """The first executions, each with a whole GPU, up to where it is known how many fit on one. If
    that is one, the rest of the search too.

    Args:
        share: What each trial gets.
        most: How many trials may share a GPU.

    Attributes:
        count: How many will share a GPU; `None` while that is not known.
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
        """Says how many share a GPU, when enough executions have ended that were measured, or too
        many that were not.
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
"""So many times as many executions may end without a figure before it is given up."""
_UNKNOWN = "What trials take of a GPU's memory could not be measured, so each has one for itself."


class Plan:
    """Which parts a search has, and what each trial gets in them.

    Args:
        machines: Says what there is.
        wanted: What a trial is to get, by name; `None` leaves the choice.
        trials_per_gpu: How many trials share a GPU; `"auto"` for what the first ones show to fit;
            `None` for one.
        max_concurrent: An upper bound on trials that run at once; `None` for what there is room
            for.
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
        """Return the first part.

        Raises:
            ResourcesError: If no machine has room for a trial.
        """
        machines = self._machines()
        share = share_of(machines, self._wanted, self._count)
        most = most_per_gpu(machines, self._wanted, self._max_concurrent)
        is_measured = self._per_gpu == "auto" and share.gpus == 1 and most > 1
        return Measuring(share, most) if is_measured else Phase(share)

    def may_go_on(self, first: Phase) -> bool:
        """Whether parts may follow on the first one."""
        return isinstance(first, Measuring) or 0 < first.share.gpus < 1

    def after(self, phase: Phase, coordinator: Coordinator) -> Phase | None:
        """Return what follows on a part of the search; `None` at its end."""
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
        """What each trial gets in another part of the search; what it got before where no machine
        has a GPU any more, for which Ray then waits.
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
        """Return what is said of a part of the search."""
        measures = isinstance(phase, Measuring)
        then = "; when their GPU memory is measured, as many as fit" if measures else ""
        return f"{phase.share.described(self.at_once(phase.share)[0])}{then}."


def fitting(used: int | None, size: int | None) -> int | None:
    """Return how many trials fit on one GPU; `None` where that is not known.

    Args:
        used: The most bytes that a trial took.
        size: The bytes of the GPU.
    """
    if used is None or size is None:
        return None
    return max(math.floor(size * SPARE / (used + CONTEXT_BYTES)), 1)


def hint(used: int | None, size: int | None, most: int) -> str | None:
    """Return what is said of GPUs that were mostly empty; `None` if they were not.

    Args:
        used, size: As for `fitting`.
        most: How many trials may share a GPU.
    """
    count = min(fitting(used, size) or 1, most)
    if count < 2 or used is None or size is None:
        return None
    return (
        f"Each trial took at most {used / 2**30:.1f} of the {size / 2**30:.0f} GiB of its GPU: "
        f"`trials_per_gpu={count}` trains {count} on each."
    )
