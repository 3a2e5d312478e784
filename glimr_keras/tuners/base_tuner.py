"""`BaseTuner`: search with any oracle, and read the results. Runs in the driver; the module
`hooks` says where the hooks run.
"""

from __future__ import annotations

import os
import pathlib
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import keras

from glimr_keras._utils.checks import checked_count, optional_count
from glimr_keras._utils.files import write_json
from glimr_keras._utils.overriding import is_overridden
from glimr_keras.models.data import FitArguments
from glimr_keras.models.hypermodel import HyperModel, as_hypermodel, overrides
from glimr_keras.oracles import Oracle
from glimr_keras.project import model_weights
from glimr_keras.project.remote_mirror import project_place
from glimr_keras.results import summaries
from glimr_keras.results.results import Results, open_results
from glimr_keras.space.hyperparameters import HyperParameters
from glimr_keras.training.dry_run import DryRun
from glimr_keras.transport.serialization import sent
from glimr_keras.trials.objective import Objective
from glimr_keras.trials.score_epochs import ScoreAt
from glimr_keras.trials.trial import Trial
from glimr_keras.tuners import by_hand
from glimr_keras.tuners.arguments import (
    ExecutorChoice,
    TrialsPerGpu,
    check_recognized,
    checked_oracle,
    checked_points,
    given_only,
    settable_property,
    tune,
    unless_given,
)
from glimr_keras.tuners.hooks import Hooks, hypermodel_of, overridden
from glimr_keras.tuners.one_training import final_training, try_configuration
from glimr_keras.tuners.run_trial_parts import RunTrialMethods
from glimr_keras.tuners.search import SearchSession
from glimr_keras.tuners.settings import TunerState, checked_settings, space_of
from glimr_keras.tuners.worker_copy import worker_copy


