"""Tables and summaries of a project, computed from its journal. Runs anywhere; needs neither Ray nor a model."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from glimr_keras.journal import Project
from glimr_keras.parameters import HyperParameter, serialize
from glimr_keras.trials import Trial, ranked
from glimr_keras.trials import pareto_front as ranked_front

COLUMNS = ("trial_id", "status", "score", "best_epoch", "epochs", "duration")


def results_dataframe(project: Project) -> pd.DataFrame:
    """One row a trial, in the order in which the trials were created.

    Returns:
        Columns `trial_id` (str), `status` (str), `score` (float, nan without one; with cross validation the mean, followed by
        `std_score`, of the population as in scikit-learn, and `fold0_score`, …), `best_epoch` (the epoch of the score in the
        best execution, counted from 1), `epochs` (that the model has seen, with those of the trial that it continues, in the
        longest execution), `duration` (seconds, summed over executions), then one column for each hyperparameter, by full name,
        empty where a trial did not have it. A hyperparameter that has the name of another column gets `hyperparameters/` before
        its name.
    """
    of_folds = [] if project.cv_folds is None else ["std_score", *(f"fold{fold}_score" for fold in range(project.cv_folds))]
    place = COLUMNS.index("score") + 1
    columns = [*COLUMNS[:place], *of_folds, *COLUMNS[place:]]
    rows = [_row(trial, project, columns) for trial in project.trials.values()]
    names = dict.fromkeys(name for row in rows for name in row)
    frame = pd.DataFrame(rows, columns=[*columns, *(name for name in names if name not in columns)])
    for name in frame.columns.difference(columns):
        present = [row[name] for row in rows if name in row]
        if len(present) < len(rows) and all(type(value) is int for value in present):
            frame[name] = frame[name].astype("Int64")  # not 32.0 because another trial lacks it
    numbers = dict.fromkeys(["score", *of_folds, "duration"], "float64")
    return frame.astype({**numbers, "best_epoch": "Int64", "epochs": "Int64"})


def pareto_front(project: Project) -> pd.DataFrame:
    """The rows of `results_dataframe` of the trials on the Pareto front, with a column for each objective."""
    front = ranked_front(list(project.trials.values()), project.objective)
    frame = results_dataframe(project).set_index("trial_id").loc[[trial.trial_id for trial in front]].reset_index()
    values = [trial.objective_values(project.objective) or () for trial in front]
    for number, part in enumerate(project.objective.parts):
        frame.insert(COLUMNS.index("score") + 1 + number, part.name, [value[number] for value in values], allow_duplicates=True)
    return frame


def _row(trial: Trial, project: Project, columns: list[str]) -> dict[str, Any]:
    number = trial.best_execution(project.objective)
    row = {
        "trial_id": trial.trial_id,
        "status": trial.status,
        "score": trial.score,
        "best_epoch": None if number is None else trial.executions[number].best_epoch,
        "epochs": max((max(execution.history, default=0) for execution in trial.executions.values()), default=0),
        "duration": trial.duration,
    }
    if project.cv_folds is not None:
        scores = trial.fold_scores(project.cv_folds)
        row |= {"std_score": float(np.std(list(scores.values()))) if len(scores) == project.cv_folds else None}
        row |= {f"fold{fold}_score": score for fold, score in scores.items()}
    return row | {name if name not in columns else f"hyperparameters/{name}": value for name, value in trial.values.items()}


def results_summary(project: Project, directory: str, num_trials: int) -> str:
    """The best trials in words."""
    best = ranked(list(project.trials.values()), project.objective)[:num_trials]
    objective = project.objective
    lines = [
        "Results summary",
        f"Results in {directory}",
        f"Showing {num_trials} best trials",
        *(f'Objective(name="{part.name}", direction="{part.direction}")' for part in objective.parts),
    ]
    for trial in best:
        lines += ["", f"Trial {trial.trial_id} summary", "Hyperparameters:"]
        lines += [f"{name}: {value}" for name, value in trial.values.items()]
        lines += [f"Score: {trial.score}" if trial.score is not None else f"Status: {trial.status}"]
        if trial.message:
            lines += [trial.message.strip()]
    return "\n".join(lines)


def search_space_summary(space: Iterable[HyperParameter]) -> str:
    """The hyperparameters in words."""
    stored = [serialize(parameter) for parameter in space]
    lines = ["Search space summary", f"Default search space size: {len(stored)}"]
    for entry in stored:
        config = {name: value for name, value in entry["config"].items() if name != "name"}
        lines += [f"{entry['config']['name']} ({entry['class_name']})", str(config)]
    return "\n".join(lines)
