"""What came out of a search: the best configurations, models and tables of a project. Runs in the
driver.
"""

from __future__ import annotations

import os
import pathlib
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import keras
import pandas as pd

from glimr_keras._utils.checks import checked_count
from glimr_keras.errors import CheckpointError, ProjectError
from glimr_keras.evaluation.compiled_metric import CompiledMetric
from glimr_keras.evaluation.estimate import Estimate, check_arguments, estimate, scorer_of
from glimr_keras.evaluation.kept_trials import OutOfFold, kept_trial, kept_trials, out_of_fold
from glimr_keras.evaluation.scorers import Metric
from glimr_keras.models.build import build
from glimr_keras.models.compile_overrides import CompileOverrides
from glimr_keras.models.configuration import configuration
from glimr_keras.models.hypermodel import HyperModel, as_hypermodel, declared_space
from glimr_keras.project import keras_tuner_files
from glimr_keras.project.journal import Journal
from glimr_keras.project.remote_mirror import place_to_read
from glimr_keras.results import html, overview, summaries, tables
from glimr_keras.results.reader import ProjectReader
from glimr_keras.results.study import to_study
from glimr_keras.space.declared_space import DeclaredSpace
from glimr_keras.space.hyperparameters import HyperParameters
from glimr_keras.trials.layout import execution_directory
from glimr_keras.trials.trial import Trial

if TYPE_CHECKING:
    import optuna


