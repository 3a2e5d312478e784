"""Where a search is tracked beside its project, if its callbacks are trackers'. Runs in the
driver.
"""

from __future__ import annotations

import dataclasses
import warnings

from glimr_keras.project.remote_files import without_keys
from glimr_keras.training.context import TrialContext
from glimr_keras.training.tracker_callbacks import trackers_of
from glimr_keras.tuners.hooks import SearchingTuner


def tracked(context: TrialContext, tuner: SearchingTuner) -> TrialContext:
    """Return what trials share with where the script logs to now, for its trackers' callbacks.

    Args:
        context: Of the search.
        tuner: The user's.
    """
    _warn_of_files(tuner)
    return with_trackers(context, tuner.project_name)


def with_trackers(context: TrialContext, project: str) -> TrialContext:
    """Return what trials share with the same, without a word on files.

    Args:
        context: Of a search, or of a training in a loop of the user's own.
        project: The project's name.
    """
    given = context.arguments.kwargs.get("callbacks")  # which a `run_trial` passes on
    passed_on = given if isinstance(given, (list, tuple)) else ()
    trackers = trackers_of((*context.callbacks, *passed_on), project)
    return dataclasses.replace(context, trackers=trackers)


def _warn_of_files(tuner: SearchingTuner) -> None:
    """Say of loggers that write files where these are, if the project is at a URI."""
    state = tuner._glimr
    if state.mirror is None or not state.settings.ray_callbacks:
        return
    from glimr_keras.executors.ray_callbacks import file_writers

    writing = file_writers(state.settings.ray_callbacks)
    if writing:
        warnings.warn(
            f"The files of {' and '.join(writing)} stay on this machine, in the local copy of the "
            f"project. Received: a project at {without_keys(state.mirror.uri)}; its copy is in "
            f"{state.place}.",
            stacklevel=6,
        )
