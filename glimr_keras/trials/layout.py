"""Where a trial's files are in its project's directory. Runs anywhere.

The first 10,000 trials have their folders in the project itself, as KerasTuner has them:
`project/trial_<id>/`. A directory with many more entries is slow to list, on some file systems even
to open. So each thousand of the later ones has a folder of its own, named after the first of them:
`project/trials_12000/trial_12345/`. Thus no directory has more than 1,000 trials, but the project's
with its 10,000.
"""

from __future__ import annotations

import pathlib
import re

FLAT = 10_000
"""Trials whose folders are in the project itself: those with lower numbers than this."""
SHARD = 1_000
"""Trials that a folder of folders has at most."""
_NUMBER = re.compile(r"[0-9]{1,32}")
_SHARD = re.compile(r"trials_([1-9][0-9]{0,31})")


def trial_folder(trial_id: str) -> str:
    """Return a trial's folder, relative to the project's directory. One whose id is no number is
    in the project itself.
    """
    plain = f"trial_{trial_id}"
    if _NUMBER.fullmatch(trial_id) is None or int(trial_id) < FLAT:
        return plain
    return f"trials_{int(trial_id) // SHARD * SHARD}/{plain}"


def is_shard(name: str) -> bool:
    """Tell whether a folder in a project is one of folders of trials, by its name."""
    found = _SHARD.fullmatch(name)
    return found is not None and int(found[1]) >= FLAT and int(found[1]) % SHARD == 0


def is_in_shard(trial: pathlib.Path) -> bool:
    """Tell whether a folder is that of a trial, in the folder of folders that is for it."""
    return trial_folder(_id(trial)) == f"{trial.parent.name}/{trial.name}"


def trial_directories(project: pathlib.Path) -> list[pathlib.Path]:
    """Return the folders of all trials that are there, in the order of their names.

    In a project of KerasTuner, which has no bound, they are all in the project itself.
    """
    found = list(project.glob("trial_*"))
    for shard in project.glob("trials_*"):
        if is_shard(shard.name):
            found += (place for place in shard.glob("trial_*") if is_in_shard(place))
    return sorted(found, key=lambda place: place.name)


def execution_directory(
    project: pathlib.Path, trial_id: str, execution: int, is_flat: bool = False
) -> pathlib.Path:
    """The folder of an execution's checkpoint: the trial's own for the first, a folder inside it
    for the others.

    Args:
        is_flat: Whether all trials are in the project itself, as in one that KerasTuner wrote.
    """
    trial = project / (f"trial_{trial_id}" if is_flat else trial_folder(trial_id))
    return trial if execution == 0 else trial / f"execution_{execution}"


def project_directory(directory: str | pathlib.Path, execution: int) -> pathlib.Path:
    """The project that an execution's folder is in."""
    trial = pathlib.Path(directory) if execution == 0 else pathlib.Path(directory).parent
    return trial.parents[trial_folder(_id(trial)).count("/")]


def _id(trial: pathlib.Path) -> str:
    return trial.name.removeprefix("trial_")


STATES = "latest"
"""Directory of a training's states within its own."""


def state_directory(directory: str | pathlib.Path) -> pathlib.Path:
    """Where in an execution's folder the states are from which its training can be continued."""
    return pathlib.Path(directory) / STATES
