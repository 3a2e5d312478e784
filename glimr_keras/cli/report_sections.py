"""The sections of a report, as HTML. Runs anywhere."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Sequence

from glimr_keras._utils.html import escaped
from glimr_keras._utils.text import duration, four_digits, short
from glimr_keras.cli.project_lines import Times, best_of, moment, search_in_words, times_of
from glimr_keras.cli.report_page import described, section, table, tile
from glimr_keras.errors import reason_of
from glimr_keras.project.journal import Project
from glimr_keras.results.summaries import objective_in_words
from glimr_keras.results.trial_columns import counts, trial_columns
from glimr_keras.space.described import space_columns
from glimr_keras.space.reserved_names import Stage
from glimr_keras.trials.ranking import pareto_front, ranked
from glimr_keras.trials.trial import Trial
from glimr_keras.version import __version__

_LIBRARIES = ("keras", "tensorflow", "torch", "jax", "ray", "optuna", "numpy", "pandas")
_IDS = 30
"""The number of trials that are named with each reason for failures."""


def head(title: str, project: Project, now: float) -> str:
    """Return the key figures at the top of the report."""
    trials = list(project.trials.values())
    best = next(iter(best_of(project, 1)), None)
    name = project.objective.name if len(project.objective.parts) == 1 else "score"
    tiles = []
    if best is not None and best.score is not None:
        said = f"best {name}, trial {best.trial_id}"
        tiles.append(tile(four_digits(best.score), said, is_first=True))
    number, _, statuses = counts(trials).partition(":")
    tiles.append(tile(number, statuses.strip()))
    times = times_of(project)
    if times.trained:
        workers = "1 worker" if times.workers == 1 else f"{times.workers} workers"
        by = f" by {workers}" if times.workers else ""  # otherwise not recorded
        tiles.append(tile(duration(times.trained), f"of training{by}"))
    if times.began is not None:
        day, _, clock = moment(times.began).partition(" ")
        tiles.append(tile(day, f"began at {clock}{_until(times)}"))
    made = (
        f"Hyperparameter search, {objective_in_words(project.objective)}. Report of {moment(now)}."
    )
    return (
        f'<header>\n<h1>{escaped(title)}</h1>\n<p class="quiet">{escaped(made)}</p>\n'
        f'<div class="tiles">{"".join(tiles)}</div>\n</header>'
    )


def _until(times: Times) -> str:
    if times.is_running:
        return ", still running"
    return "" if times.ended is None else f", until {moment(times.ended)}"


def best(project: Project, number: int) -> str:
    """Return the best configuration, and the best trials as a table."""
    is_front = len(project.objective.parts) > 1
    trials = list(project.trials.values())
    found = (pareto_front(trials, project.objective) if is_front else best_of(project))[:number]
    if not found:
        return section("Best trials", '<p class="quiet">No trial has a score yet.</p>')
    rows = table(trial_columns(found, project.objective, project.cv_folds))
    if is_front:
        why = "No other trial is better in one objective without being worse in another."
        return section("Best compromises", f'<p class="quiet">{why}</p>', rows)
    return section("Best trials", _configuration(found[0]), rows)


def _configuration(trial: Trial) -> str:
    values = {name: value for name, value in trial.values.items() if name not in Stage.NAMES}
    if not values:
        return ""
    inner = "".join(
        f"<li><span>{escaped(name)}</span>{escaped(short(value))}</li>"
        for name, value in values.items()
    )
    return (
        f"<p>The configuration of the best one, trial {escaped(trial.trial_id)}:</p>"
        f'<ul class="choices">{inner}</ul>'
    )


def setting(place: str, project: Project) -> str:
    """Return what was searched, and how."""
    facts = described(
        [
            ("Objective", objective_in_words(project.objective)),
            ("Search", search_in_words(project)),
            ("Project", place),
            ("Project id", project.project_id or ""),
        ]
    )
    space = project.parameters
    if not space:
        return section("Setting", facts)
    return section("Setting", facts, "<h3>Search space</h3>", table(space_columns(space)))


def failed(project: Project) -> str:
    """Return the reasons why trials failed, each once and with one traceback."""
    reasons: dict[str, list[Trial]] = {}
    for trial in project.failed:
        reason = reason_of(trial.message or "") or "unknown reason"
        reasons.setdefault(reason, []).append(trial)
    ordered = sorted(reasons.items(), key=lambda each: -len(each[1]))
    return section("Failed trials", *(_failure(reason, trials) for reason, trials in ordered))


def _failure(reason: str, trials: Sequence[Trial]) -> str:
    ids = ", ".join(trial.trial_id for trial in trials[:_IDS])
    more = f" and {len(trials) - _IDS} more" if len(trials) > _IDS else ""
    number = "1 trial" if len(trials) == 1 else f"{len(trials)} trials"
    message = (trials[0].message or "").strip()
    traceback = (
        f"<details><summary>Traceback of trial {escaped(trials[0].trial_id)}</summary>"
        f"<pre>{escaped(message)}</pre></details>"
        if message and message != reason
        else ""
    )
    return (
        f'<div class="failure"><code>{escaped(reason)}</code>'
        f'<p class="quiet">{number}: {escaped(ids)}{more}</p>{traceback}</div>'
    )


def trials(project: Project) -> str:
    """Return all trials as a table that can be sorted by clicking."""
    everything = ranked(list(project.trials.values()), project.objective)
    if not everything:
        return ""
    rows = table(trial_columns(everything, project.objective, project.cv_folds))
    hint = '<p class="quiet screen">A click on the head of a column sorts by it.</p>'
    return section("All trials", hint, f'<div class="sorted">{rows}</div>')


def versions() -> str:
    """Return the versions that this report was made with."""
    found = {"glimr_keras": __version__, "Python": platform.python_version()}
    for library in _LIBRARIES:
        try:
            found[library] = importlib.metadata.version(library)
        except importlib.metadata.PackageNotFoundError:
            continue
    said = ", ".join(f"{name} {version}" for name, version in found.items())
    where = f"{platform.system()} {platform.machine()}"
    text = f"This report was made with {said} on {where}."
    return section("Versions", f'<p class="quiet">{escaped(text)}</p>')
