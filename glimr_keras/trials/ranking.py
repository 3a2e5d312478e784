"""Rankings of trials, from best to worst. Runs anywhere."""

from __future__ import annotations

from glimr_keras.trials.execution import TrialStatus
from glimr_keras.trials.objective import Objective
from glimr_keras.trials.trial import Trial


def by_id(trial: Trial) -> tuple[bool, int, str]:
    """Return a key that sorts trials by number; foreign projects may have ids that are words."""
    is_number = trial.trial_id.isdecimal()
    return not is_number, int(trial.trial_id) if is_number else 0, trial.trial_id


def ranked(trials: list[Trial], objective: Objective) -> list[Trial]:
    """Return the trials from best to worst.

    First come completed trials by score, then stopped ones by score, then those without a score.
    """

    def key(trial: Trial) -> tuple[bool, bool, float, bool, int, str]:
        return (
            not trial.is_scored,
            trial.status == TrialStatus.STOPPED,
            objective.sort_key(trial.score),
            *by_id(trial),
        )

    return sorted(trials, key=key)


def pareto_front(trials: list[Trial], objective: Objective) -> list[Trial]:
    """Return the trials that no other trial dominates.

    A trial dominates another if it is better in one part of the objective and worse in none. The
    trials are sorted by the first part, best first.
    """
    costs: dict[str, tuple[float, ...]] = {}
    for trial in trials:
        values = trial.objective_values(objective)
        if trial.is_scored and values is not None:
            costs[trial.trial_id] = tuple(
                part.sort_key(value) for part, value in zip(objective.parts, values, strict=True)
            )

    def is_beaten(mine: tuple[float, ...]) -> bool:
        return any(
            other != mine and all(theirs <= ours for theirs, ours in zip(other, mine, strict=True))
            for other in costs.values()
        )

    front = [
        trial
        for trial in trials
        if trial.trial_id in costs and not is_beaten(costs[trial.trial_id])
    ]
    return sorted(front, key=lambda trial: costs[trial.trial_id])
