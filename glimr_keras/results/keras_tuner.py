"""`open_keras_tuner_project`: what KerasTuner found, with a tuner's verbs. Runs in the driver."""

from __future__ import annotations

import os
import pathlib
from typing import Any

import keras

from glimr_keras.errors import ObjectiveError, ProjectError
from glimr_keras.models.hypermodel import as_hypermodel
from glimr_keras.project import keras_tuner_files, model_weights
from glimr_keras.project.journal import Project
from glimr_keras.results.reader import ProjectReader
from glimr_keras.results.results import Results
from glimr_keras.space.declared_space import DeclaredSpace
from glimr_keras.trials.layout import execution_directory
from glimr_keras.trials.objective import Goal, Objective, as_objective
from glimr_keras.trials.trial import Trial


class KerasTunerReader(ProjectReader):
    """Reads a project of KerasTuner, from its files each time.

    Args:
        directory, objective: As for `open_keras_tuner_project`.
    """

    def __init__(self, directory: pathlib.Path, objective: Objective | None) -> None:
        super().__init__(DeclaredSpace(), directory)
        self._objective = objective

    def read(self) -> Project:
        return keras_tuner_files.read(self.place, self._objective)

    def directory_of(self, trial_id: str, execution: int) -> pathlib.Path:
        return execution_directory(self.place, trial_id, execution, is_flat=True)

    def values_of(self, trial: Trial, execution: int) -> dict[str, Any]:
        return trial.values

    def read_weights(self, model: keras.Model, trial: Trial, execution: int) -> None:
        place = self.directory_of(trial.trial_id, 0)
        model_weights.load_weights(model, *keras_tuner_files.weights_in(place))


class KerasTunerResults(Results):
    """The results of a project of KerasTuner."""

    def get_trial_dir(self, trial_id: str) -> str:
        """The directory of a trial in the project, in which KerasTuner has all of them."""
        return os.path.join(self.project_dir, f"trial_{trial_id}")  # noqa: PTH118  # keeps `./`

    def get_trials(self) -> list[Trial]:
        """All trials, in the order in which they began."""
        return list(self._glimr.read().trials.values())


def open_keras_tuner_project(
    path: str | os.PathLike[str], hypermodel: Any = None, objective: Goal = None
) -> KerasTunerResults:
    """Opens a project of KerasTuner to read its results. KerasTuner is not needed, and nothing in
    the project is changed.

    To go on from it, give the directory, or what is returned, to a tuner as `warm_start=`, or its
    best configurations as `initial_points=`.

    Args:
        path: The project's directory, the one with `oracle.json`.
        hypermodel: What was given to KerasTuner's tuner; only `get_best_models` needs it.
        objective: What was optimised: an `Objective`, or the name of one of Keras' metrics. By
            default the metric that the trials' scores are of.

    Returns:
        An object with `get_best_models`, `get_best_hyperparameters`, `results_dataframe`,
        `results_summary` and `get_trials`. `experiment_table` takes it as well.

    Raises:
        ProjectError: If there is no such project, it is damaged, or it cannot be told what its
            objective was.
        ObjectiveError: If `objective` is a name whose direction is not known.

    Example:
        earlier = open_keras_tuner_project("runs/digits", build_model)
        earlier.results_dataframe()
        points = [hp.values for hp in earlier.get_best_hyperparameters(5)]
        RayTuner(build_model, "val_accuracy", initial_points=points)
    """
    wanted = None if objective is None else as_objective(objective).inferred()
    for part in () if wanted is None else wanted.parts:
        if part.direction is None:
            raise ObjectiveError(
                f'Say its direction: `Objective("{part.name}", "min")`, or "max". '
                f"Received: {objective!r}"
            )
    directory = pathlib.Path(path).absolute()
    if not directory.is_dir():
        raise ProjectError(f"There is no KerasTuner project in {directory}: it is no directory.")
    reader = KerasTunerReader(directory, wanted)
    reader.read()
    return KerasTunerResults(None if hypermodel is None else as_hypermodel(hypermodel), reader)
