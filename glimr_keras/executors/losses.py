"""Messages about lost processes. Runs in the driver."""

from __future__ import annotations

from glimr_keras.executors.coordinator import Coordinator
from glimr_keras.training.discovery import Probe
from glimr_keras.training.messages import ExecutionSpec

FIRST_STAGE = "`data` and `build`"
"""The first stage of a probe."""
MAX_REFUSED = 3
"""How often an execution moves to another process because its process did not start it."""


def died_of(stage: str) -> Probe:
    """Return the result of a probe whose processes all died, each with another configuration.

    Args:
        stage: The stage that the last process ran.
    """
    return Probe(
        error=f"The worker process died while it ran {stage} (out of memory, or a crash in a "
        "library)."
    )


def stage_of(spec: ExecutionSpec | None, coordinator: Coordinator | None) -> str:
    """Return how far an execution had progressed, according to the reports of its process."""
    if spec is None or coordinator is None:
        return "before its first trial"
    history = coordinator.oracle.trials[spec.trial_id].executions[spec.execution].history
    if history:
        return f"in `fit`, after epoch {max(history)}"
    return "in `data`, in `build` or before the end of the first epoch of `fit`"


def lost(stage: str, reason: str) -> str:
    """Return the message for an execution whose process was lost."""
    return f"The worker was lost {stage}:\n{reason}"