class BaseTuner(Hooks, RunTrialMethods):
    """Search hyperparameters with any oracle, with many trials in parallel on Ray.

    This is the base class of all tuners. Use `RayTuner` or one of the named tuners, unless the
    oracle is user-defined; `Tuner` differs only in the order of its arguments. To customise how
    trials run, subclass one of them and override `run_trial`.

    The constructor checks its arguments and starts nothing. `search` starts Ray on this machine if
    it needs Ray and none is running. Every trial is recorded in the project directory as it runs,
    so running the same script again continues the search.

    Args:
        # Search
        oracle: The search algorithm. Its own arguments set the objective, the number of trials and
            more.
        hypermodel: A `HyperModel`, or a function `build(config)` that returns a compiled Keras
            model. Defaults to `None`, which is for subclasses that override `run_trial`.
        space: A declared search space: nested dicts with `ray.tune` domains. Defaults to `None`:
            the return value of `HyperModel.space()`.
        initial_points: Configurations to try first: dicts of values by name, flat or nested.
            Missing values are sampled. Defaults to `None`: no initial configurations.
        warm_start: Finished projects whose results the search learns from: directories or tuners,
            including projects of KerasTuner. Their trials do not count towards any budget. Defaults
            to `()`.
        cv_folds: Number of folds for cross validation, at least 2. Each configuration is trained
            once per fold, in parallel where resources allow, and its score is the mean. Arrays
            passed to `search` are split; a `HyperModel` with `data` returns the data of fold
            `config.fold` of `config.num_folds`. Defaults to `None`: no cross validation.
        score_at: The epoch at which a training is scored. `"best"`: its own best epoch. `"common"`:
            one epoch for all trainings of a configuration, the one with the best mean among the
            epochs that all of them reached. `"last"`: its last epoch. Choosing the epoch separately
            for each fold, on the fold's validation data, makes scores too optimistic. The saved
            weights are always those of each training's own best epoch. A score that your own code
            returns is used unchanged. Defaults to `None`: `"common"` with `cv_folds`, otherwise
            `"best"`, as in KerasTuner.
        executions_per_trial: Number of times each configuration is trained, at least 1. Its score
            is the mean. Defaults to `1`.

        # Budget and stopping
        max_trials_without_improvement: Stop after this many consecutive trials without improvement,
            at least 1. Defaults to `None`: do not stop for lack of improvement.
        time_budget_s: Wall-clock time limit of one call of `search`, in seconds, above 0. When it
            is reached, running trials are stopped. Defaults to `None`: no limit.
        trial_time_limit_s: Wall-clock time limit of one training, in seconds, above 0. The training
            ends after the batch that reaches the limit and is scored at its best epoch. Without a
            completed epoch, its trial fails. If it hangs, its process is killed. Defaults to
            `None`: no limit.
        scheduler: A scheduler from `ray.tune.schedulers` that stops trials early, such as
            `ASHAScheduler()`, or pauses them and changes their hyperparameters, such as
            `PopulationBasedTraining(…)`. Defaults to `None`: no scheduler.
        stopper: A `ray.tune.Stopper`, called after each epoch of each trial. Defaults to `None`: no
            stopper.

        # Resources
        resources_per_trial: CPUs (also the number of threads), GPUs (fractions allowed) and custom
            resources of one execution, by name: `{"cpu": 2, "gpu": 0.5}`. Without `gpu`, it gets no
            GPU. Over several GPUs, batches are distributed, unless `build` uses its own strategy.
            Defaults to `None`: one GPU and an equal share of the CPUs if there are GPUs, otherwise
            one CPU.
        trials_per_gpu: Number of executions that share a GPU, from 1 to 100, or `'auto'` to
            determine it from measurements of the first ones. An execution that runs out of memory
            is retried alone. Each change of the share starts another run of Ray Tune, which
            callbacks see too. Defaults to `None`, which means one.
        max_concurrent_trials: Maximum number of executions at once, at least 1. Defaults to `None`:
            as many as the machine has room for.
        executor: Where trials run. `"ray"`: on Ray. `"inline"`: in this process, one at a time, so
            that breakpoints work. `"auto"`: in forks of this process, or on Ray if there is a GPU
            and for the rest of a long search. `"auto"` runs trials inline, and prints a line that
            says so, if their code keeps state from one to the next. Examples are `self.n += 1` and
            a growing global list. An `Executor` from `glimr_keras.executors` or a user-defined one
            also works. Defaults to `'auto'`.
        address: Address of a Ray cluster to join, as for `ray.init`; ignored if this process is
            already connected to Ray. Defaults to `None`: `RAY_ADDRESS`, or the Ray that runs on
            this machine, or a new one.
        max_worker_memory: Maximum private memory of a worker process, in bytes, at least 1; data in
            shared memory does not count. A worker above the limit is replaced after its trial has
            ended, so no trial is lost. Linux only. Defaults to `None`: no limit.
        reuse_graphs: Whether workers skip repeated work of Keras, with the same results. A model
            that equals an earlier one reuses its traced graphs, and arrays are read by input
            pipelines without autotuning. Defaults to `True`.
        max_model_size: Maximum number of parameters of a model, at least 1. A trial with a larger
            model fails before training. Defaults to `None`: no limit.
        distribution_strategy: A `tf.distribute.Strategy` in whose scope models are built. Defaults
            to `None`: no strategy.

        # Training
        optimizer: Optimizer that replaces the one `build` compiled the model with. Defaults to
            `None`: the model's own.
        loss: Loss that replaces the one `build` compiled the model with. Defaults to `None`: the
            model's own.
        metrics: Metrics that replace the ones `build` compiled the model with. Defaults to `None`:
            the model's own.
        callbacks: Keras callbacks, which are copied into every trial, and `ray.tune.Callback`s,
            which run in this process. Defaults to `None`: no callbacks.

        # Robustness
        max_failures: Number of times a training is resumed after its process was lost: killed, out
            of memory, or with its machine. After that, its trial fails. -1 means no limit. Defaults
            to `3`.
        state_interval_s: Minimum time between two saved states of a training, in seconds. States
            are saved at the end of an epoch and kept until the training ends; an interrupted
            training resumes from the last one. 0 saves one after each epoch. With `None`,
            interrupted trainings restart from scratch. Defaults to `10.0`.
        retry_failed: Whether a search runs the project's failed trials again, under their ids.
            Defaults to `False`.

        # Results
        directory: Parent directory of projects: a path, or a URI such as `"s3://bucket/runs"` that
            `pyarrow.fs` or fsspec supports. A project at a URI has a local working copy, which is
            uploaded every few seconds and at the end. It is in `GLIMR_KERAS_CACHE`, or else in the
            user's cache directory. Defaults to `None`: the working directory.
        project_name: Name of the project's own directory in `directory`. Defaults to `None`, which
            means `untitled_project`.
        overwrite: Whether to start over and remove the project's earlier trials when the first
            search starts. Defaults to `False`.
        keep_top_k: Keep the weights of this many best trials, at least 1. Defaults to `None`: keep
            the weights of all trials.
        keep_predictions: Whether to keep the predictions for validation samples. Defaults to
            `False`.
        reporter: A `ray.tune.ProgressReporter` that shows the search instead of the live line.
            Defaults to `None`: the live line.
        tuner_id: Name of the file with the tuner's own state. Defaults to `None`, which means
            `tuner0`.
        logger: Ignored, as in current KerasTuner. Defaults to `None`.

    Attributes:
        oracle: The oracle that was passed. It has the project's trials, also during a search.
        hypermodel: The hypermodel that was passed; a function is wrapped in one.
        project_dir: The project's directory; for a project at a URI, its local copy.

    Raises:
        ValueError, TypeError: If an argument is invalid. The message says what was received and
            how to fix it.

    Example:
        class Evolution(Oracle):
            def populate_space(self, trial_id):
                …

        oracle = Evolution("val_accuracy", max_trials=20)
        tuner = BaseTuner(oracle, Digits(), directory="runs", project_name="digits")
        tuner.search(epochs=10)
        model = tuner.get_best_models()[0]
    """

    _glimr: TunerState

    def __init__(
        self,
        oracle: Oracle,
        hypermodel: Any = None,
        directory: str | os.PathLike[str] | None = None,
        project_name: str | None = None,
        overwrite: bool = False,
        *,
        space: Mapping[str, Any] | None = None,
        initial_points: Sequence[Mapping[str, Any]] | None = None,
        warm_start: Sequence[str | os.PathLike[str] | Results] = (),
        cv_folds: int | None = None,
        score_at: ScoreAt | None = None,
        executions_per_trial: int = 1,
        max_trials_without_improvement: int | None = None,
        time_budget_s: float | None = None,
        trial_time_limit_s: float | None = None,
        scheduler: tune.schedulers.TrialScheduler | None = None,
        stopper: tune.Stopper | None = None,
        resources_per_trial: Mapping[str, float] | None = None,
        trials_per_gpu: TrialsPerGpu | None = None,
        max_concurrent_trials: int | None = None,
        executor: ExecutorChoice = "auto",
        address: str | None = None,
        max_worker_memory: int | None = None,
        reuse_graphs: bool = True,
        max_model_size: int | None = None,
        distribution_strategy: Any = None,
        optimizer: Any = None,
        loss: Any = None,
        metrics: Any = None,
        callbacks: Sequence[keras.callbacks.Callback | tune.Callback] | None = None,
        max_failures: int = 3,
        state_interval_s: float | None = 10.0,
        retry_failed: bool = False,
        keep_top_k: int | None = None,
        keep_predictions: bool = False,
        reporter: tune.ProgressReporter | None = None,
        tuner_id: str | None = None,
        logger: Any = None,
        **unrecognized: NoReturn,
    ) -> None:
        given = locals()
        check_recognized(unrecognized, type(self))
        checked_oracle(oracle)
        is_needed = not overridden(self, BaseTuner).has("loop")
        hypermodel = as_hypermodel(hypermodel, is_needed)
        declared = space_of(hypermodel, oracle, space)
        if logger is not None:
            warnings.warn(
                "`logger` has no meaning any more; give callbacks instead.",
                DeprecationWarning,
                stacklevel=2,
            )
        if initial_points is not None:
            oracle.initial_points = tuple(map(declared.point_of, checked_points(initial_points)))
        settings = checked_settings(oracle, given)
        self.oracle, self.seed = oracle, oracle.seed
        self.directory = directory if directory is not None else "."
        self.project_name = project_name if project_name is not None else "untitled_project"
        self.tuner_id = tuner_id if tuner_id is not None else "tuner0"
        self.executions_per_trial = checked_count("executions_per_trial", executions_per_trial)
        self.max_model_size = optional_count("max_model_size", max_model_size)
        self.optimizer, self.loss, self.metrics = optimizer, loss, metrics
        self.distribution_strategy, self.logger = distribution_strategy, logger
        place, mirror = project_place(os.fspath(self.directory), self.project_name)
        state = TunerState(declared, place, mirror, settings, overwrite)
        builds_nothing = type(hypermodel) is HyperModel and not overrides(hypermodel, "build")
        super().__init__(None if builds_nothing else hypermodel, state)
        oracle.discover_by(self._populate_initial_space)
        oracle.recorded_by(by_hand.OwnLoopRecorder(self))
        if not overwrite:
            session_of(self).recall_what_is_there()

    @settable_property
    def objective(self) -> Objective:
        """Return the objective. Its direction may be unknown until the model has been inspected."""
        return self.oracle.objective

    @property
    def remaining_trials(self) -> int | None:
        """Return how many more trials may start; `None` means no limit."""
        return self.oracle.remaining_trials()

    @property
    def project_dir(self) -> str:
        """Create and return the project's directory; for a project at a URI, its local copy.

        A relative path is returned unchanged, unless this process or worker is now in another
        working directory.
        """
        place = self._glimr.place
        place.mkdir(parents=True, exist_ok=True)
        given = os.path.join(self.directory, self.project_name)  # noqa: PTH118  # keeps `./`
        return (
            given
            if not self._glimr.is_sent and pathlib.Path(given).absolute() == place
            else str(place)
        )

    def reload(self) -> None:
        """Read the project into `oracle`.

        The constructor does this, too; for a project at a URI it reads the local copy.

        Raises:
            ProjectError: If there is no project, or it is damaged.
        """
        session_of(self).recall(self._glimr.read())

    @staticmethod
    def open(
        project: str | os.PathLike[str],
        hypermodel: Any = None,
        space: Mapping[str, Any] | None = None,
    ) -> Results:
        """Open a project to read its results, also while a search is running in it.

        Nothing in the project is changed or executed.

        Args:
            project: The project's directory or URI.
            hypermodel: As for a tuner. Only `get_best_models` needs it. Defaults to `None`.
            space: The declared space, if one was passed to the tuner. Defaults to `None`.

        Returns:
            A `Results` object with `get_best_models`, `get_best_hyperparameters`,
            `results_dataframe`, `results_summary` and `pareto_front`. `experiment_table` accepts
            it as well.

        Raises:
            ProjectError: If there is no project.
        """
        return open_results(project, hypermodel, space)

    def search(
        self,
        *fit_args: Any,
        epochs: int = unless_given(1),
        batch_size: int | None = unless_given(None),
        validation_data: Any = unless_given(None),
        validation_split: float = unless_given(0.0),
        sample_weight: Any = unless_given(None),
        class_weight: Mapping[int, float] | None = unless_given(None),
        shuffle: bool = unless_given(True),
        callbacks: Sequence[keras.callbacks.Callback] | None = unless_given(None),
        verbose: int | str = unless_given(1),
        groups: Any = None,
        stratify: Any = "auto",
        folds: Any = None,
        **fit_kwargs: Any,
    ) -> None:
        """Run trials until the project has `max_trials`, continuing any earlier search.

        Arguments that are not given are not passed to a user-defined `fit` or `run_trial`.

        Args:
            *fit_args: Positional arguments of Keras' `fit`, such as `x, y`. Pass none when the
                `HyperModel` has `data`.
            epochs: Epochs of each training, at least 1. Defaults to `1`, unless a declared space
                says otherwise.
            batch_size: Samples per batch. Defaults to `None`, which means Keras' default of 32.
            validation_data: Data to validate on after each epoch, such as `(x, y)`. Defaults to
                `None`.
            validation_split: Fraction of the arrays to validate on, in [0, 1); their last samples
                are used. Defaults to `0.0`.
            sample_weight: Sample weights, shape (samples,). Defaults to `None`: equal weights.
            class_weight: A dict of weights by class. Defaults to `None`: equal weights.
            shuffle: Whether arrays are shuffled before each epoch. Defaults to `True`.
            callbacks: Keras callbacks, copied into every trial, in addition to the tuner's.
                Defaults to `None`.
            verbose: Amount of output. 0: none; 1 or `"auto"`: one live line; 2: also a line per
                finished trial; 3: also the output of Ray and, if this search starts Ray, of the
                workers. Defaults to `1`, or to the value of the last search.
            groups: With `cv_folds`, the group of each sample, such as its patient; shape
                (samples,). No group is in both training and validation data. Defaults to `None`.
            stratify: With `cv_folds`, the class of each sample, shape (samples,). Each fold keeps
                the class proportions. Defaults to `'auto'`: use the labels if they are classes
                (strings, booleans, integers, 0 and 1, one-hot rows). Several labels are combined if
                each combination is frequent enough; otherwise the first is used. `None` ignores
                classes.
            folds: With `cv_folds`, the fold of each sample, shape (samples,), integers from 0.
                Defaults to `None`: a random split. In `Bags` a sample is a bag; in another
                `PyDataset` it is a batch. Element i of a `tf.data.Dataset` goes to fold
                `i % cv_folds`. Neither may shuffle.
            **fit_kwargs: Other arguments of `fit`, or of a user-defined `run_trial`.

        Raises:
            ValueError: If the data cannot be split into folds.
            ModelError, ObjectiveError: Before any trial, if the model cannot be built or does not
                log the objective.
            ProjectError: If the directory belongs to something else or to a different search.
            ResourcesError: If no machine has the resources that a trial requests.
            ShippingError: If something cannot be sent to the workers.
            SearchError: After `max_consecutive_failed_trials` failed trials in a row.
            FatalError: If the user's code raised it.
        """
        given = locals()
        how = {"groups": groups, "stratify": stratify, "folds": folds}
        fit_kwargs |= given_only(BaseTuner.search, given)
        session_of(self).start(fit_args, fit_kwargs, how)

    def try_configuration(
        self,
        config: Mapping[str, Any] | HyperParameters | None = None,
        *fit_args: Any,
        batches: int | None = None,
        groups: Any = None,
        stratify: Any = "auto",
        folds: Any = None,
        **fit_kwargs: Any,
    ) -> DryRun:
        """Build one configuration and train it for an epoch in this process, to find mistakes fast.

        Nothing is written to the project, and the Keras session of this process is left unchanged.

        Args:
            config: Values by name, flat or nested, for example from `sample_space`. Missing values
                take their defaults. Defaults to `None`: the default configuration.
            *fit_args: As for `search`. Pass none when the `HyperModel` has `data`.
            batches: Train on only this many batches, at least 1. Defaults to `None`: a whole epoch.
            groups, stratify, folds: As for `search`. With `cv_folds`, the first fold is used.
            **fit_kwargs: As for `search`.

        Returns:
            The trained model, shapes, number of parameters, memory, seconds per epoch and logs.
            Print the object to see them.

        Raises:
            ValueError: If `config` has an unknown name or an invalid value, or if the `HyperModel`
                overrides `run`, so that there is nothing to build.
            Exception: Any exception of the user's code.

        Example:
            print(tuner.try_configuration({"units": 64}, x, y, batches=5))
        """
        how = {"groups": groups, "stratify": stratify, "folds": folds}
        arguments = FitArguments(fit_args, fit_kwargs)
        return try_configuration(self, session_of(self), config or {}, arguments, how, batches)

    def refit(
        self,
        *fit_args: Any,
        trial_id: str | None = None,
        epochs: int | None = None,
        seeds: int = 1,
        **fit_kwargs: Any,
    ) -> keras.Model:
        """Train the best configuration on all data, in this process.

        The model trains from scratch up to the epoch at which the trial was scored, so no
        validation data is needed. With `cv_folds`, that is the epoch with the best mean over folds.
        Callbacks passed to `search` are not used. Keras is seeded.

        Args:
            *fit_args: As for `search`, such as all of `x, y`. Without them, `HyperModel.data`
                provides the data, with `config.fold` set to `None`.
            trial_id: Trial whose configuration is trained, such as `"0007"`. Defaults to `None`,
                which means the best trial.
            epochs: Number of epochs, at least 1. Defaults to `None`: the trial's `best_step + 1`.
            seeds: Number of models, each with its own initial weights, at least 1. Defaults to `1`.
            **fit_kwargs: As for Keras' `fit`. `verbose` defaults to 0.

        Returns:
            The trained, compiled model. With several `seeds`, an ensemble that averages the
            models' outputs.

        Raises:
            ProjectError: If there is no such trial, or no trial with a score.
            ValueError: If an argument is out of range, or if a user-defined `run` or `run_trial`
                is the whole training.

        Example:
            model = tuner.refit(x, y, batch_size=64)
            model.save("final.keras")
        """
        arguments = FitArguments(fit_args, fit_kwargs)
        return final_training(self, session_of(self), arguments, trial_id, epochs, seeds)

    def search_space_summary(self, extended: bool = False) -> None:
        """Print the project's hyperparameters; before the first search, those that one build finds.

        Args:
            extended: Ignored, as in KerasTuner. Defaults to `False`.
        """
        print(summaries.search_space_summary(session_of(self).known_space()))

    # What subclasses may override: in the worker

    def run_trial(self, trial: Trial, *args: Any, **kwargs: Any) -> Any:
        """Run one execution of a trial. Override it to customise how trials run.

        An override that calls this method runs once per execution of a trial; any other runs once
        per trial.

        Args:
            trial: The trial. Its `hyperparameters` are passed to `build`.
            *args: Positional arguments of `search`; with cross validation, the data of the fold.
            **kwargs: Keyword arguments of `search`, treated in the same way.
                `super().run_trial(trial, *args, **kwargs)` accepts them as Keras' `fit` does.

        Returns:
            The objective's value, a dict of metrics that includes the objective, Keras' `History`,
            or a list of these, whose mean counts. This method returns a list. Return `None` if
            `self.oracle.update_trial` was called instead.
        """
        runner = self._glimr.runner
        if runner is None:  # in a user-defined loop
            return by_hand.run_trial(self, trial, session_of(self).loop(), args, kwargs)
        return [self._build_and_fit_model(trial, *args, **runner.arguments(args, kwargs))]

    def _build_and_fit_model(self, trial: Trial, *args: Any, **kwargs: Any) -> Any:
        """Build and train a trial's model; `kwargs` include the callbacks that report and save."""
        model, runner = self._try_build(trial.hyperparameters), self._glimr.runner
        if runner is None:
            return hypermodel_of(self).fit(trial.hyperparameters, model, *args, **kwargs)
        return runner.fit(model, *args, **kwargs)

    def _try_build(self, hp: HyperParameters) -> keras.Model:
        """Build the model of a configuration, and raise an error if it is too large."""
        model = self._build_hypermodel(hp)
        runner = self._glimr.runner
        return model if runner is None else runner.sized(model)

    def save_model(self, trial_id: str, model: Any, step: int = 0) -> None:
        """Save the weights of a model from a user-defined `run_trial`, for `get_best_models`.

        For other kinds of model, override this method and `load_model`.

        Args:
            step: The epoch, counted from 0. Defaults to `0`.
        """
        self._glimr.save(model, step + 1, self._get_checkpoint_fname(trial_id))

    def load_model(self, trial: Trial) -> Any:
        """Load the model that `save_model` saved; in `run_trial`, that of the current training."""
        runner = self._glimr.runner
        if runner is None:
            return super().load_model(trial)
        model = self._try_build(trial.hyperparameters)
        model_weights.load(model, runner.spec.directory)
        return model

    def get_best_models(self, num_models: int = 1) -> list[Any]:
        """Return the models of the best trials, best first; see `Results.get_best_models`.

        If `load_model` is overridden, they are its return values.
        """
        if not is_overridden(self, "load_model", BaseTuner):
            return super().get_best_models(num_models)
        best = self._glimr.best(self._glimr.read(), checked_count("num_models", num_models))
        return [self.load_model(trial) for trial in best]

    def get_trial_dir(self, trial_id: str) -> str:
        """Return the directory of a trial; in `run_trial`, of the current execution."""
        runner = self._glimr.runner
        if runner is not None and runner.spec.trial_id == trial_id:
            directory = runner.spec.directory
        else:
            directory = super().get_trial_dir(trial_id)
        pathlib.Path(directory).mkdir(parents=True, exist_ok=True)
        return directory

    # What subclasses may override: in the driver

    def _populate_initial_space(self) -> None:
        """Tell the oracle before a search which hyperparameters building some models finds.

        May be overridden.
        """
        if self.oracle.tune_new_entries:
            seen = session_of(self).visible_space()
            self.oracle._hyperparameters.merge(seen, overwrite=False)

    def save(self) -> None:
        """Write `oracle.json` and `tuner0.json` to the project's directory, as a search does.

        Only an oracle that overrides `set_state` reads them.
        """
        self.oracle.save(self._glimr.place / "oracle.json")
        write_json(pathlib.Path(self._get_tuner_fname()), self.get_state())

    def _get_tuner_fname(self) -> str:
        return os.path.join(self.project_dir, f"{self.tuner_id}.json")  # noqa: PTH118  # keeps `./`

    def get_state(self) -> dict[str, Any]:
        """Return the tuner's own state, which `save` writes."""
        return {}

    def set_state(self, state: dict[str, Any]) -> None:
        """Restore what `get_state` returned in an earlier session, when a project is read."""


def session_of(tuner: BaseTuner) -> SearchSession:
    """Return a search session for a tuner with its current methods and attributes."""
    return SearchSession(tuner, overridden(tuner, BaseTuner))


sent.register(BaseTuner, worker_copy)
