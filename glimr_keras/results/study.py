"""Convert a project to an Optuna study, for Optuna's figures, dashboard and other tools. Uses
Optuna; runs anywhere.
"""

from __future__ import annotations

import contextlib
import datetime
import logging
import pathlib
import statistics
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from glimr_keras.errors import ProjectError, reason_of
from glimr_keras.project import keras_tuner_files
from glimr_keras.project.journal import Project
from glimr_keras.results.distributions import Distributions
from glimr_keras.space.reserved_names import Stage
from glimr_keras.trials.execution import TrialStatus
from glimr_keras.trials.layout import execution_directory
from glimr_keras.trials.objective import Objective
from glimr_keras.trials.trial import Trial

if TYPE_CHECKING:  # heavy; imported where it is used
    import optuna
    from optuna.trial import FrozenTrial

PROJECT = "glimr_keras:project"
"""The study attribute that holds the project's id."""
TRIAL_ID = "trial_id"
"""The trial attribute that holds the trial's id in its project."""
_STARTED = "started"


def to_study(
    project: Project,
    storage: str | optuna.storages.BaseStorage | None = None,
    name: str | None = None,
    directory: pathlib.Path | None = None,
) -> optuna.Study:
    """Return a project as an Optuna study; see `Results.to_study`.

    Args:
        project: The project.
        storage: The storage of the study, as a URL or an object. Defaults to `None`, which means in
            memory.
        name: The name of the study. Defaults to `None`, which means `"glimr_keras"`.
        directory: The project's directory, for the paths of checkpoints. Defaults to `None`, which
            means that the study has no paths.

    Raises:
        ProjectError: If the storage has a study of this name that belongs to something else.
    """
    import optuna

    view = _View(project, directory)
    ways = optuna.study.StudyDirection
    directions = [
        ways.MAXIMIZE if part.direction == "max" else ways.MINIMIZE for part in view.parts
    ]
    with _quiet():
        study = optuna.create_study(
            storage=storage,
            study_name=name or "glimr_keras",
            directions=directions,
            load_if_exists=storage is not None,
        )
        _claim(study, project, view, directions)
        there = study.get_trials(deepcopy=False)
        known = {trial.user_attrs.get(TRIAL_ID): trial for trial in there}
        for trial in project.trials.values():
            there_now = known.get(trial.trial_id)
            if view.has_begun(trial) and not _is_settled(there_now, trial):
                _bring_up_to_date(study, there_now, view.shown(trial))
    return study


class _View:
    """Convert a project's trials to Optuna trials."""

    def __init__(self, project: Project, directory: pathlib.Path | None) -> None:
        self._project, self._directory = project, directory
        self._is_flat = directory is not None and keras_tuner_files.exists(directory)
        self._distributions = Distributions(project)
        scored = [trial for trial in project.trials.values() if trial.is_scored]
        parts = project.objective.parts
        has_all = all(trial.objective_values(project.objective) for trial in scored)
        self.parts: tuple[Objective, ...] = parts if has_all else (project.objective,)

    def has_begun(self, trial: Trial) -> bool:
        """Return whether a trial can be added to a study, which cannot change its start time later.

        Projects of earlier versions have no start times; their trials can always be added.
        """
        has_times = self._project.created is not None
        return trial.status != TrialStatus.RUNNING or trial.started is not None or not has_times

    def shown(self, trial: Trial) -> FrozenTrial:
        """Return a trial as an Optuna trial."""
        from optuna.trial import FrozenTrial, TrialState

        states = {
            TrialStatus.RUNNING: TrialState.RUNNING,
            TrialStatus.COMPLETED: TrialState.COMPLETE,
            TrialStatus.STOPPED: TrialState.PRUNED,
        }
        values = self._values(trial)
        has_ended = trial.status != TrialStatus.RUNNING
        state = states.get(trial.status, TrialState.FAIL)
        if has_ended and values is None:
            state = TrialState.FAIL
        known, others = self._distributions.split(trial)
        began = trial.started or self._project.created or 0.0
        return FrozenTrial(
            number=-1,  # assigned by the storage
            trial_id=-1,
            state=state,
            value=None,
            values=values if has_ended else None,
            datetime_start=datetime.datetime.fromtimestamp(began),
            datetime_complete=datetime.datetime.fromtimestamp(
                trial.ended or began + (trial.duration or 0.0)
            )
            if has_ended
            else None,
            params={label: value for label, (value, _) in known.items()},
            distributions={label: found for label, (_, found) in known.items()},
            user_attrs=self._attributes(trial, others),
            system_attrs={},
            intermediate_values=self._intermediate_values(trial),
        )

    def _values(self, trial: Trial) -> list[float] | None:
        if not trial.is_scored or trial.score is None:
            return None
        if len(self.parts) == 1:
            return [trial.score]
        return list(trial.objective_values(self._project.objective) or ())

    def _intermediate_values(self, trial: Trial) -> dict[int, float]:
        """Return the objective by epoch, counted from 1, as the mean over executions.

        Optuna supports this for a single objective only, so it is empty for several.
        """
        found: dict[int, list[float]] = {}
        objective = self._project.objective
        for execution in trial.executions.values() if len(self.parts) == 1 else ():
            for epoch, metrics in execution.history.items():
                if objective.has_value(metrics):
                    found.setdefault(epoch, []).append(objective.get_value(metrics))
        return {epoch: statistics.fmean(values) for epoch, values in sorted(found.items())}

    def _attributes(self, trial: Trial, others: dict[str, Any]) -> dict[str, Any]:
        """Return the known facts that Optuna has no field for."""
        project = self._project
        number = trial.best_execution(project.objective)
        folds = {} if project.cv_folds is None else trial.fold_scores(project.cv_folds)
        scores = {str(n): e.score for n, e in sorted(trial.executions.items())}
        known = {
            TRIAL_ID: trial.trial_id,
            _STARTED: trial.started,
            "ended": trial.ended,
            "duration": trial.duration,
            "worker": trial.worker,
            "best_epoch": None if number is None else trial.executions[number].best_epoch,
            "weights_epoch": None if number is None else trial.executions[number].weights_epoch,
            "folds": {str(fold): score for fold, score in folds.items()} or None,
            "executions": scores if len(scores) > 1 else None,
            "gpu_memory": trial.gpu_memory,
            "failure": reason_of(trial.message or "")
            if trial.status == TrialStatus.FAILED
            else None,
            "checkpoint": self._checkpoint(trial, number),
            "other_values": others or None,
        }
        stage = {name: trial.values[name] for name in Stage.NAMES if name in trial.values}
        return {name: value for name, value in known.items() if value is not None} | stage

    def _checkpoint(self, trial: Trial, number: int | None) -> str | None:
        """Return the directory with the weights of the best epoch, if they exist."""
        if self._directory is None or number is None:
            return None
        place = execution_directory(self._directory, trial.trial_id, number, self._is_flat)
        return str(place) if any(place.glob("*.weights.h5")) else None


