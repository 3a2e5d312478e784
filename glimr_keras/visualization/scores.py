"""The trials of a project for figures: their scores, and which were stopped or failed. Runs
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
        project: The project, with the plotted objective.
        name: The name of the project; empty if it has none.
    """

    project: Project
    name: str = ""

    @functools.cached_property
    def trials(self) -> list[Trial]:
        """Return all trials."""
        return list(self.project.trials.values())

    @functools.cached_property
    def numbers(self) -> np.ndarray:
        """Return the trials' numbers from their ids, or else counted from 0.

        Shape (trials,), integers.
        """
        ids = [trial.trial_id for trial in self.trials]
        return np.array([int(i) for i in ids] if _are_numbers(ids) else range(len(ids)), int)

    @functools.cached_property
    def values(self) -> np.ndarray:
        """Return the trials' scores; NaN if missing or infinite. Shape (trials,)."""
        scores = [trial.score if trial.is_scored else None for trial in self.trials]
        values = np.array([np.nan if score is None else score for score in scores], float)
        return np.where(np.isfinite(values), values, np.nan)

    @functools.cached_property
    def completed(self) -> np.ndarray:
        """Return which trials completed with a score. Shape (trials,), booleans."""
        return self.has_status(TrialStatus.COMPLETED) & np.isfinite(self.values)

    @functools.cached_property
    def stopped(self) -> np.ndarray:
        """Return which trials a scheduler stopped, with a score. Shape (trials,), booleans."""
        return self.has_status(TrialStatus.STOPPED) & np.isfinite(self.values)

    @property
    def ended(self) -> np.ndarray:
        """Return which trials completed or were stopped, with a score. Shape (trials,),
        booleans.
        """
        return self.completed | self.stopped

    @functools.cached_property
    def failed(self) -> np.ndarray:
        """Return which trials failed. Shape (trials,), booleans."""
        return self.has_status(TrialStatus.FAILED)

    def has_status(self, status: str) -> np.ndarray:
        """Return which trials have a status. Shape (trials,), booleans."""
        return np.array([trial.status == status for trial in self.trials], bool)

    @functools.cached_property
    def best_first(self) -> list[int]:
        """Return the indices of the trials with a score, from best to worst, stopped ones last."""
        places = {trial.trial_id: place for place, trial in enumerate(self.trials)}
        order = [places[trial.trial_id] for trial in ranked(self.trials, self.objective)]
        return [place for place in order if np.isfinite(self.values[place])]

    @property
    def objective(self) -> Objective:
        """Return the plotted objective."""
        return self.project.objective

    @property
    def is_min(self) -> bool:
        """Return whether the lowest score is the best."""
        return self.objective.direction != "max"

    @property
    def metric(self) -> str:
        """Return the name of the scores: the objective's, or of the sum that ranks several
        objectives.
        """
        parts = sorted(self.objective.parts, key=lambda part: part.direction == "max")
        if len(parts) == 1:
            return parts[0].name
        signs = ["- " if part.direction == "max" else "+ " for part in parts]
        names = (sign + part.name for sign, part in zip(signs, parts, strict=True))
        return " ".join(names).removeprefix("+ ")

    @property
    def label(self) -> str:
        """Return the label of the score axis."""
        return f"{shortened(self.metric, 48)} ({'minimised' if self.is_min else 'maximised'})"

    @functools.cached_property
    def about(self) -> list[str]:
        """Return the hover text of each trial, as HTML."""
        metric = html.escape(shortened(self.metric))
        return [
            f"trial {n}<br>{metric}: {style.number(value, 5)}"
            if np.isfinite(value)
            else f"trial {n}"
            for n, value in zip(self.numbers, self.values, strict=True)
        ]

    @functools.cached_property
    def about_fully(self) -> list[str]:
        """Return the hover text of each trial with its configuration, as HTML."""
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
            ProjectError: If there is none.
        """
        if not self.ended.any():
            raise nothing(self, "no trial has ended with a score")

    def needs_completed(self) -> None:
        """Check that a trial has completed with a score.

        Raises:
            ProjectError: If there is none.
        """
        if not self.completed.any():
            raise nothing(self, "no trial has completed with a score")


def scores_of(source: Source | Project, objective: Goal = None) -> Scores:
    """Return the trials of a source.

    Args:
        source: See `project_of`; also a project that was already read.
        objective: See `project_of`. Defaults to `None`.
    """
    if not isinstance(source, Project):
        return Scores(_in_order(project_of(source, objective)), name_of(source))
    project = source
    if objective is not None:
        project = with_objective(project, as_objective(objective).inferred())
    return Scores(_in_order(project))


def nothing(scores: Scores, why: str) -> ProjectError:
    """Return the error for a figure that has nothing to show."""
    whose = f" of {scores.name}" if scores.name else ""
    if not scores.trials:
        return ProjectError(f"There is nothing to plot{whose} yet: it has no trials.")
    counts = Counter(trial.status.lower() for trial in scores.trials)
    received = ", ".join(f"{count} {status}" for status, count in counts.items())
    return ProjectError(f"There is nothing to plot{whose}: {why}. Trials received: {received}.")


def _in_order(project: Project) -> Project:
    """Return the project with its trials ordered by number; tables list the best first."""
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
