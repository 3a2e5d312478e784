"""Projects that a search learns from. Runs in the driver."""

from __future__ import annotations

import os
import pathlib
from typing import Any

from glimr_keras._utils.overriding import is_overridden
from glimr_keras.errors import ProjectError
from glimr_keras.oracles.base import Oracle
from glimr_keras.project import keras_tuner_files
from glimr_keras.project.journal import Journal
from glimr_keras.project.remote_mirror import place_to_read
from glimr_keras.results.results import Results


def project_directories(sources: Any) -> list[pathlib.Path]:
    """Return the directories of one or several projects to learn from."""
    is_one = isinstance(sources, (str, os.PathLike, Results))
    return [_project_directory(source) for source in ([sources] if is_one else sources)]


def _project_directory(source: Any) -> pathlib.Path:
    """Return the directory of a project to learn from, given its directory, URI or tuner.

    Raises:
        ProjectError: If there is no project.
    """
    directory, _ = place_to_read(getattr(source, "project_dir", source))
    if not Journal(directory).exists() and not keras_tuner_files.exists(directory):
        raise ProjectError(
            "`warm_start` needs the directory of a project, also of KerasTuner's. Received: "
            f"{directory}"
        )
    return directory


def learn_from(oracle: Oracle, directory: pathlib.Path) -> None:
    """Let the oracle learn from the results of another project.

    Raises:
        ValueError: If the oracle cannot learn from other projects.
        ProjectError: If the other project has a different objective.
    """
    if not is_overridden(oracle, "learn", Oracle):
        raise ValueError(
            f"`warm_start` needs a search that learns from results, and {type(oracle).__name__} "
            "does not. Give the best configurations as `initial_points`."
        )
    project = keras_tuner_files.read_any(directory, oracle.objective)
    if project.objective != oracle.objective:
        raise ProjectError(
            f"`warm_start` needs results of the same objective. Received: {directory} with "
            f"{project.objective}; this search has {oracle.objective}"
        )
    for trial in project.trials.values():
        if trial.is_scored:
            oracle.learn(trial)
