"""A project as results are read from it: its trials, and the weights of a training in a model. Runs
in the driver.
"""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import keras

from glimr_keras.errors import CheckpointError, ModelError, ProjectError
from glimr_keras.models.compile_overrides import CompileOverrides
from glimr_keras.models.configuration import configuration
from glimr_keras.models.hypermodel import HyperModel, overrides
from glimr_keras.project import checkpoints, model_weights, predictions
from glimr_keras.project.journal import Journal, Project
from glimr_keras.project.predictions import KeptPredictions
from glimr_keras.project.remote_files import project_name
from glimr_keras.project.remote_mirror import Mirror
from glimr_keras.space.declared_space import DeclaredSpace
from glimr_keras.space.hyperparameters import HyperParameters
from glimr_keras.trials.layout import execution_directory
from glimr_keras.trials.ranking import ranked
from glimr_keras.trials.trial import Trial, fold_of


class ProjectReader:
    """Reads a project, from its journal each time; a running search may be writing to it.

    Args:
        space: The declared space, maybe empty.
        place: The project's directory.
        mirror: What keeps it the same as a project at a URI; `None` of a project that is there
            alone.
    """

    def __init__(
        self, space: DeclaredSpace, place: pathlib.Path, mirror: Mirror | None = None
    ) -> None:
        self.space, self.place, self.mirror = space, place, mirror

    @property
    def name(self) -> str:
        """Return what the project is called."""
        return project_name(self.place if self.mirror is None else self.mirror.uri)

    def read(self) -> Project:
        """The project as it is now.

        Raises:
            ProjectError: If there is none, or it is damaged.
        """
        if self.mirror is not None:
            self.mirror.pull_to_read()
            self.place = self.mirror.directory
        return Journal(self.place).read()

    def directory_of(self, trial_id: str, execution: int) -> pathlib.Path:
        """The folder of an execution's checkpoint."""
        return execution_directory(self.place, trial_id, execution)

    def best(self, project: Project, count: int) -> list[Trial]:
        """The best trials, best first.

        Raises:
            ProjectError: If none has a score.
        """
        trials = [trial for trial in project.trials.values() if trial.is_scored]
        if not trials:
            raise ProjectError(
                f"No trial of the project in {self.place} has finished with a score. Received: "
                f"{len(project.trials)} trials."
            )
        return ranked(trials, project.objective)[:count]

    def trial(self, trial_id: str | None) -> Trial:
        """Return a trial; without an id, the best one.

        Raises:
            ProjectError: If there is none.
        """
        project = self.read()
        if trial_id is None:
            return self.best(project, 1)[0]
        if trial_id not in project.trials:
            raise ProjectError(
                f"There is no such trial in {self.place}. Received: trial_id={trial_id!r}. There "
                f"are {len(project.trials)} trials."
            )
        return project.trials[trial_id]

    def no_weights(self, errors: Mapping[str, CheckpointError]) -> CheckpointError:
        """The error of trials, by id, none of which has its weights."""
        first = next(iter(errors.values()))
        places = (self.directory_of(trial_id, 0) for trial_id in errors)
        hint = (
            "A `run_trial` of your own saves weights by `self.save_model(trial.trial_id, model)`."
        )
        return CheckpointError(
            f"There are no models to load: none of the {len(errors)} trials with a score has its "
            f"weights. {first}"
            + (
                ""
                if any(file for place in places for file in place.glob("checkpoint*"))
                else f" {hint}"
            )
        )

    def load(
        self,
        hypermodel: HyperModel | None,
        build: Callable[[HyperParameters], keras.Model],
        compile_overrides: CompileOverrides,
        trial: Trial,
        project: Project,
        execution: int,
    ) -> keras.Model:
        """The model of a training, which `build` makes of its configuration, with its weights.

        Raises:
            CheckpointError: If the weights are damaged, or not there.
            ModelError: If there is no model to be built, or the weights do not fit it.
        """
        model, _ = self.built(hypermodel, build, trial, project, execution)
        with compile_overrides.scope():
            self.read_weights(model, trial, execution)
        return model

    def built(
        self,
        hypermodel: HyperModel | None,
        build: Callable[[HyperParameters], keras.Model],
        trial: Trial,
        project: Project,
        execution: int,
        values: dict[str, Any] | None = None,
    ) -> tuple[keras.Model, HyperParameters]:
        """Return the model of a training, without its weights, and its configuration.

        Args:
            values: The configuration. Defaults to `None`: the one that the weights are of.

        Raises:
            ModelError: If there is no model to be built.
        """
        if hypermodel is None:
            raise ModelError(
                "Models are built by the `HyperModel` and then loaded. Pass it to `RayTuner.open`."
            )
        if overrides(hypermodel, "run"):
            raise ModelError(
                f"There are no models to load: the trials of {type(hypermodel).__name__} are its "
                "own `run`."
            )
        values = self.values_of(trial, execution) if values is None else values
        fold = fold_of(execution, project.cv_folds)
        config = configuration(
            self.space, values, trial.sampling_key, fold, project.cv_folds, hypermodel
        )
        if overrides(hypermodel, "data"):
            hypermodel.data(config)  # `build` may use what `data` made, such as an adapted layer
        return build(config), config

    def values_of(self, trial: Trial, execution: int) -> dict[str, Any]:
        """The configuration that an execution's weights are of; a scheduler may have changed it
        since.
        """
        place = self.directory_of(trial.trial_id, execution)
        if self.mirror is not None:
            self.mirror.fetch(place, trial.executions[execution].saved_score)
        if checkpoints.are_of_own_loop(place):
            return trial.values
        return trial.values | (checkpoints.describe(place).values or {})

    def predictions(self, trial_id: str, execution: int) -> KeptPredictions | None:
        """What an execution's model predicted for its validation samples after each epoch; `None`
        if that was not kept.

        Raises:
            CheckpointError: If it is damaged.
            StorageError: If it cannot be read from the project's URI.
        """
        place = self.directory_of(trial_id, execution)
        if self.mirror is not None:
            self.mirror.fetch_predictions(place)
        return predictions.read(place)

    def read_weights(self, model: keras.Model, trial: Trial, execution: int) -> None:
        """Loads the weights of an execution's best epoch into a model."""
        place = self.directory_of(trial.trial_id, execution)
        if checkpoints.are_of_own_loop(place):
            model_weights.load_weights(model, place / checkpoints.WEIGHTS)
        else:
            model_weights.load(model, place)
