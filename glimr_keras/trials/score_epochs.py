"""The epochs at which a trial's executions are scored. Runs in the driver."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from typing import Any, Literal

from glimr_keras.trials.execution import Execution
from glimr_keras.trials.objective import Objective
from glimr_keras.trials.trial import Trial

ScoreAt = Literal["best", "common", "last"]
RULES = ("best", "common", "last")


def default_rule(cv_folds: int | None) -> ScoreAt:
    """Return the rule of a project with so many folds whose user gave none."""
    return "best" if cv_folds is None else "common"


def choose_epochs(trial: Trial, objective: Objective, rule: str) -> None:
    """Score the executions of an ended trial at the epochs that a rule selects.

    With `"best"`, each execution keeps the score of its own best epoch.

    With `"common"`, all are scored at the same epoch: the first with the best mean over the
    executions. Only epochs that all executions have, with a finite objective, are considered. The
    number of epochs is then chosen once. If each fold chose it on its own validation data, the
    scores would be too optimistic.

    With `"last"`, each is scored at its last epoch with a finite objective.

    A score that the user's code returned stays as it is. If the executions have no epoch in common,
    all scores stay, and the trial's message says so.

    Args:
        trial: A trial that did not fail.
        objective: The objective, with its direction.
        rule: `"best"`, `"common"` or `"last"`.
    """
    executions = trial.executions
    if rule == "best" or (rule == "common" and len(executions) < 2):
        return
    curves = {number: _curve(each, objective) for number, each in executions.items()}
    if not all(curves.values()):
        return
    if rule == "last":
        epochs = {number: max(curve) for number, curve in curves.items()}
    else:
        means = _mean_curve(list(curves.values()))
        if not means:
            lines = [*filter(None, [trial.message]), _NOTHING_IN_COMMON]
            trial.message = "\n".join(lines)
            return
        best = min(means, key=lambda epoch: objective.sort_key(means[epoch]))
        epochs = dict.fromkeys(curves, best)
    for number, epoch in epochs.items():
        executions[number].score_at(epoch, objective)


_SCORED_AT = "scored_at"
_NOTHING_IN_COMMON = (
    "Its trainings have no epoch in common in which the objective is a number. So each is scored "
    "at its own best epoch, and not at a common one."
)


def chosen_epochs(trial: Trial) -> dict[str, dict[int, int]]:
    """Return the epochs that `choose_epochs` chose, for the record of the trial's end."""
    chosen = {
        number: execution.best_epoch
        for number, execution in trial.executions.items()
        if execution.weights_epoch is not None and execution.best_epoch is not None
    }
    return {_SCORED_AT: chosen} if chosen else {}


def take_chosen(trial: Trial, record: Mapping[str, Any], objective: Objective) -> None:
    """Score the executions of a trial as the record of its end states."""
    for number, epoch in record.get(_SCORED_AT, {}).items():
        trial.executions[int(number)].score_at(epoch, objective)


def _mean_curve(curves: list[dict[int, float]]) -> Mapping[int, float]:
    """Return the mean after each epoch that all have, sorted by epoch."""
    first, *others = curves
    return {
        epoch: statistics.fmean([first[epoch], *(curve[epoch] for curve in others)])
        for epoch in sorted(first)
        if all(epoch in curve for curve in others)
    }


def _curve(execution: Execution, objective: Objective) -> dict[int, float]:
    """Return the finite objective after each epoch.

    It is empty if the score comes from what the user's code returned and not from these epochs.
    """
    found = {epoch: objective.value_in(seen) for epoch, seen in execution.history.items()}
    curve = {
        epoch: value for epoch, value in found.items() if value is not None and math.isfinite(value)
    }
    best = min(curve.values(), key=objective.sort_key, default=None)
    says_other = any(part.name in execution.returned for part in objective.parts)
    return {} if says_other or objective.better_than(best, execution.score) else curve