class Results:
    """The results of a project, read from its journal each time; a running search may be writing to
    it.

    Tuners are results too, and users subclass tuners: so nothing here has a name that a user might
    choose, but the one attribute that has all else.

    Args:
        hypermodel: What the project's trials built; `None` if no models are to be loaded.
        reader: Reads the project.
    """

    def __init__(self, hypermodel: HyperModel | None, reader: ProjectReader) -> None:
        self.hypermodel, self._glimr = hypermodel, reader

    @property
    def project_dir(self) -> str:
        """The project's directory; of one at a URI, its local copy."""
        return str(self._glimr.place)

    def get_best_models(self, num_models: int = 1) -> list[keras.Model]:
        """Builds the models of the best trials and loads the weights of their best epoch.

        Each is compiled, and evaluates on the validation data to the score of its trial (with
        several executions, of the best one). Where `score_at` has trials scored at another epoch,
        weights are still those of each training's own best epoch; `weights_epoch` in
        `results_dataframe()` says which that is. As in a trial, `data` runs before `build`. A trial
        whose weights are damaged is left out, with a warning.

        Args:
            num_models: Of how many trials; fewer if fewer have a score.

        Returns:
            Models from best to worst. With `cv_folds`, there are so many of each trial, one for
            each fold, in the order of the folds; `glimr_keras.ensemble` makes one model of them.

        Raises:
            ProjectError: If there is no finished trial with a score.
            CheckpointError: If none of them has its weights.
            ModelError: If the weights do not fit the model that `build` returns now.
        """
        project = self._glimr.read()
        checked_count("num_models", num_models)
        compile_overrides = CompileOverrides.of(self)
        models: list[keras.Model] = []
        left_out: dict[str, CheckpointError] = {}
        found = 0
        for trial in self._glimr.best(project, len(project.trials)):
            try:
                executions = trial.best_executions(project.objective, project.cv_folds or 1)
                models += [
                    self._glimr.load(
                        self.hypermodel,
                        self._try_build,
                        compile_overrides,
                        trial,
                        project,
                        execution,
                    )
                    for execution in executions
                ]
                found += 1
            except CheckpointError as error:
                left_out[trial.trial_id] = error
            if found == num_models:
                break
        if left_out and not models:
            raise self._glimr.no_weights(left_out)
        for trial_id, reason in left_out.items():
            warnings.warn(f"Trial {trial_id} is left out: {reason}", stacklevel=2)
        return models

    def load_model(self, trial: Trial) -> keras.Model:
        """Builds the model of a trial and loads the weights of its best epoch, with several
        executions those of the best one. As in `get_best_models`, it is the training's own best
        epoch, whatever `score_at` is.

        Raises:
            CheckpointError: If the weights are damaged, or not there.
            ModelError: If they do not fit the model that `build` returns now.
        """
        project = self._glimr.read()
        known = project.trials[trial.trial_id]
        number = known.best_execution(project.objective)
        return self._glimr.load(
            self.hypermodel,
            self._try_build,
            CompileOverrides.of(self),
            known,
            project,
            0 if number is None else number,
        )

    def _try_build(self, hp: HyperParameters) -> keras.Model:
        return self._build_hypermodel(hp)

    def _build_hypermodel(self, hp: HyperParameters) -> keras.Model:
        """Builds and compiles the model of a configuration."""
        return build(as_hypermodel(self.hypermodel, is_needed=False), hp, CompileOverrides.of(self))

    def get_trial_dir(self, trial_id: str) -> str:
        """The directory of a trial in the project."""
        return os.path.join(self.project_dir, execution_directory(pathlib.Path(), trial_id, 0))  # noqa: PTH118  # keeps `./`

    def get_best_hyperparameters(self, num_trials: int = 1) -> list[HyperParameters]:
        """The configurations of the best trials, best first; each can be given to
        `hypermodel.build`.
        """
        found = []
        for trial in self._glimr.best(self._glimr.read(), checked_count("num_trials", num_trials)):
            config = configuration(self._glimr.space, trial.values, None)
            config.define(trial.hyperparameters.space)
            found.append(config)
        return found

    def results_dataframe(self) -> pd.DataFrame:
        """A table with one row a trial; see `results.tables.results_dataframe` for its
        columns.
        """
        return tables.results_dataframe(self._glimr.read(), self._glimr.name)

    def pareto_front(self) -> pd.DataFrame:
        """The best compromises between several objectives: trials that no other beats in one
        without being worse in another.

        Returns:
            The rows of `results_dataframe()` that these trials have, from best to worst in the
            first objective, with a column for each objective after `score`.
        """
        return tables.pareto_front(self._glimr.read(), self._glimr.name)

    def to_study(
        self,
        storage: str | optuna.storages.BaseStorage | None = None,
        study_name: str | None = None,
    ) -> optuna.Study:
        """Return the project as a study of Optuna, for its figures, dashboard and other tools.

        A trial has its hyperparameters with their distributions, its objectives, the objective by
        epoch (the mean over executions; of one objective only), and when it began and ended. One
        that was stopped early is pruned. As user attributes it has its `trial_id`, `best_epoch`,
        `weights_epoch` (that of the checkpoint, where it is another), `duration` (seconds),
        `worker`, `checkpoint` (a directory), `failure`, and the scores of `folds` and `executions`,
        as far as there are such; of Hyperband, its bracket and round.

        Called again with the same storage, also while a search runs, it adds what is new: each
        trial is there once, if one process at a time does so. One that was there before it ended
        has ended when the study was brought up to date, and `ended` says when it did. A failed
        trial that is run again is another one. One that has not begun is not there yet.

        Args:
            storage: Where the study is kept: a URL such as `"sqlite:///study.db"`, or a storage of
                Optuna. Defaults to memory.
            study_name: Defaults to the project's name.

        Raises:
            ProjectError: If the storage has a study of this name that is of something else.

        Example:
            study = tuner.to_study("sqlite:///study.db")
            study.best_params
        """
        reader = self._glimr
        return to_study(reader.read(), storage, study_name or reader.name, reader.place)

    def estimate(
        self,
        metric: Metric | None = None,
        resamples: int = 500,
        confidence: float = 0.95,
        seed: int = 0,
    ) -> Estimate:
        """Estimate what the best configuration scores on new data.

        The score of the best trial is too good: its epoch and its configuration were chosen by the
        same samples. By bootstrap bias-corrected cross validation (Tsamardinos, Greasidou and
        Borboudakis 2018, doi:10.1007/s10994-018-5714-4), both are chosen again by samples that are
        drawn with replacement, within folds and by whole groups, and scored on those left out. It
        needs a search with `keep_predictions=True`, and trains nothing.

        Args:
            metric: `metric(labels, predictions)` computes the objective of arrays, or of dicts or
                tuples of them, in the structure of the model's outputs. It is called for each
                resample, epoch and training; where it raises a `ValueError` or an
                `ArithmeticError`, it is not defined. Defaults to the metric or loss that the model
                is compiled with.
            resamples: How often samples are drawn, at least 1. Defaults to 500.
            confidence: Of the interval, between 0 and 1. It is rather too wide than too narrow.
                Defaults to 0.95.
            seed: Draws the same samples again. Defaults to 0.

        Returns:
            The estimate with its interval; printing it shows them beside the reported score.

        Raises:
            ProjectError: If predictions of a trial with a score were not kept, trials were
                validated on different samples, or these have no labels.
            ObjectiveError: If the objective is not among the model's metrics.
            ValueError: If an argument is out of its range.

        Example:
            tuner = RandomSearch(
                build, "val_accuracy", max_trials=20, cv_folds=5, keep_predictions=True
            )
            tuner.search(x, y, epochs=30)
            print(tuner.estimate())
        """
        check_arguments(resamples, confidence, seed)
        project = self._glimr.read()
        self._glimr.best(project, 1)  # if there is one
        trials = kept_trials(project, self._glimr.predictions)
        measure: Metric | CompiledMetric | None = metric
        if measure is None:
            best = project.trials[trials[0].trial_id]
            model, config = self._glimr.built(
                self.hypermodel, self._try_build, best, project, 0, best.values
            )
            measure = CompiledMetric(model, project.objective, self.hypermodel, config)
        scorer, labelled = scorer_of(trials[0], measure)
        rule, goal = project.score_at, project.objective
        return estimate(trials, goal, rule, scorer, labelled, resamples, confidence, seed)

    def out_of_fold_predictions(self, trial_id: str | None = None) -> OutOfFold:
        """Return what the models of a trial predicted for the samples that they were validated on,
        each at the epoch at which it is scored.

        It needs a search with `keep_predictions=True`.

        Args:
            trial_id: Such as `"0007"`. Defaults to the best trial.

        Returns:
            Predictions, labels and folds; with `cv_folds`, of all samples in their order.

        Raises:
            ProjectError: If there is no such trial, or its predictions were not kept.
        """
        trial, project = self._glimr.trial(trial_id), self._glimr.read()
        return out_of_fold(kept_trial(project, self._glimr.predictions, trial))

    def results_summary(self, num_trials: int = 10) -> None:
        """Prints the best trials: a table, and then each of them as KerasTuner prints it.

        Args:
            num_trials: Of how many trials, at least 1. Defaults to `10`.
        """
        project = self._glimr.read()
        print(
            summaries.results_summary(
                project, self.project_dir, checked_count("num_trials", num_trials)
            )
        )

    def __str__(self) -> str:
        return summaries.overview_text(overview.overview_of(self))

    def __repr__(self) -> str:
        return overview.in_short(self)

    def _repr_html_(self) -> str:
        return html.overview_html(overview.overview_of(self))


def open_results(
    project: str | os.PathLike[str],
    hypermodel: Any = None,
    space: Mapping[str, Any] | None = None,
) -> Results:
    """Open a project to read its results; see `BaseTuner.open`."""
    directory, mirror = place_to_read(project)
    if mirror is None and keras_tuner_files.exists(directory):
        raise ProjectError(
            f"The project in {directory} is KerasTuner's. Open it by `open_keras_tuner_project`."
        )
    model = None if hypermodel is None else as_hypermodel(hypermodel)
    if space is None and model is not None:
        space = declared_space(model)
    Journal(directory).read()  # whether that is possible
    return Results(model, ProjectReader(DeclaredSpace(space), directory, mirror))
