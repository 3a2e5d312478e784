"""The paths of a trial's files in its project's directory. Runs anywhere.

The first 10,000 trials have their folders in the project itself, as in KerasTuner:
`project/trial_<id>/`. Directories with many more entries are slow to list, on some file systems
even to open. So each thousand of later trials shares a folder, named after the first of them:
`project/trials_12000/trial_12345/`. No directory has more than 1,000 trials, except the project's
own with 10,000.
"""

from __future__ import annotations

import pathlib
import re

FLAT = 10_000
"""Trials with numbers below this have their folders in the project itself."""
SHARD = 1_000
"""The largest number of trials in a shared folder."""
_NUMBER = re.compile(r"[0-9]{1,32}")
_SHARD = re.compile(r"trials_([1-9][0-9]{0,31})")


def trial_folder(trial_id: str) -> str:
    """Return a trial's folder, relative to the project's directory.

    A trial whose id is not a number is in the project itself.
    """
    plain = f"trial_{trial_id}"
    if _NUMBER.fullmatch(trial_id) is None or int(trial_id) < FLAT:
        return plain
    return f"trials_{int(trial_id) // SHARD * SHARD}/{plain}"


def is_shard(name: str) -> bool:
    """Return whether a folder of a project, by its name, is a shared folder of trials."""
    found = _SHARD.fullmatch(name)
    return found is not None and int(found[1]) >= FLAT and int(found[1]) % SHARD == 0


def is_in_shard(trial: pathlib.Path) -> bool:
    """Return whether a folder is a trial's, in the right shared folder."""
    return trial_folder(_id(trial)) == f"{trial.parent.name}/{trial.name}"


def trial_directories(project: pathlib.Path) -> list[pathlib.Path]:
    """Return the folders of all existing trials, sorted by name.

    In a KerasTuner project, which has no such limit, all are in the project itself.
    """
    found = list(project.glob("trial_*"))
    for shard in project.glob("trials_*"):
        if is_shard(shard.name):
            found += (place for place in shard.glob("trial_*") if is_in_shard(place))
    return sorted(found, key=lambda place: place.name)


def execution_directory(
    project: pathlib.Path, trial_id: str, execution: int, is_flat: bool = False
) -> pathlib.Path:
    """Return the folder of an execution's checkpoint.

    It is the trial's folder for the first execution, and a folder inside it for the others.

    Args:
        project: The project's directory.
        trial_id: The id of the trial.
        execution: The number of the execution, from 0.
        is_flat: Whether all trials are in the project itself, as in a KerasTuner project. Defaults
            to `False`.
    """
    trial = project / (f"trial_{trial_id}" if is_flat else trial_folder(trial_id))
    return trial if execution == 0 else trial / f"execution_{execution}"


def project_directory(directory: str | pathlib.Path, execution: int) -> pathlib.Path:
    """Return the project's directory, given an execution's folder."""
    trial = pathlib.Path(directory) if execution == 0 else pathlib.Path(directory).parent
    return trial.parents[trial_folder(_id(trial)).count("/")]


def _id(trial: pathlib.Path) -> str:
    return trial.name.removeprefix("trial_")


STATES = "latest"
"""The name of the folder of a training's states, inside its own folder."""


def state_directory(directory: str | pathlib.Path) -> pathlib.Path:
    """Return the folder, inside an execution's, of the states to resume its training from."""
    return pathlib.Path(directory) / STATES
