"""The GPU memory that executions used. Runs in the driver."""

from __future__ import annotations

import dataclasses

from glimr_keras.training.messages import Outcome
from glimr_keras.trials.execution import TrialStatus


@dataclasses.dataclass
class GpuUse:
    """The GPU memory used by a session's executions that did not fail.

    Attributes:
        peak: The upper bound, in bytes, on the memory that one execution used; `None` if none was
            measured.
        size: The memory of the smallest GPU in bytes.
        measured: The number of executions measured.
    """

    peak: int | None = None
    size: int | None = None
    measured: int = 0

    def add(self, outcome: Outcome) -> None:
        """Record the outcome of an execution if its memory was measured."""
        if outcome.gpu_peak is None or outcome.status == TrialStatus.FAILED:
            return
        self.measured += 1
        self.peak = max(self.peak or 0, outcome.gpu_peak)
        if outcome.gpu_size is not None:
            self.size = min(self.size or outcome.gpu_size, outcome.gpu_size)
