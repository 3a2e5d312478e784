"""The results of a project: its best configurations, models and tables. Runs in the driver."""

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
    """The results of a project. The journal is read on every call, so a search may still be
    running.

    Tuners inherit from this class, and users subclass tuners. To avoid name clashes, all internal
    state is in the single attribute `_glimr`.

    Args:
        hypermodel: The hypermodel that built the trials' models; `None` if no models will be
            loaded.
        reader: The reader of the project.
    """

    def __init__(self, hypermodel: HyperModel | None, reader: ProjectReader) -> None:
        self.hypermodel, self._glimr = hypermodel, reader

    @property
    def project_dir(self) -> str:
        """Return the project's directory; for a project at a URI, its local copy."""
        return str(self._glimr.place)

    def get_best_models(self, num_models: int = 1) -> list[keras.Model]:
        """Build the models of the best trials and load the weights of their best epochs.

        Each model is compiled. Evaluating it on the validation data gives the score of its trial
        (with several executions, the score of the best one).

        If `score_at` scores trials at another epoch, the weights are still from the best epoch of
        each training run. The column `weights_epoch` of `results_dataframe()` gives that epoch. As
        in a trial, `data` runs before `build`. A trial with damaged weights is skipped with a
        warning.

        Args:
            num_models: The number of trials to load, at least 1. Fewer are loaded if fewer have a
                score. Defaults to `1`.

        Returns:
            The models from best to worst. With `cv_folds`, each trial has one model per fold, in
            the order of the folds; `glimr_keras.ensemble` combines them into one.

        Raises:
            ProjectError: If no trial has finished with a score.
            CheckpointError: If no trial has weights to load.
            ModelError: If the weights do not fit the model that `build` now returns.
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
        """Build the model of a trial and load the weights of its best epoch.

        With several executions, the weights are from the best one. As in `get_best_models`, they
        are from the best epoch of the training run, regardless of `score_at`.

        Args:
            trial: The trial.

        Returns:
            The compiled model.

        Raises:
            CheckpointError: If the weights are damaged or missing.
            ModelError: If they do not fit the model that `build` now returns.
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
        """Build and compile the model of a configuration."""
        return build(as_hypermodel(self.hypermodel, is_needed=False), hp, CompileOverrides.of(self))

    def get_trial_dir(self, trial_id: str) -> str:
        """Return the directory of a trial in the project."""
        return os.path.join(self.project_dir, execution_directory(pathlib.Path(), trial_id, 0))  # noqa: PTH118  # keeps `./`

    def get_best_hyperparameters(self, num_trials: int = 1) -> list[HyperParameters]:
        """Return the configurations of the best trials, best first.

        Each can be passed to `hypermodel.build`.

        Args:
            num_trials: The number of trials, at least 1. Defaults to `1`.

        Raises:
            ProjectError: If no trial has finished with a score.
        """
        found = []
        for trial in self._glimr.best(self._glimr.read(), checked_count("num_trials", num_trials)):
            config = configuration(self._glimr.space, trial.values, None)
            config.define(trial.hyperparameters.space)
            found.append(config)
        return found

    def results_dataframe(self) -> pd.DataFrame:
        """Return a table with one row per trial.

        For its columns, see `results.tables.results_dataframe`.
        """
        return tables.results_dataframe(self._glimr.read(), self._glimr.name)

    def pareto_front(self) -> pd.DataFrame:
        """Return the trials on the Pareto front of several objectives.

        No other trial is better than one of these in one objective without being worse in another.

        Returns:
            The rows of `results_dataframe()` for these trials, from best to worst in the first
            objective. The columns after `score` hold the objectives, one column each.
        """
        return tables.pareto_front(self._glimr.read(), self._glimr.name)

    def to_study(
        self,
        storage: str | optuna.storages.BaseStorage | None = None,
        study_name: str | None = None,
    ) -> optuna.Study:
        """Return the project as an Optuna study, for Optuna's figures, dashboard and other tools.

        Each trial has its hyperparameters with their distributions, its objectives, and its start
        and end times. With a single objective, it also has the objective by epoch (the mean over
        executions). A trial that was stopped early is pruned.

        The user attributes of a trial are, where they exist:

        - `trial_id` and `best_epoch`
        - `weights_epoch`: the epoch of the checkpoint, if it is another one
        - `duration`: in seconds
        - `worker`
        - `checkpoint`: a directory
        - `failure`
        - the scores of its `folds` and `executions`
        - its bracket and round, for Hyperband

        Calling this again with the same storage adds only what is new, even while a search runs.
        Each trial is added once, if only one process at a time does this. If a trial was added
        before it ended, its end time in Optuna is the time of the update; its attribute `ended` has
        the true time. A failed trial that is run again becomes a new trial. Trials that have not
        started are not added.

        Args:
            storage: The storage of the study: a URL such as `"sqlite:///study.db"`, or an Optuna
                storage. Defaults to `None`, which means in memory.
            study_name: The name of the study. Defaults to `None`, which means the project's name.

        Returns:
            The study.

        Raises:
            ProjectError: If the storage has a study of this name that belongs to something else.

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
        """Estimate the score of the best configuration on new data.

        The score of the best trial is optimistic: the same samples chose its epoch and its
        configuration. This method uses bootstrap bias-corrected cross validation (Tsamardinos,
        Greasidou and Borboudakis 2018, doi:10.1007/s10994-018-5714-4). It draws samples with
        replacement, within folds and in whole groups. The drawn samples choose the epoch and the
        configuration again; the others score them. The search must have run with
        `keep_predictions=True`; no model is trained.

        Args:
            metric: The function `metric(labels, predictions)` that computes the objective. It
                receives arrays, or dicts or tuples of arrays, in the structure of the model's
                outputs. It is called for each resample, epoch and training run. Where it raises a
                `ValueError` or an `ArithmeticError`, it is undefined. Defaults to `None`, which
                means the metric or loss that the model is compiled with.
            resamples: The number of bootstrap resamples, at least 1. Defaults to `500`.
            confidence: The confidence level of the interval, between 0 and 1. The interval tends to
                be too wide rather than too narrow. Defaults to `0.95`.
            seed: The seed of the resampling; the same seed draws the same samples. Defaults to `0`.

        Returns:
            The estimate with its interval. Printing it shows both next to the reported score.

        Raises:
            ProjectError: If predictions of a trial with a score were not kept, trials were
                validated on different samples, or the samples have no labels.
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
        self._glimr.best(project, 1)  # raises if no trial has a score
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
        """Return the predictions of a trial's models for their validation samples.

        Each model's predictions are from the epoch at which it is scored. The search must have run
        with `keep_predictions=True`.

        Args:
            trial_id: The id of the trial, such as `"0007"`. Defaults to `None`, which means the
                best trial.

        Returns:
            Predictions, labels and folds; with `cv_folds`, for all samples in their original order.

        Raises:
            ProjectError: If there is no such trial, or its predictions were not kept.
        """
        trial, project = self._glimr.trial(trial_id), self._glimr.read()
        return out_of_fold(kept_trial(project, self._glimr.predictions, trial))

    def results_summary(self, num_trials: int = 10) -> None:
        """Print the best trials: first a table, then each trial as KerasTuner prints it.

        Args:
            num_trials: The number of trials to print, at least 1. Defaults to `10`.
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
    Journal(directory).read()  # raises if the project cannot be read
    return Results(model, ProjectReader(DeclaredSpace(space), directory, mirror))
