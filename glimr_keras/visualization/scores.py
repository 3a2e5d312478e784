"""The trials of a project as figures show them: who has a score, who was stopped, who failed. Runs
anywhere.
"""

from __future__ import annotations

import dataclasses
import functools
import html
from collections import Counter
from typing import Any

import numpy as np

from glimr_keras.errors import ProjectError
from glimr_keras.project.journal import Project
from glimr_keras.results.sources import Source, name_of, project_of, with_objective
from glimr_keras.trials.execution import TrialStatus
from glimr_keras.trials.objective import Goal, Objective, as_objective
from glimr_keras.trials.ranking import ranked
from glimr_keras.trials.trial import Trial
from glimr_keras.visualization import style
from glimr_keras.visualization.style import shortened


@dataclasses.dataclass(frozen=True)
class Scores:
    """The trials of a project, in the order in which they were created.

    Attributes:
        project: With the objective that is shown.
        name: Of the project; empty where it has none.
    """

    project: Project
    name: str = ""

    @functools.cached_property
    def trials(self) -> list[Trial]:
        """All of them."""
        return list(self.project.trials.values())

    @functools.cached_property
    def numbers(self) -> np.ndarray:
        """Their numbers, as their ids say, else counted from 0. Shape (trials,), integers."""
        ids = [trial.trial_id for trial in self.trials]
        return np.array([int(i) for i in ids] if _are_numbers(ids) else range(len(ids)), int)

    @functools.cached_property
    def values(self) -> np.ndarray:
        """Their scores; nan without one, or where it is infinite. Shape (trials,)."""
        scores = [trial.score if trial.is_scored else None for trial in self.trials]
        values = np.array([np.nan if score is None else score for score in scores], float)
        return np.where(np.isfinite(values), values, np.nan)

    @functools.cached_property
    def completed(self) -> np.ndarray:
        """Which of them completed, with a score. Shape (trials,), booleans."""
        return self.has_status(TrialStatus.COMPLETED) & np.isfinite(self.values)

    @functools.cached_property
    def stopped(self) -> np.ndarray:
        """Which of them a scheduler stopped, with a score. Shape (trials,), booleans."""
        return self.has_status(TrialStatus.STOPPED) & np.isfinite(self.values)

    @property
    def ended(self) -> np.ndarray:
        """Which of them completed or were stopped, with a score. Shape (trials,), booleans."""
        return self.completed | self.stopped

    @functools.cached_property
    def failed(self) -> np.ndarray:
        """Which of them failed. Shape (trials,), booleans."""
        return self.has_status(TrialStatus.FAILED)

    def has_status(self, status: str) -> np.ndarray:
        """Return which of them have a status. Shape (trials,), booleans."""
        return np.array([trial.status == status for trial in self.trials], bool)

    @functools.cached_property
    def best_first(self) -> list[int]:
        """The places of the trials with a score, from best to worst, stopped ones last."""
        places = {trial.trial_id: place for place, trial in enumerate(self.trials)}
        order = [places[trial.trial_id] for trial in ranked(self.trials, self.objective)]
        return [place for place in order if np.isfinite(self.values[place])]

    @property
    def objective(self) -> Objective:
        """What is shown."""
        return self.project.objective

    @property
    def is_min(self) -> bool:
        """Whether the lowest score is the best."""
        return self.objective.direction != "max"

    @property
    def metric(self) -> str:
        """What the scores are: the objective's name, of several ones the sum that ranks trials."""
        parts = sorted(self.objective.parts, key=lambda part: part.direction == "max")
        if len(parts) == 1:
            return parts[0].name
        signs = ["- " if part.direction == "max" else "+ " for part in parts]
        names = (sign + part.name for sign, part in zip(signs, parts, strict=True))
        return " ".join(names).removeprefix("+ ")

    @property
    def label(self) -> str:
        """What is written at the axis of the scores."""
        return f"{shortened(self.metric, 48)} ({'minimised' if self.is_min else 'maximised'})"

    @functools.cached_property
    def about(self) -> list[str]:
        """What is said of each trial where a pointer is, in HTML."""
        metric = html.escape(shortened(self.metric))
        return [
            f"trial {n}<br>{metric}: {style.number(value, 5)}"
            if np.isfinite(value)
            else f"trial {n}"
            for n, value in zip(self.numbers, self.values, strict=True)
        ]

    @functools.cached_property
    def about_fully(self) -> list[str]:
        """The same with the configuration of each trial."""
        return [
            "<br>".join([about, *map(_said, trial.values.items())])
            for about, trial in zip(self.about, self.trials, strict=True)
        ]

    def title(self, figure: str) -> str:
        """Return the title of a figure."""
        return f"{figure} ({shortened(self.name, 48)})" if self.name else figure

    def needs_ended(self) -> None:
        """Check that a trial has completed, or was stopped, with a score.

        Raises:
            ProjectError: If none has.
        """
        if not self.ended.any():
            raise nothing(self, "no trial has ended with a score")

    def needs_completed(self) -> None:
        """Check that a trial has completed with a score.

        Raises:
            ProjectError: If none has.
        """
        if not self.completed.any():
            raise nothing(self, "no trial has completed with a score")


def scores_of(source: Source | Project, objective: Goal = None) -> Scores:
    """Return the trials of a source.

    Args:
        source: As for `project_of`, or a project that was read.
        objective: As for `project_of`.
    """
    if not isinstance(source, Project):
        return Scores(_in_order(project_of(source, objective)), name_of(source))
    project = source
    if objective is not None:
        project = with_objective(project, as_objective(objective).inferred())
    return Scores(_in_order(project))


def nothing(scores: Scores, why: str) -> ProjectError:
    """Return the error of a figure that has nothing to show."""
    whose = f" of {scores.name}" if scores.name else ""
    if not scores.trials:
        return ProjectError(f"There is nothing to plot{whose} yet: it has no trials.")
    counts = Counter(trial.status.lower() for trial in scores.trials)
    received = ", ".join(f"{count} {status}" for status, count in counts.items())
    return ProjectError(f"There is nothing to plot{whose}: {why}. Trials received: {received}.")


def _in_order(project: Project) -> Project:
    """Return the project with its trials in the order of their numbers; tables have the best
    first.
    """
    if not _are_numbers(project.trials):
        return project
    trials = dict(sorted(project.trials.items(), key=lambda item: int(item[0])))
    return dataclasses.replace(project, trials=trials)


def _said(named: tuple[str, Any]) -> str:
    name, value = named
    shown = f"{value:.4g}" if isinstance(value, float) else shortened(value, 80)
    return html.escape(f"{name}: {shown}")


def _are_numbers(ids: Any) -> bool:
    return all(trial_id.isdecimal() for trial_id in ids)