def _claim(study: optuna.Study, project: Project, view: _View, directions: list[Any]) -> None:
    """Mark a study as the project's; fail if it has trials of something else."""
    names = [part.name for part in view.parts]
    theirs = study.user_attrs.get(PROJECT, study.metric_names)
    mine = project.project_id or names
    is_same = theirs == mine and study.directions == directions
    if not is_same and (study.get_trials(deepcopy=False) or study.directions != directions):
        raise ProjectError(
            f"The storage has a study {study.study_name!r} that is not of this project. Pass "
            "another `study_name`, or delete it by `optuna.delete_study`."
        )
    if not is_same:
        study.set_metric_names(names)
        if project.project_id is not None:
            study.set_user_attr(PROJECT, project.project_id)


def _is_settled(known: FrozenTrial | None, trial: Trial) -> bool:
    """Return whether a study has the final state of a trial."""
    if known is None or not known.state.is_finished():
        return False
    return known.user_attrs.get(_STARTED) == trial.started


def _bring_up_to_date(study: optuna.Study, known: FrozenTrial | None, now: FrozenTrial) -> None:
    """Add a trial to a study, or update it there.

    A trial that was run again becomes a new trial, and the earlier one fails. Optuna keeps the
    first value of a hyperparameter; values that a scheduler changed go into an attribute.
    """
    from optuna.trial import TrialState

    storage, study_id = study._storage, study._study_id
    if known is not None and not known.state.is_finished() and _began_anew(known, now):
        storage.set_trial_user_attr(known._trial_id, "failure", "It was begun again.")
        storage.set_trial_state_values(known._trial_id, TrialState.FAIL)
        known = None
    if known is None or known.state.is_finished():
        storage.create_new_trial(study_id, template_trial=now)
        return
    changed = [label for label, value in known.params.items() if now.params.get(label) != value]
    if changed:
        now.user_attrs["changed_values"] = {label: now.params.get(label) for label in changed}
    for label, value in now.params.items():
        if label not in known.params:
            kind = now.distributions[label]
            storage.set_trial_param(known._trial_id, label, kind.to_internal_repr(value), kind)
    for epoch, value in now.intermediate_values.items():
        if known.intermediate_values.get(epoch) != value:
            storage.set_trial_intermediate_value(known._trial_id, epoch, value)
    for name, said in now.user_attrs.items():
        if known.user_attrs.get(name) != said:
            storage.set_trial_user_attr(known._trial_id, name, said)
    if now.state.is_finished():
        storage.set_trial_state_values(known._trial_id, now.state, now.values)


def _began_anew(known: FrozenTrial, now: FrozenTrial) -> bool:
    """Return whether a running trial of a study has restarted.

    It has if one of its epochs is void or its start time differs; a study can undo neither.
    """
    is_void = not known.intermediate_values.keys() <= now.intermediate_values.keys()
    return is_void or known.user_attrs.get(_STARTED) != now.user_attrs.get(_STARTED)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence Optuna's log lines about studies and its warnings about experimental features."""
    import optuna

    logger = logging.getLogger("optuna")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        logger.setLevel(level)
