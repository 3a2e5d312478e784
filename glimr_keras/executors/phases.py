"""The parts of a search: in each, every trial gets the same of the cluster. Runs in the driver.

Most searches have one. Where several trials share a GPU, those that lacked memory are tried once
more in a part of their own, and how many may share it can be measured in the first one.
"""

from __future__ import annotations

import math

from glimr_keras.executors.coordinator import Coordinator
from glimr_keras.executors.resources import Share
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
        return not coordinator.has_alone


class Measuring(Phase):
    """The first executions, each with a whole GPU, up to where it is known how many fit on one. If
    that is one, the rest of the search too.

    Args:
        share: What each trial gets.
        most: How many trials may share a GPU.
    """

    def __init__(self, share: Share, most: int) -> None:
        super().__init__(share)
        self._most, self._given = most, 0
        self._fitting: int | None = None

    def next_spec(self, coordinator: Coordinator) -> ExecutionSpec | None:
        if self._given == self.share.capacity and self._measured(coordinator) != 1:
            return None
        spec = coordinator.next_spec()
        self._given = min(self._given + (spec is not None), self.share.capacity)
        return spec

    def is_over(self, coordinator: Coordinator) -> bool:
        is_measured = self._given == self.share.capacity and self._measured(coordinator)
        return coordinator.finished or (is_measured or 1) > 1

    def _measured(self, coordinator: Coordinator) -> int | None:
        """How many trials may share a GPU; `None` while the first ones run."""
        if self._fitting is None and coordinator.is_idle:
            self._fitting = self.fitting(coordinator)
        return self._fitting

    def fitting(self, coordinator: Coordinator) -> int:
        """Return how many trials may share a GPU, by what was measured."""
        return min(fitting(coordinator.gpu_memory, coordinator.gpu_size) or 1, self._most)


def fitting(used: int | None, size: int | None) -> int | None:
    """Return how many trials fit on one GPU; `None` where that is not known.

    Args:
        used: The most bytes that a trial took.
        size: The bytes of the GPU.
    """
    if used is None or size is None:
        return None
    return max(math.floor(size * SPARE / (used + CONTEXT_BYTES)), 1)


def hint(share: Share, used: int | None, size: int | None) -> str | None:
    """Return what is said of a GPU that was mostly empty; `None` if it was not, or was shared."""
    most = math.floor(share.cpus)
    count = min(fitting(used, size) or 1, most)
    if share.gpus != 1 or count < 2 or used is None or size is None:
        return None
    return (
        f"Each trial took at most {used / 2**30:.1f} of the {size / 2**30:.0f} GiB of its GPU: "
        f"`trials_per_gpu={count}` trains {count} on each."
    )
