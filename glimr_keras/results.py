"""What came out of a search: the best configurations, models and tables of a project. Runs in the driver."""

from __future__ import annotations

import pathlib
import warnings
from typing import Any

import keras
import pandas as pd

from glimr_keras import analysis, checkpoints
from glimr_keras.arguments import checked_count
from glimr_keras.compiling import Compiling
from glimr_keras.errors import CheckpointError, ModelError, ProjectError
from glimr_keras.hypermodel import HyperModel, overrides
from glimr_keras.hyperparameters import HyperParameters
from glimr_keras.job import build, configuration
from glimr_keras.journal import Journal, Project
from glimr_keras.mirrors import Mirror
from glimr_keras.space import DeclaredSpace
from glimr_keras.trials import Trial, execution_directory, fold_of, ranked


class Results:
    """The results of a project, read from its journal each time; a running search may be writing to it.

    Args:
        hypermodel: What the project's trials built; `None` if no models are to be loaded.
        space: The declared space, maybe empty.
        project_dir: The project's directory.
        mirror: What keeps it the same as a project at a URI; `None` of a project that is there alone.
        compiling: In the place of how models are compiled.
    """

    def __init__(
        self,
        hypermodel: HyperModel | None,
        space: DeclaredSpace,
        project_dir: pathlib.Path,
        mirror: Mirror | None = None,
        compiling: Compiling | None = None,
    ) -> None:
        self.hypermodel, self.declared_space, self._place = hypermodel, space, project_dir
        self._mirror, self._compiling = mirror, compiling or Compiling()

    @property
    def project_dir(self) -> str:
        """The project's directory; of one at a URI, its local copy."""
        return str(self._place)

    def get_best_models(self, num_models: int = 1) -> list[keras.Model]:
        """Builds the models of the best trials and loads the weights of their best epoch.

        Each is compiled, and evaluates on the validation data to the score of its trial (with several executions, of the best
        one). As in a trial, `data` runs before `build`. A trial whose weights are damaged is left out, with a warning.

        Args:
            num_models: Of how many trials; fewer if fewer have a score.

        Returns:
            Models from best to worst. With `cv_folds`, there are so many of each trial, one for each fold, in the order of the
            folds; `glimr_keras.ensemble` makes one model of them.

        Raises:
            ProjectError: If there is no finished trial with a score.
            CheckpointError: If none of them has its weights.
            ModelError: If the weights do not fit the model that `build` returns now.
        """
        project = self._read()
        checked_count("num_models", num_models)
        if self._loads_otherwise:
            return [self.load_model(trial) for trial in self._best(project, num_models)]
        models: list[keras.Model] = []
        damage: CheckpointError | None = None
        found = 0
        for trial in self._best(project, len(project.trials)):
            try:
                executions = trial.best_executions(project.objective, project.cv_folds or 1)
                models += [self._load(trial, project, execution) for execution in executions]
                found += 1
            except CheckpointError as error:
                damage = error
                warnings.warn(f"Trial {trial.trial_id} is left out: {error}", stacklevel=2)
            if found == num_models:
                break
        if damage is not None and not models:
            raise damage
        return models

    def load_model(self, trial: Trial) -> keras.Model:
        """Builds the model of a trial and loads the weights of its best epoch, with several executions those of the best one.

        Raises:
            CheckpointError: If the weights are damaged, or not there.
            ModelError: If they do not fit the model that `build` returns now.
        """
        project = self._read()
        known = project.trials[trial.trial_id]
        number = known.best_execution(project.objective)
        return self._load(known, project, 0 if number is None else number)

    def get_trial_dir(self, trial_id: str) -> str:
        """The directory of a trial in the project."""
        return str(execution_directory(self._place, trial_id, 0))

    def get_best_hyperparameters(self, num_trials: int = 1) -> list[HyperParameters]:
        """The configurations of the best trials, best first; each can be given to `hypermodel.build`."""
        found = []
        for trial in self._best(self._read(), checked_count("num_trials", num_trials)):
            config = configuration(self.declared_space, trial.values, None)
            config.define(trial.hyperparameters.space)
            found.append(config)
        return found

    def results_dataframe(self) -> pd.DataFrame:
        """A table with one row a trial; see `glimr_keras.analysis.results_dataframe` for its columns."""
        return analysis.results_dataframe(self._read())

    def pareto_front(self) -> pd.DataFrame:
        """The best compromises between several objectives: trials that no other beats in one without being worse in another.

        Returns:
            The rows of `results_dataframe()` that these trials have, from best to worst in the first objective, with a column
            for each objective after `score`.
        """
        return analysis.pareto_front(self._read())

    def results_summary(self, num_trials: int = 10) -> None:
        """Prints the best trials."""
        print(analysis.results_summary(self._read(), self._place, checked_count("num_trials", num_trials)))

    @property
    def _loads_otherwise(self) -> bool:
        """Whether a subclass has models of another kind."""
        return False

    def _read(self) -> Project:
        if self._mirror is not None:
            self._mirror.pull()
        return Journal(self._place).read()

    def _best(self, project: Project, count: int) -> list[Trial]:
        trials = [trial for trial in project.trials.values() if trial.is_scored]
        if not trials:
            raise ProjectError(
                f"No trial of the project in {self._place} has finished with a score. Received: {len(project.trials)} trials."
            )
        return ranked(trials, project.objective)[:count]

    def _load(self, trial: Trial, project: Project, execution: int) -> keras.Model:
        if self.hypermodel is None:
            raise ModelError("Models are built by the `HyperModel` and then loaded. Pass it to `RayTuner.open`.")
        if overrides(self.hypermodel, "run"):
            raise ModelError(f"There are no models to load: the trials of {type(self.hypermodel).__name__} are its own `run`.")
        values = self._values_of(trial, execution)
        fold = fold_of(execution, project.cv_folds)
        space = self.declared_space
        config = configuration(space, values, trial.sampling_key, fold, project.cv_folds, self.hypermodel)
        if overrides(self.hypermodel, "data"):
            self.hypermodel.data(config)  # `build` may use what `data` made, such as an adapted layer
        model = build(self.hypermodel, config, self._compiling)
        with self._compiling.scope():
            self._read_weights(model, trial, execution)
        return model

    def _values_of(self, trial: Trial, execution: int) -> dict[str, Any]:
        """The configuration that an execution's weights are of; a scheduler may have changed it since."""
        place = execution_directory(self._place, trial.trial_id, execution)
        if self._mirror is not None:
            self._mirror.fetch(place, trial.executions[execution].score)
        if _is_of_own_loop(place):
            return trial.values
        return trial.values | (checkpoints.describe(place).values or {})

    def _read_weights(self, model: keras.Model, trial: Trial, execution: int) -> None:
        place = execution_directory(self._place, trial.trial_id, execution)
        if _is_of_own_loop(place):
            checkpoints.load_weights(model, place / checkpoints.WEIGHTS)
        else:
            checkpoints.load(model, place)


def _is_of_own_loop(place: pathlib.Path) -> bool:
    """Whether a training of the user's own saved the weights, as KerasTuner has it, and nothing about them."""
    return (place / checkpoints.WEIGHTS).exists() and not (place / checkpoints.DESCRIPTION).exists()
