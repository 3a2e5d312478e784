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
        is_enough = coordinator.num_open + coordinator.measured >= self.share.capacity
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
        if coordinator.measured >= self.share.capacity:
            left = coordinator.num_left
            needed = self._most if left is None else math.ceil(left / self.share.capacity)
            found = fitting(coordinator.gpu_memory, coordinator.gpu_size)
            self.count = max(min(found or 1, self._most, needed), 1)
            if found is None:
                coordinator.say(_UNKNOWN)
        elif self._tries == self.share.capacity * _TRIES:
            self.count = 1
            coordinator.say(_UNKNOWN)


_TRIES = 3
"""So many times as many executions may end without a figure before it is given up."""
_UNKNOWN = "What trials take of a GPU's memory could not be measured, so each has one for itself."


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
