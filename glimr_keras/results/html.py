"""Tables and summaries of a project as HTML, for notebooks and pages. Runs anywhere, without Ray or
a model.
"""

from __future__ import annotations

from collections.abc import Sequence

from glimr_keras._utils.html import block, listed, paragraph, table, title
from glimr_keras.results.chart_of_best import chart_of_best
from glimr_keras.results.overview import Overview
from glimr_keras.results.summaries import objective_in_words
from glimr_keras.results.trial_columns import counts, failures, trial_columns
from glimr_keras.space.described import space_columns
from glimr_keras.trials.objective import Objective
from glimr_keras.trials.trial import Trial

_SHOWN = 10


def overview_html(overview: Overview) -> str:
    """Return the HTML that a notebook shows for a tuner or for results."""
    goal = (
        "" if overview.objective is None else f"objective {objective_in_words(overview.objective)}"
    )
    parts = [title(f"{overview.kind} {overview.name}", goal, overview.place)]
    project = overview.project
    if project is None:
        planned = "" if overview.planned is None else f" {overview.planned} trials are planned."
        parts.append(paragraph(f"{overview.note}{planned}"))
        parts.append(table(space_columns(overview.space)) if overview.space else "")
        return block(*parts)
    trials = list(project.trials.values())
    parts.append(paragraph(counts(trials, overview.planned)))
    parts.append(chart_of_best(overview.ended, project.objective))
    best = overview.best(_SHOWN)
    parts.append(trials_table(best, project.objective, project.cv_folds))
    if len(best) == _SHOWN:
        parts.append(paragraph(f"The best {_SHOWN}. `results_dataframe()` has all."))
    return block(*parts, failures_html(trials))


def trials_table(trials: Sequence[Trial], objective: Objective, cv_folds: int | None = None) -> str:
    """Return trials as an HTML table, in their order; an empty string if there are none.

    Args:
        trials, objective: See `trial_columns`.
        cv_folds: See `trial_columns`. Defaults to `None`, which means no cross validation.
    """
    return table(trial_columns(trials, objective, cv_folds)) if trials else ""


def failures_html(trials: Sequence[Trial]) -> str:
    """Return the reasons why trials failed; an empty string if none failed."""
    lines = failures(trials)
    return paragraph("Failed:") + listed(lines) if lines else ""
