"""Trials as columns of a compact table, for text and for HTML. Runs anywhere."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from typing import Any

from glimr_keras._utils.text import MISSING, Column, one_line
from glimr_keras.errors import reason_of
from glimr_keras.space.reserved_names import Stage
from glimr_keras.trials.execution import TrialStatus
from glimr_keras.trials.objective import Objective
from glimr_keras.trials.trial import Trial


def trial_columns(
    trials: Sequence[Trial], objective: Objective, cv_folds: int | None = None
) -> list[Column]:
    """Return the columns of a table with one row per trial, in the order of the trials.

    Args:
        trials: The trials, including running and failed ones.
        objective: The optimised objective.
        cv_folds: The number of cross-validation folds. Defaults to `None`, which means no cross
            validation.

    Returns:
        These columns; all but the first may be missing:

        - `trial`: The id.
        - `status`: If a trial is not completed.
        - The objective; with several objectives, `score` and each objective.
        - `std`: The standard deviation over folds or executions.
        - `best_epoch`
        - `weights_epoch`: If a trial was scored at another epoch than the one of its weights.
        - `epochs`: The epoch that a trial of Hyperband was trained to. Its other reserved values,
          which say which part of a training it is, are left out.
        - `seconds`
        - The hyperparameters that at least one trial has.
    """
    columns = [Column.of("trial", [trial.trial_id for trial in trials])]

    def add(name: str, of: Callable[[Trial], Any]) -> None:
        found = [of(trial) for trial in trials]
        values = [MISSING if value is None else value for value in found]
        if any(value is not MISSING for value in values):
            columns.append(Column.of(name, values))

    if any(trial.status != TrialStatus.COMPLETED for trial in trials):
        add("status", lambda trial: trial.status)
    several = len(objective.parts) > 1
    add("score" if several else objective.name, scored)
    for number, part in enumerate(objective.parts if several else ()):
        add(part.name, lambda trial, number=number: _part(trial, objective, number))  # type: ignore[misc]  # bound now
    add("std", lambda trial: _deviation(trial, cv_folds))
    add("best_epoch", lambda trial: _best_epoch(trial, objective, "best_epoch"))
    if any(e.weights_epoch is not None for trial in trials for e in trial.executions.values()):
        add("weights_epoch", lambda trial: _best_epoch(trial, objective, "saved_epoch"))
    add("epochs", lambda trial: trial.suggested.get(Stage.EPOCHS))
    add("seconds", lambda trial: None if trial.duration is None else round(trial.duration, 1))
    for name in dict.fromkeys(name for trial in trials for name in trial.values):
        if name not in Stage.NAMES:
            columns.append(Column.of(name, [trial.values.get(name, MISSING) for trial in trials]))
    return columns


def scored(trial: Trial) -> float | None:
    """Return the score of a trial, or `None` if it has none."""
    return trial.score if trial.is_scored else None


def failures(trials: Sequence[Trial], most: int = 5) -> list[str]:
    """Return the reasons why trials failed, one line per reason with the trials' ids.

    Args:
        trials: The trials; those that did not fail are ignored.
        most: The maximum number of reasons. A last line counts the trials with other reasons.
            Defaults to `5`.
    """
    reasons: dict[str, list[str]] = {}
    for trial in trials:
        if trial.status == TrialStatus.FAILED:
            reasons.setdefault(_reason(trial), []).append(trial.trial_id)
    lines = [f"{_named(ids)}: {reason}" for reason, ids in list(reasons.items())[:most]]
    others = sum(map(len, list(reasons.values())[most:]))
    return [*lines, *([f"{others} more, for other reasons"] if others else [])]


def counts(trials: Sequence[Trial], planned: int | None = None) -> str:
    """Return the number of trials of each status: `23 of 50 trials: 20 completed, 3 failed`.

    Args:
        trials: The trials.
        planned: The planned number of trials. Defaults to `None`, which means unknown.
    """
    number = len(trials)
    of_all = "" if planned is None or planned <= number else f" of {planned}"
    said = f"{number}{of_all} trial{'' if number == 1 and not of_all else 's'}"
    order = (
        TrialStatus.COMPLETED,
        TrialStatus.STOPPED,
        TrialStatus.FAILED,
        TrialStatus.RUNNING,
    )
    statuses = [trial.status for trial in trials]
    kinds = [
        (status, statuses.count(status)) for status in (*order, *sorted({*statuses} - {*order}))
    ]
    words = [f"{count} {_WORDS.get(status, status.lower())}" for status, count in kinds if count]
    return f"{said}: {', '.join(words)}" if words else said


_WORDS = {TrialStatus.STOPPED: "stopped early"}


def _part(trial: Trial, objective: Objective, number: int) -> float | None:
    values = trial.objective_values(objective) if trial.is_scored else None
    return None if values is None else values[number]


def _deviation(trial: Trial, cv_folds: int | None) -> float | None:
    """Return the population standard deviation over folds or executions."""
    if not trial.is_scored:
        return None
    scores = [
        score
        for score in (
            trial.fold_scores(cv_folds).values()
            if cv_folds is not None
            else (execution.score for execution in trial.executions.values())
        )
        if score is not None
    ]
    if len(scores) < 2:
        return None
    return statistics.pstdev(scores) if all(map(math.isfinite, scores)) else math.nan


def _best_epoch(trial: Trial, objective: Objective, which: str) -> int | None:
    number = trial.best_execution(objective)
    return None if number is None else getattr(trial.executions[number], which)


def _reason(trial: Trial) -> str:
    return one_line(reason_of(trial.message or ""), 160) or "unknown reason"


def _named(ids: Sequence[str], most: int = 3) -> str:
    shown = ", ".join(ids[:most])
    return shown if len(ids) <= most else f"{shown} and {len(ids) - most} more"
