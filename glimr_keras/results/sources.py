"""Read a project from any source, for figures, exports and studies. Runs anywhere, without Ray or a
model.
"""

from __future__ import annotations

import dataclasses
import os
from typing import Any, Protocol

import pandas as pd

from glimr_keras.errors import ObjectiveError, did_you_mean
from glimr_keras.project import keras_tuner_files
from glimr_keras.project.journal import Project
from glimr_keras.project.remote_files import project_name
from glimr_keras.project.remote_mirror import place_to_read
from glimr_keras.results import stored_tables
from glimr_keras.trials.execution import Execution
from glimr_keras.trials.objective import Goal, Objective, as_objective
from glimr_keras.trials.trial import Trial


class HasProject(Protocol):
    """An object with a project: a tuner, or the results that `open` returns."""

    @property
    def project_dir(self) -> str: ...


Source = str | os.PathLike[str] | pd.DataFrame | HasProject
"""The source of a project."""


def project_of(source: Source, objective: Goal = None) -> Project:
    """Return the current project of a source.

    Args:
        source: A project's directory or URI, also of a KerasTuner project; a tuner, or the results
            that `open` returns; or a table from `results_dataframe` or `experiment_table`, or some
            of its rows.
        objective: A metric to use instead of the optimised objective. Each execution then has its
            value at the epoch of the score. A table that was read from a file does not know its
            objective and may need this. Defaults to `None`, which means the optimised objective.

    Raises:
        ProjectError: If there is no project.
        ObjectiveError: If no trial has measured `objective`, its direction is unknown, or a table
            does not know what was optimised.
        ValueError: If `source` is any other table.
        TypeError: If `source` is of another type.
    """
    goal = None if objective is None else as_objective(objective)
    if isinstance(source, pd.DataFrame):
        project = stored_tables.project_of(source, None if goal is None else goal.inferred())
    elif (reader := getattr(source, "_glimr", None)) is not None:
        project = reader.read()
    else:
        directory, _ = place_to_read(_place(source))
        project = keras_tuner_files.read_any(directory, _whole(goal))
    return project if goal is None else with_objective(project, goal)


def name_of(source: Source) -> str:
    """Return the name of a source: its project's name, or "Trials" if it has none."""
    if isinstance(source, pd.DataFrame):
        return stored_tables.about(source).get("name") or "Trials"
    reader = getattr(source, "_glimr", None)
    return project_name(_place(source)) if reader is None else str(reader.name)


def with_objective(project: Project, objective: Objective) -> Project:
    """Return a project with another objective.

    Each execution is scored by the metric's value at the epoch of its score.

    Raises:
        ObjectiveError: If no trial has measured it, or its direction is unknown.
    """
    known = sorted(set().union(*map(_metrics, project.trials.values())))
    name = objective.missing(dict.fromkeys(known, 0.0))
    is_scored = any(trial.is_scored for trial in project.trials.values())
    directions = project.directions | project.objective.name_to_direction
    if all(part.direction is None for part in objective.parts):
        objective = objective.directed([directions.get(part.name) for part in objective.parts])
    if objective != project.objective and name is not None and (known or is_scored):
        raise ObjectiveError(
            f"No trial has measured {name!r}.{did_you_mean(name, known)} Measured were: "
            f"{', '.join(known) or f'{project.objective.name!r} alone'}"
        )
    objective = objective.inferred().resolved(directions)
    if objective == project.objective:
        return project
    trials = {trial_id: _scored_by(trial, objective) for trial_id, trial in project.trials.items()}
    return dataclasses.replace(project, objective=objective, trials=trials)


def _place(source: Any) -> str:
    place = getattr(source, "project_dir", source)
    if not isinstance(place, (str, os.PathLike)):
        raise TypeError(
            "Pass a tuner, a project's directory, or a table of `results_dataframe` or "
            f"`experiment_table`. Received: {type(source).__name__}"
        )
    return os.fspath(place)


def _whole(objective: Objective | None) -> Objective | None:
    """Return an objective if its direction is given or follows from its name, and `None`
    otherwise.
    """
    inferred = None if objective is None else objective.inferred()
    return inferred if inferred and all(part.direction for part in inferred.parts) else None


def _metrics(trial: Trial) -> set[str]:
    """Return the names of the metrics that a trial has measured."""
    executions = trial.executions.values()
    logs = (log for execution in executions for log in execution.history.values())
    return set().union(*logs, *(execution.returned for execution in executions))


def _scored_by(trial: Trial, objective: Objective) -> Trial:
    executions = {
        number: dataclasses.replace(execution, score=_value(execution, objective))
        for number, execution in trial.executions.items()
    }
    scored = Trial.of(
        trial.trial_id,
        trial.suggested,
        trial.sampling_key,
        trial.hyperparameters.space,
        executions,
        trial.directions,
        trial.status,
        trial.message,
    )
    scored.values = trial.values
    return scored


def _value(execution: Execution, objective: Objective) -> float | None:
    at_best = execution.at_best
    return objective.get_value(at_best) if objective.has_value(at_best) else None
