"""A project as lines of text: its search, progress, best trials and failures. Runs anywhere."""

from __future__ import annotations

import dataclasses
import datetime
import itertools
import textwrap
from collections.abc import Sequence

from glimr_keras._utils.text import duration, four_digits, one_line, text_table
from glimr_keras.cli.console import Line
from glimr_keras.cli.opened import Opened
from glimr_keras.project.journal import Project
from glimr_keras.results.chart_of_best import points_of_best
from glimr_keras.results.summaries import objective_in_words
from glimr_keras.results.trial_columns import counts, failures, trial_columns
from glimr_keras.trials.execution import TrialStatus
from glimr_keras.trials.ranking import ranked
from glimr_keras.trials.trial import Trial

HEADING, QUIET, BAD = "bold", "dim", "red"
_MARKS = "▁▂▃▄▅▆▇█"


def facts(opened: Opened, project: Project, width: int) -> list[Line]:
    """Return a project's main facts and its progress."""
    rows = [
        ("Objective", objective_in_words(project.objective)),
        ("Search", search_in_words(project)),
        ("Progress", counts(list(project.trials.values()))),
        ("Best", best_in_words(project)),
        ("Time", time_in_words(project)),
    ]
    place = "" if opened.place == opened.name else f"in {opened.place}"
    return [
        Line(one_line(f"{opened.name} {place}", width), HEADING),
        *(Line(f"{name:<9}  {one_line(said, width - 11)}") for name, said in rows if said),
    ]


def search_in_words(project: Project) -> str:
    """Return a text that says how trials were chosen and trained."""
    oracle = (project.oracle or "").removesuffix("Oracle")
    folds = "" if project.cv_folds is None else f"{project.cv_folds} folds"
    number = project.executions_per_trial
    executions = "" if number == 1 else f"{number} executions per trial"
    scored = {"common": "scored at a common epoch", "last": "scored at the last epoch"}
    at = scored.get(project.score_at, "")
    return ", ".join(filter(None, (oracle, folds, executions, at, f"seed {project.seed}")))


def best_in_words(project: Project) -> str:
    """Return the best score and its trial; empty without a score."""
    trial = next(iter(best_of(project, 1)), None)
    if trial is None or trial.score is None:
        return ""
    objective = project.objective
    number = trial.best_execution(objective)
    epoch = None if number is None else trial.executions[number].best_epoch
    name = objective.name if len(objective.parts) == 1 else "score"
    at = "" if epoch is None or len(trial.executions) > 1 else f", epoch {epoch}"
    return f"{name} {four_digits(trial.score)}, trial {trial.trial_id}{at}"


def best_of(project: Project, number: int | None = None) -> list[Trial]:
    """Return the best trials with a score, best first."""
    scored = [trial for trial in project.trials.values() if trial.is_scored]
    return ranked(scored, project.objective)[:number]


def time_in_words(project: Project) -> str:
    """Return when the search ran, in local time, and the total training time; empty if unknown."""
    times = times_of(project)
    by = f" by {times.workers} workers" if times.workers > 1 else ""
    training = f"{duration(times.trained)} of training{by}" if times.trained else ""
    if times.began is None:
        return training
    lasted = f"since {moment(times.began)}"
    if not times.is_running and times.ended is not None:
        took = duration(times.ended - times.began)
        lasted = f"{moment(times.began)} to {moment(times.ended)} ({took})"
    return ", ".join(filter(None, (lasted, training)))


@dataclasses.dataclass(frozen=True)
class Times:
    """The times of a search.

    Attributes:
        began: The first start, in seconds since 1970; `None` if unknown.
        ended: The last end, in seconds since 1970; `None` if unknown.
        trained: The training time in seconds, summed over training runs.
        workers: The number of processes that trained.
        is_running: Whether there are trials that have not ended.
    """

    began: float | None
    ended: float | None
    trained: float
    workers: int
    is_running: bool


def times_of(project: Project) -> Times:
    """Return the times of a search."""
    trials = project.trials.values()
    workers = {e.worker for trial in trials for e in trial.executions.values() if e.worker}
    return Times(
        min((trial.started for trial in trials if trial.started), default=project.created),
        max((trial.ended for trial in trials if trial.ended), default=None),
        sum(trial.duration or 0.0 for trial in trials),
        len(workers),
        any(trial.status == TrialStatus.RUNNING for trial in trials),
    )


def moment(seconds: float) -> str:
    """Return a time in the local time zone: `2025-11-29 14:03`."""
    return datetime.datetime.fromtimestamp(seconds).strftime("%Y-%m-%d %H:%M")


def best_lines(project: Project, number: int, width: int, height: int | None = None) -> list[Line]:
    """Return the best trials as a table.

    Args:
        project: The project.
        number: The number of trials.
        width: The number of columns of the terminal.
        height: The maximum number of lines. If not all trials fit, fewer are shown, but at least
            one. Defaults to `None`, which means no maximum.
    """
    best = best_of(project, number if height is None else max(min(number, height), 1))
    if not best:
        return [Line(), Line("No trial has a score yet.", QUIET)]
    found = _table(project, best, width)
    while height is not None and len(best) > 1 and len(found) > height:
        best = best[:-1]
        found = _table(project, best, width)
    return found


def _table(project: Project, best: list[Trial], width: int) -> list[Line]:
    table = text_table(trial_columns(best, project.objective, project.cv_folds), width)
    title = "Best trial" if len(best) == 1 else f"Best {len(best)} trials"
    return [Line(), Line(title, HEADING), *map(Line, table)]


def failure_lines(project: Project, width: int, most: int = 10, height: int = 4) -> list[Line]:
    """Return the reasons why trials failed; empty if none failed.

    Args:
        project: The project.
        width: The number of columns of the terminal.
        most: The maximum number of reasons. Defaults to `10`.
        height: The maximum number of lines per reason. Defaults to `4`.
    """
    reasons = failures(list(project.trials.values()), most)
    if not reasons:
        return []
    wrapper = textwrap.TextWrapper(
        max(width, 20),
        initial_indent="  ",
        subsequent_indent="    ",
        max_lines=height,
        placeholder="…",
    )
    lines = (Line(line, BAD) for reason in reasons for line in wrapper.wrap(one_line(reason)))
    return [Line(), Line("Failed trials", HEADING), *lines]


def trend(project: Project, width: int) -> str:
    """Return the best score so far as a row of bars, by trial in the order in which they ended.

    It is empty if fewer than two trials count for it, or there is no room.
    """
    trials = [project.trials[each] for each in project.end_order or list(project.trials)]
    key = project.objective.sort_key
    costs = list(itertools.accumulate((key(score) for _, score in points_of_best(trials)), min))
    if min(len(costs), width) < 2:
        return ""
    shown = costs if len(costs) <= width else _thinned(costs, width)
    worst, best = shown[0], shown[-1]
    span = worst - best
    shares = ((worst - cost) / span if span else 1.0 for cost in shown)
    return "".join(_MARKS[round(share * (len(_MARKS) - 1))] for share in shares)


def _thinned(values: Sequence[float], number: int) -> list[float]:
    return [values[round(place * (len(values) - 1) / (number - 1))] for place in range(number)]
