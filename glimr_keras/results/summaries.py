"""Summaries of a project and of a search space, as text. Runs anywhere; needs neither Ray nor a
model.
"""

from __future__ import annotations

from collections.abc import Iterable

from glimr_keras.project.journal import Project
from glimr_keras.space.hp_types import HyperParameter, serialize
from glimr_keras.trials.trial import ranked


def results_summary(project: Project, directory: str, num_trials: int) -> str:
    """The best trials in words."""
    best = ranked(list(project.trials.values()), project.objective)[:num_trials]
    objective = project.objective
    lines = [
        "Results summary",
        f"Results in {directory}",
        f"Showing {num_trials} best trials",
        *(
            f'Objective(name="{part.name}", direction="{part.direction}")'
            for part in objective.parts
        ),
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
