"""What executions took of the GPUs that they ran on. Runs in the driver."""

from __future__ import annotations

import dataclasses

from glimr_keras.training.messages import Outcome
from glimr_keras.trials.execution import TrialStatus


@dataclasses.dataclass
class GpuUse:
    """Of the executions of a session that did not fail.

    Attributes:
        peak: The most bytes that one of them may have taken; `None` where none was measured.
        size: The bytes of the smallest GPU.
        measured: How many executions that is known of.
    """

    peak: int | None = None
    size: int | None = None
    measured: int = 0

    def add(self, outcome: Outcome) -> None:
        """Takes in what an execution says at its end, if it was measured."""
        if outcome.gpu_peak is None or outcome.status == TrialStatus.FAILED:
            return
        self.measured += 1
        self.peak = max(self.peak or 0, outcome.gpu_peak)
        if outcome.gpu_size is not None:
            self.size = min(self.size or outcome.gpu_size, outcome.gpu_size)
