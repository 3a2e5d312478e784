"""A KerasTuner project's files, read as a `Project`. Runs in the driver; needs neither KerasTuner
nor a model.

Such a project has an `oracle.json`, and a `trial.json` in each `trial_<id>/`. With Keras 3, it also
has the weights of the best epoch and the shape of the model's inputs. It does not record the
objective.
"""

from __future__ import annotations

import math
import pathlib
import reprlib
from collections.abc import Iterable
from typing import Any

from glimr_keras.errors import CheckpointError, ProjectError
from glimr_keras.project import checkpoints, records
from glimr_keras.project.journal import Journal, Project, serialized
from glimr_keras.trials import stored_trial
from glimr_keras.trials.execution import Execution, TrialStatus
from glimr_keras.trials.metrics_tracking import MetricObservation
from glimr_keras.trials.objective import DEFAULT, Objective
from glimr_keras.trials.trial import Trial

_ORACLE, _BUILD = "oracle.json", "build_config.json"


def exists(directory: pathlib.Path) -> bool:
    """Return whether a directory holds a project of KerasTuner and not of glimr_keras.

    The latter writes such files too.
    """
    return (directory / _ORACLE).is_file() and not Journal(directory).exists()


def read_any(directory: pathlib.Path, objective: Objective | None = None) -> Project:
    """Read a project of glimr_keras or of KerasTuner.

    Args:
        directory: The project's directory.
        objective: As for `read`. Defaults to `None`.

    Raises:
        ProjectError: If there is none, or it is damaged.
    """
    return read(directory, objective) if exists(directory) else Journal(directory).read()


def read(directory: pathlib.Path, objective: Objective | None = None) -> Project:
    """Read a project of KerasTuner.

    Args:
        directory: The project's directory.
        objective: The objective of the search, with its direction. Defaults to `None`, which means
            the metric that matches the scores.

    Raises:
        ProjectError: If there is none, it is damaged, or its objective cannot be determined.
    """
    if not (directory / _ORACLE).is_file():
        raise ProjectError(f"There is no KerasTuner project in {directory}: it has no {_ORACLE}.")
    oracle = stored_trial.read_object(directory / _ORACLE)
    read_trials = map(stored_trial.read, stored_trial.files_in(directory))
    found = {trial.trial_id: trial for trial in read_trials}
    try:
        order = [trial_id for trial_id in oracle.get("start_order") or () if trial_id in found]
        trials = {
            trial_id: found[trial_id]
            for trial_id in [*order, *(other for other in found if other not in order)]
        }
        scored = [
            trial
            for trial in trials.values()
            if trial.score is not None and not math.isnan(trial.score)
        ]
        optimised = _objective_of(scored, directory) if objective is None else objective
        for trial in trials.values():
            _add_executions(trial, optimised)
        for trial in scored:
            _check_score(trial, optimised, directory)
        space = records.checked_space(oracle["hyperparameters"]["space"])
        end_order = [trial_id for trial_id in oracle.get("end_order") or () if trial_id in trials]
        seed = oracle.get("seed") or 0
        if not isinstance(seed, int):
            raise TypeError(f"`seed` cannot be {reprlib.repr(seed)}")
    except ProjectError:
        raise
    except (KeyError, TypeError, AttributeError, ValueError, ArithmeticError) as error:
        raise ProjectError(
            f"The KerasTuner project in {directory} is damaged: {type(error).__name__}: {error}"
        ) from error
    return Project(
        optimised,
        seed,
        max((len(trial.executions) for trial in trials.values()), default=1),
        serialized(space),
        is_whole=False,
        trials=trials,
        project_id=None,  # KerasTuner records neither
        created=None,
        directions={
            name: kept for trial in trials.values() for name, kept in trial.directions.items()
        },
        end_order=end_order,
    )


def weights_in(directory: pathlib.Path) -> tuple[pathlib.Path, dict[str, Any] | None]:
    """Return the weights file of a trial's best epoch, and Keras' build config of its model if
    available.

    Raises:
        CheckpointError: If the weights do not exist, or Keras 2 wrote them.
    """
    weights = directory / checkpoints.WEIGHTS
    if not weights.exists():
        kept = sorted(path.name for path in directory.glob("checkpoint*"))
        why = f": Keras 3 does not read what Keras 2 wrote, {', '.join(kept)}" if kept else ""
        raise CheckpointError(f"There are no weights in {directory}{why}.")
    return weights, stored_trial.read_object(directory / _BUILD) if (
        directory / _BUILD
    ).exists() else None


def _objective_of(scored: list[Trial], directory: pathlib.Path) -> Objective:
    """Return the metric that matches all scores; the first one if several always had the same
    values.
    """
    if not scored:
        return DEFAULT
    metrics = scored[0].metrics.metrics
    fitting = [
        Objective(name, history.direction)
        for name, history in metrics.items()
        if all(
            trial.metrics.exists(name) and _is_score(trial.metrics.get_history(name), trial.score)
            for trial in scored
        )
    ]
    if len({objective.direction for objective in fitting}) != 1:
        what = "several metrics are what was scored" if fitting else "no metric is what was scored"
        names = ", ".join(objective.name for objective in fitting) or ", ".join(metrics)
        raise ProjectError(
            f"It cannot be told what the objective of the KerasTuner project in {directory} was, "
            f"since {what}: {names}. Pass `objective=`."
        )
    return fitting[0]


def _check_score(trial: Trial, objective: Objective, directory: pathlib.Path) -> None:
    """Raise an error for an objective that contradicts the scores; accept it if the metrics do
    not tell.
    """
    values = trial.objective_values(objective)
    if values is None or trial.score is None:
        return
    value = objective.get_value(
        dict(zip((part.name for part in objective.parts), values, strict=True))
    )
    if not math.isclose(value, trial.score, rel_tol=1e-6):
        raise ProjectError(
            f"The objective of the KerasTuner project in {directory} was not {objective}: trial "
            f"{trial.trial_id} has the score {trial.score}, and that would be {value}."
        )


def _is_score(observations: Iterable[MetricObservation], score: Any) -> bool:
    return any(
        math.isclose(observation.mean(), score, rel_tol=1e-6) for observation in observations
    )


def _add_executions(trial: Trial, objective: Objective) -> None:
    """Add a trial's metrics to its executions, as in trials of glimr_keras."""
    if trial.status == TrialStatus.INVALID:
        trial.status = TrialStatus.FAILED
    metrics = trial.metrics.metrics
    trial.directions = {name: history.direction for name, history in metrics.items()}
    for name, history in metrics.items():
        for observation in history.get_history():
            for number, value in enumerate(observation.value):
                execution = trial.executions.setdefault(
                    number, Execution(trial.status, is_told=True)
                )
                execution.history.setdefault(observation.step + 1, {})[name] = float(value)
    for execution in trial.executions.values():
        if trial.score is not None:
            execution.best_epoch = trial.best_step + 1
            at_best = execution.at_best
            execution.score = (
                objective.get_value(at_best) if objective.has_value(at_best) else trial.score
            )
