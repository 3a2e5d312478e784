"""Summaries of a project and of a search space as text. Runs anywhere, without Ray or a model."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence

from glimr_keras._utils.text import one_line, text_table
from glimr_keras.project.journal import Project
from glimr_keras.results.overview import Overview
from glimr_keras.results.trial_columns import counts, failures, trial_columns
from glimr_keras.space.described import space_columns
from glimr_keras.space.hp_types import HyperParameter, serialize
from glimr_keras.trials.objective import Objective
from glimr_keras.trials.ranking import ranked
from glimr_keras.trials.trial import Trial

_SHOWN = 10
_WIDTH_OF_FILES = 120


def results_summary(project: Project, directory: str, num_trials: int) -> str:
    """Return the best trials as text: KerasTuner's lines, with a table before the single trials."""
    trials = list(project.trials.values())
    scored = [trial for trial in trials if trial.is_scored]
    best = ranked(scored, project.objective)[:num_trials]
    lines = [
        "Results summary",
        f"Results in {directory}",
        f"Showing {num_trials} best trials",
        *map(str, project.objective.parts),
        "",
        *_outcome(project, best),
    ]
    for trial in best:
        lines += ["", trial.described()]
    return "\n".join(lines)


def overview_text(overview: Overview) -> str:
    """Return what `print(tuner)` shows: what is searched, the progress, and the best trials."""
    project = overview.project
    lines = [f"{overview.kind} {overview.name!r} in {overview.place}"]
    if overview.objective is not None:
        lines.append(f"Objective: {objective_in_words(overview.objective)}")
    if project is not None:
        best = overview.best(_SHOWN)
        lines += ["", *_outcome(project, best, overview.planned)]
        return "\n".join(lines)
    planned = "" if overview.planned is None else f" {overview.planned} trials are planned."
    lines.append(f"{overview.note}{planned}")
    if overview.space:
        lines += ["", *text_table(space_columns(overview.space), _width())]
    return "\n".join(lines)


def search_space_summary(space: Iterable[HyperParameter]) -> str:
    """Return the hyperparameters as text: KerasTuner's lines, followed by a table."""
    parameters = list(space)
    stored = [serialize(parameter) for parameter in parameters]
    lines = ["Search space summary", f"Default search space size: {len(stored)}"]
    for entry in stored:
        config = {name: value for name, value in entry["config"].items() if name != "name"}
        lines += [f"{entry['config']['name']} ({entry['class_name']})", str(config)]
    if parameters:
        lines += ["", *text_table(space_columns(parameters), _width())]
    return "\n".join(lines)


def objective_in_words(objective: Objective) -> str:
    """Return the objective as text, such as `val_accuracy (max)`; several are joined by commas."""
    return ", ".join(
        part.name if part.direction is None else f"{part.name} ({part.direction})"
        for part in objective.parts
    )


def _outcome(project: Project, best: Sequence[Trial], planned: int | None = None) -> list[str]:
    """Return lines with the number of trials, the best ones, and the failures."""
    trials = list(project.trials.values())
    lines = [f"  {counts(trials, planned)}"]
    if best:
        columns = trial_columns(best, project.objective, project.cv_folds)
        lines += ["", *text_table(columns, _width())]
    failed = failures(trials)
    if failed:
        lines += ["", "  Failed:", *(f"    {one_line(line, _width() - 4)}" for line in failed)]
    return lines


def _width() -> int:
    """Return the number of columns of the terminal."""
    return shutil.get_terminal_size((_WIDTH_OF_FILES, 24)).columns
