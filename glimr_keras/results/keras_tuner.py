"""`open_keras_tuner_project`: the results of a KerasTuner project. Runs in the driver."""

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
    """Read a KerasTuner project. Its files are read on every call.

    Args:
        directory, objective: See `open_keras_tuner_project`.
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
    """The results of a KerasTuner project."""

    def get_trial_dir(self, trial_id: str) -> str:
        """Return the directory of a trial in the project, where KerasTuner keeps all its
        executions.
        """
        return os.path.join(self.project_dir, f"trial_{trial_id}")  # noqa: PTH118  # keeps `./`

    def get_trials(self) -> list[Trial]:
        """Return all trials, in the order in which they began."""
        return list(self._glimr.read().trials.values())


def open_keras_tuner_project(
    path: str | os.PathLike[str], hypermodel: Any = None, objective: Goal = None
) -> KerasTunerResults:
    """Open a KerasTuner project to read its results.

    KerasTuner need not be installed, and the project is not changed.

    To continue from the project, pass its directory or the returned object to a tuner as
    `warm_start=`. Alternatively, pass its best configurations as `initial_points=`.

    Args:
        path: The project's directory, which contains `oracle.json`.
        hypermodel: The hypermodel that KerasTuner's tuner received. Only `get_best_models` needs
            it. Defaults to `None`, which means that no models can be loaded.
        objective: The optimised objective: an `Objective`, or the name of a Keras metric. Defaults
            to `None`, which means the metric of the trials' scores.

    Returns:
        An object with `get_best_models`, `get_best_hyperparameters`, `results_dataframe`,
        `results_summary` and `get_trials`. `experiment_table` accepts it too.

    Raises:
        ProjectError: If there is no such project, it is damaged, or its objective cannot be
            determined.
        ObjectiveError: If `objective` is a name whose direction is unknown.

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
