"""Read a project: its trials, and the weights of a training run. Runs in the driver."""

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
    """Read a project. Its journal is read on every call, so a search may still be running.

    Args:
        space: The declared space; it may be empty.
        place: The project's directory.
        mirror: The mirror that keeps `place` in sync with a project at a URI. Defaults to `None`,
            which means that the project is in `place` only.
    """

    def __init__(
        self, space: DeclaredSpace, place: pathlib.Path, mirror: Mirror | None = None
    ) -> None:
        self.space, self.place, self.mirror = space, place, mirror

    @property
    def name(self) -> str:
        """Return the project's name."""
        return project_name(self.place if self.mirror is None else self.mirror.uri)

    def read(self) -> Project:
        """Return the current state of the project.

        Raises:
            ProjectError: If there is no project, or it is damaged.
        """
        if self.mirror is not None:
            self.mirror.pull_to_read()
            self.place = self.mirror.directory
        return Journal(self.place).read()

    def directory_of(self, trial_id: str, execution: int) -> pathlib.Path:
        """Return the directory of an execution's checkpoint."""
        return execution_directory(self.place, trial_id, execution)

    def best(self, project: Project, count: int) -> list[Trial]:
        """Return the best trials, best first.

        Raises:
            ProjectError: If no trial has a score.
        """
        trials = [trial for trial in project.trials.values() if trial.is_scored]
        if not trials:
            raise ProjectError(
                f"No trial of the project in {self.place} has finished with a score. Received: "
                f"{len(project.trials)} trials."
            )
        return ranked(trials, project.objective)[:count]

    def trial(self, trial_id: str | None) -> Trial:
        """Return a trial by id; for `None`, the best one.

        Raises:
            ProjectError: If there is no such trial.
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
        """Return the error for trials (by id) that all lack weights."""
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
        """Return the model of an execution, built by `build` from its configuration, with its
        weights.

        Raises:
            CheckpointError: If the weights are damaged or missing.
            ModelError: If there is no model to build, or the weights do not fit it.
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
        """Return the model of an execution, without its weights, and its configuration.

        Args:
            values: The configuration. Defaults to `None`: the one that the weights are of.

        Raises:
            ModelError: If there is no model to build.
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
        """Return the configuration that an execution's weights were trained with.

        A scheduler may have changed the trial's configuration since then.
        """
        place = self.directory_of(trial.trial_id, execution)
        if self.mirror is not None:
            self.mirror.fetch(place, trial.executions[execution].saved_score)
        if checkpoints.are_of_own_loop(place):
            return trial.values
        return trial.values | (checkpoints.describe(place).values or {})

    def predictions(self, trial_id: str, execution: int) -> KeptPredictions | None:
        """Return an execution's predictions for its validation samples after each epoch.

        Returns:
            The predictions; `None` if they were not kept.

        Raises:
            CheckpointError: If they are damaged.
            StorageError: If they cannot be read from the project's URI.
        """
        place = self.directory_of(trial_id, execution)
        if self.mirror is not None:
            self.mirror.fetch_predictions(place)
        return predictions.read(place)

    def read_weights(self, model: keras.Model, trial: Trial, execution: int) -> None:
        """Load the weights of an execution's best epoch into a model."""
        place = self.directory_of(trial.trial_id, execution)
        if checkpoints.are_of_own_loop(place):
            model_weights.load_weights(model, place / checkpoints.WEIGHTS)
        else:
            model_weights.load(model, place)
