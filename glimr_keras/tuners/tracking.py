"""Experiment trackers of a search, found among its callbacks. Runs in the driver."""

from __future__ import annotations

import dataclasses
import warnings

from glimr_keras.project.remote_files import without_keys
from glimr_keras.training.context import TrialContext
from glimr_keras.training.tracker_callbacks import trackers_of
from glimr_keras.tuners.hooks import SearchingTuner


def tracked(context: TrialContext, tuner: SearchingTuner) -> TrialContext:
    """Return a context that includes where the script's experiment trackers log to now.

    Args:
        context: The context of the search.
        tuner: The user's tuner.
    """
    _warn_of_files(tuner)
    return with_trackers(context, tuner.project_name)


def with_trackers(context: TrialContext, project: str) -> TrialContext:
    """Return the same context as `tracked`, without the warning about files.

    Args:
        context: The context of a search, or of a training in a user-defined loop.
        project: The project's name.
    """
    given = context.arguments.kwargs.get("callbacks")  # a user-defined `run_trial` passes them on
    passed_on = given if isinstance(given, (list, tuple)) else ()
    trackers = trackers_of((*context.callbacks, *passed_on), project)
    return dataclasses.replace(context, trackers=trackers)


def _warn_of_files(tuner: SearchingTuner) -> None:
    """Warn where loggers write their files, if the project is at a URI."""
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
