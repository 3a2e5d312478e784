"""Where a trial's files are in its project's directory. Runs anywhere."""

from __future__ import annotations

import pathlib


def execution_directory(project: pathlib.Path, trial_id: str, execution: int) -> pathlib.Path:
    """The folder of an execution's checkpoint: the trial's own for the first, a folder inside it
    for the others.
    """
    trial = project / f"trial_{trial_id}"
    return trial if execution == 0 else trial / f"execution_{execution}"


def project_directory(directory: str | pathlib.Path, execution: int) -> pathlib.Path:
    """The project that an execution's folder is in."""
    return pathlib.Path(directory).parents[0 if execution == 0 else 1]


STATES = "latest"
"""Directory of a training's states within its own."""


def state_directory(directory: str | pathlib.Path) -> pathlib.Path:
    """Where in an execution's folder the states are from which its training can be continued."""
    return pathlib.Path(directory) / STATES
