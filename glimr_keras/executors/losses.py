"""What is said of a process that is gone. Runs in the driver."""

from __future__ import annotations

from glimr_keras.executors.coordinator import Coordinator
from glimr_keras.training.discovery import Probe
from glimr_keras.training.messages import ExecutionSpec

FIRST_STAGE = "`data` and `build`"
"""What a look runs first."""
MAX_REFUSED = 3
"""How often an execution is given to another process because the one that it was for did not begin
with it.
"""


def died_of(stage: str) -> Probe:
    """Return what a look has found whose processes died, each of another configuration.

    Args:
        stage: What the last one ran.
    """
    return Probe(
        error=f"The worker process died while it ran {stage} (out of memory, or a crash in a "
        "library)."
    )


def stage_of(spec: ExecutionSpec | None, coordinator: Coordinator | None) -> str:
    """Return how far an execution has come, as far as its process has said."""
    if spec is None or coordinator is None:
        return "before its first trial"
    history = coordinator.oracle.trials[spec.trial_id].executions[spec.execution].history
    if history:
        return f"in `fit`, after epoch {max(history)}"
    return "in `data`, in `build` or before the end of the first epoch of `fit`"


def lost(stage: str, reason: str) -> str:
    """Return the message of an execution whose process is gone."""
    return f"The worker was lost {stage}:\n{reason}"
