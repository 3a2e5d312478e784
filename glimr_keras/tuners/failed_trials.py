"""Trials that failed in an earlier run of a script, which may have been fixed since. Runs in the
driver.
"""

from __future__ import annotations

import pathlib
from collections.abc import Callable

from glimr_keras.project import checkpoints, predictions, training_states
from glimr_keras.project.journal import Journal, Project
from glimr_keras.trials.layout import execution_directory, state_directory


def begin_again(
    journal: Journal,
    project: Project,
    place: pathlib.Path,
    remove: Callable[[pathlib.Path], None] = checkpoints.remove,
) -> None:
    """Mark all failed trials of a project to run again, from scratch and under their ids.

    The journal keeps their earlier results.

    Args:
        journal: Open for writing.
        place: The project's directory.
        remove: Function that removes the weights in an execution's folder, uploaded ones included.
            Defaults to `checkpoints.remove`.

    Raises:
        StorageError: If the journal cannot be written.
    """
    for trial in project.failed:
        journal.add_again(trial)
        for number in trial.executions:
            directory = execution_directory(place, trial.trial_id, number)
            training_states.remove_states(state_directory(directory))
            remove(directory)
            predictions.remove(directory)
        project.begin_again(trial)


def notice(project: Project) -> str | None:
    """Return a note on earlier failed trials and how to retry them; `None` without any."""
    failed, count = len(project.failed), len(project.trials)
    if not failed:
        return None
    return (
        f"{failed} of the project's {count} trials failed in an earlier run, and "
        f"{'counts' if failed == 1 else 'count'} for the budget. To have "
        f"{'it' if failed == 1 else 'them'} tried again by the script as it is now, pass "
        "`retry_failed=True` to the tuner."
    )
