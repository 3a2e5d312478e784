"""`BaseTuner`: how to search with any oracle, and what came out. Runs in the driver; its hooks run
where `hooks` says.
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
    """Search the hyperparameters of a `HyperModel` with any oracle, many trials side by side on
    Ray.

    All tuners are one. Use `RayTuner`, or one of the named tuners, unless the oracle is one of
    your own; `Tuner` differs from this class in the order of its arguments. Subclass one of them to
    run trials in your own way: see `run_trial`.

    The constructor checks its arguments and starts nothing; `search` starts Ray on this machine if
    it is not running. Every trial is written down in the project directory as it happens. The same
    script run again continues its search.

    Args:
        # What is searched
        oracle: The search algorithm. Its own arguments say what is optimised, how many trials there
            are, and more.
        hypermodel: A `HyperModel`, or a function `build(config)` that returns a compiled Keras
            model. Defaults to none, which a subclass with a `run_trial` of its own may do with.
        space: A declared search space: nested dicts with `ray.tune` domains. Defaults to what
            `HyperModel.space()` returns.
        initial_points: Configurations to try first: dicts of value by name, flat or nested. What
            they leave out is drawn. Defaults to none.
        warm_start: Finished projects (directories, or tuners), also of KerasTuner, whose results
            the search learns from. They count for no budget. Defaults to `()`.
        cv_folds: Folds of a cross validation, at least 2: each configuration is trained once for
            each, side by side as there is room, and its score is the mean. Arrays given to `search`
            are split; a `HyperModel` with `data` returns the data of fold `config.fold` of
            `config.num_folds`. Defaults to no cross validation.
        score_at: At which epoch a training is scored: `"best"`, at its own best one; `"common"`,
            all trainings of a configuration at the epoch with the best mean, of those that all of
            them have; `"last"`, at its last one. Choosing an epoch for each fold, on the data that
            it is validated on, makes scores too good. Weights are those of each training's own best
            epoch. A score that your own code returns stays as it is. Defaults to `"common"` with
            `cv_folds`, and else to `"best"`, as in KerasTuner.
        executions_per_trial: How often each configuration is trained, at least 1; its score is the
            mean. Defaults to `1`.

        # How long
        max_trials_without_improvement: So many trials in a row that are not better than the best
            before them end the search; at least 1. Defaults to any number.
        time_budget_s: Seconds of wall-clock time that one call of `search` may take, above 0; then
            running trials are stopped. Defaults to no bound.
        trial_time_limit_s: Seconds of wall-clock time that one training may take, above 0. It is
            ended after the batch in which they are over, and has the score of its best epoch;
            without any epoch its trial has failed. One that hangs loses its process. Defaults to no
            bound.
        scheduler: One of `ray.tune.schedulers`, which stops trials early, such as
            `ASHAScheduler()`, or pauses them and changes their values, such as
            `PopulationBasedTraining(…)`. Defaults to none.
        stopper: A `ray.tune.Stopper`, asked after each epoch of each trial. Defaults to none.

        # Resources
        resources_per_trial: CPUs (also threads) and GPUs (fractions allowed) of one execution, and
            custom resources, by name: `{"cpu": 2, "gpu": 0.5}`. No `gpu` means none; over several,
            batches are spread, unless `build` has a strategy. Defaults to one GPU and an even part
            of the CPUs where there are GPUs, else to one CPU.
        trials_per_gpu: How many executions share a GPU, from 1 to 100, or `'auto'` to measure the
            first ones. One that lacks memory is tried again alone. Another share is another run of
            Ray Tune, to callbacks too. Defaults to one.
        max_concurrent_trials: At most so many executions at once, at least 1. Defaults to what the
            machine has room for.
        executor: `"ray"`; `"inline"` for trials in this process, one at a time, where breakpoints
            work; `"auto"` for forks of this process, and Ray for the rest of a long search or where
            there is a GPU; but inline, which a line says, where trials are seen to keep state from
            one to the next, such as `self.n += 1` or a global list that grows; or an `Executor` of
            `glimr_keras.executors`, or of your own. Defaults to `'auto'`.
        address: Address of a Ray cluster to join, as `ray.init` takes it, unless this process
            already has a Ray. Defaults to `RAY_ADDRESS`, or the Ray that runs on this machine, or a
            new one.
        max_worker_memory: Bytes of memory that a worker process may have for itself (data in shared
            memory does not count), at least 1. One with more is replaced when its trial has ended,
            and no trial is lost. On Linux. Defaults to no bound.
        reuse_graphs: Whether workers spare what Keras would do again, with the same results: a
            model that equals an earlier one trains by the graphs that were traced for that, and
            arrays are read by pipelines that do not tune themselves. Defaults to `True`.
        max_model_size: How many parameters a model may have, at least 1; a trial with more fails,
            before it trains. Defaults to no bound.
        distribution_strategy: A `tf.distribute.Strategy`, in whose scope models are built. Defaults
            to none.

        # Training
        optimizer: Optimizer in the place of the one that `build` compiled the model with. Defaults
            to the model's own.
        loss: Loss in the place of the one that `build` compiled the model with. Defaults to the
            model's own.
        metrics: Metrics in the place of those that `build` compiled the model with. Defaults to the
            model's own.
        callbacks: Keras callbacks, copied into every trial, and `ray.tune.Callback`s, which run
            here. Defaults to none.

        # Robustness
        max_failures: How often a training is continued whose process was lost: killed, out of
            memory, or with its machine. Then its trial has failed. -1 for any number. Defaults to
            `3`.
        state_interval_s: At ends of epochs, so many seconds apart at least, the state of a training
            is kept until the training ends; one that is interrupted goes on from there. 0 for each
            epoch, `None` to begin anew. Defaults to `10.0`.
        retry_failed: Whether a search runs the project's failed trials again, under their ids.
            Defaults to `False`.

        # Results
        directory: Where projects are: a path, or a URI such as `"s3://bucket/runs"` that
            `pyarrow.fs` or fsspec knows. A project at a URI is worked on as a local copy (in
            `GLIMR_KERAS_CACHE`, or else in the user's cache directory), which is sent there every
            few seconds, and at the end. Defaults to the working directory.
        project_name: Name of the project's own directory in there. Defaults to `untitled_project`.
        overwrite: Whether to start over, and remove the project's earlier trials when the first
            search starts. Defaults to `False`.
        keep_top_k: Of so many trials, the best, the weights are kept; at least 1. Defaults to all.
        keep_predictions: Whether predictions for validation samples are kept. Defaults to `False`.
        reporter: A `ray.tune.ProgressReporter`, which then shows the search instead of the live
            line. Defaults to the live line.
        tuner_id: Name of the file with the tuner's own state. Defaults to `tuner0`.
        logger: Has no meaning any more, as in KerasTuner. Defaults to none.

    Attributes:
        oracle: The object that was passed; it has the project's trials, also while a search runs.
        hypermodel: The object that was passed (a function is wrapped).
        project_dir: The project's directory; of one at a URI, its local copy.

    Raises:
        ValueError, TypeError: If an argument cannot be used; the message says what was received and
            how to mend it.

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
        """Return what is optimised. Its direction is known after the first look at the model."""
        return self.oracle.objective

    @property
    def remaining_trials(self) -> int | None:
        """Return how many trials may still be started; `None` for any number."""
        return self.oracle.remaining_trials()

    @property
    def project_dir(self) -> str:
        """Return the project's directory, which is made; of one at a URI, its local copy.

        A relative path as it was given, unless this process or this worker is in another working
        directory now.
        """
        place = self._glimr.place
        place.mkdir(parents=True, exist_ok=True)
        given = os.path.join(self.directory, self.project_name)  # noqa: PTH118  # which keeps `./`
        return (
            given
            if not self._glimr.is_sent and pathlib.Path(given).absolute() == place
            else str(place)
        )

    def reload(self) -> None:
        """Read the project, so that `oracle` has its trials. The constructor does so as well, of
        one at a URI with what this machine has of it.

        Raises:
            ProjectError: If there is none, or it is damaged.
        """
        session_of(self).recall(self._glimr.read())

    @staticmethod
    def open(
        project: str | os.PathLike[str],
        hypermodel: Any = None,
        space: Mapping[str, Any] | None = None,
    ) -> Results:
        """Open a project to read its results, also while a search is running in it. Nothing in it
        is changed, and nothing in it is executed.

        Args:
            project: The project's directory, or its URI.
            hypermodel: As for a tuner; only `get_best_models` needs it.
            space: The declared space, if it was passed to the tuner.

        Returns:
            An object with `get_best_models`, `get_best_hyperparameters`, `results_dataframe`,
            `results_summary` and `pareto_front`. `experiment_table` takes it as well.

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
        """Run trials until the project has `max_trials`; continue where an earlier search of this
        project ended.

        What is not given is not passed to a `fit` or `run_trial` of your own.

        Args:
            *fit_args: What Keras' `fit` takes, such as `x, y`. Nothing when the `HyperModel` has
                `data`.
            epochs: Epochs of each training, at least 1. Defaults to `1`; a declared space may say
                otherwise.
            batch_size: Samples of a batch. Defaults to Keras' own, 32.
            validation_data: What is validated on after each epoch, such as `(x, y)`. Defaults to
                no data.
            validation_split: Fraction of the arrays that is validated on, from 0 to below 1: their
                last samples. Defaults to `0.0`.
            sample_weight: Weights of the samples, shape (samples,). Defaults to equal weights.
            class_weight: Weight by class, a dict. Defaults to equal weights.
            shuffle: Whether arrays are shuffled before each epoch. Defaults to `True`.
            callbacks: Keras callbacks, copied into every trial. Defaults to none beside the
                tuner's.
            verbose: What the search shows: 0 nothing, 1 (and `"auto"`) one live line, 2 also a line
                for each finished trial, 3 also what Ray prints and, if this search starts Ray, what
                the workers print. Defaults to `1`, or to what the last search had.
            groups: With `cv_folds`, the group of each sample, shape (samples,), such as its
                patient. No group is both trained on and validated on. Defaults to no groups.
            stratify: With `cv_folds`, the class of each sample, shape (samples,); each fold has the
                classes in the proportions of the whole. Defaults to `'auto'`: those of the labels,
                where they are classes (strings, booleans, integers, 0 and 1, one-hot rows); of
                several labels together where each combination is frequent enough, else of the
                first. `None` to split without regard to classes.
            folds: With `cv_folds`, the fold of each sample, shape (samples,), integers from 0.
                Defaults to a random split. (Samples are bags of `Bags`, and batches of another
                `PyDataset`. Elements of a `tf.data.Dataset` are dealt out by position, number i to
                fold `i % cv_folds`. Neither may shuffle.)
            **fit_kwargs: Whatever else `fit`, or a `run_trial` of your own, takes.

        Raises:
            ValueError: If the data cannot be split into folds.
            ModelError, ObjectiveError: If the model cannot be built or does not log the objective;
                found before any trial.
            ProjectError: If the directory belongs to something else or to a different search.
            ResourcesError: If no machine has what a trial asks for.
            ShippingError: If something cannot be sent to the workers.
            SearchError: If `max_consecutive_failed_trials` failed in a row.
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
        """Build and train one configuration for an epoch, in this process, so that mistakes show
        in seconds.

        Nothing is written to the project, and the Keras session of this process is left as it is.

        Args:
            config: Value by name, flat or nested, such as one of `sample_space`; what it leaves out
                is the default. Defaults to the default configuration.
            *fit_args: As for `search`; nothing when the `HyperModel` has `data`.
            batches: Train on so many batches only, at least 1. Defaults to a whole epoch.
            groups, stratify, folds: As for `search`. With `cv_folds`, the first fold is tried.
            **fit_kwargs: As for `search`.

        Returns:
            The trained model, shapes, number of parameters, memory, seconds per epoch and logs;
            printing it shows them.

        Raises:
            ValueError: If `config` has an unknown name or a value that it cannot have, or there is
                nothing to build: the `HyperModel` has its own `run`.
            Exception: Whatever the user's code raises.

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

        It trains anew for the number of epochs at which the trial is scored, so it needs no
        validation data; with `cv_folds`, that is the epoch with the best mean over folds. What
        `search` was given as callbacks does not take part. Keras is seeded.

        Args:
            *fit_args: As for `search`, such as all of `x, y`. Without them, `HyperModel.data` gives
                the data, and `config.fold` is `None` there.
            trial_id: Whose configuration is trained, such as `"0007"`. Defaults to the best trial.
            epochs: At least 1. Defaults to the trial's `best_step + 1`.
            seeds: The number of models, each with weights of its own, at least 1. Defaults to 1.
            **fit_kwargs: As for Keras' `fit`. `verbose` defaults to 0.

        Returns:
            The trained, compiled model; with several `seeds` an ensemble, whose outputs are their
            means.

        Raises:
            ProjectError: If there is no such trial, or none with a score.
            ValueError: If an argument is out of its range, or a `run` or `run_trial` of your own
                trains: only it knows how.

        Example:
            model = tuner.refit(x, y, batch_size=64)
            model.save("final.keras")
        """
        arguments = FitArguments(fit_args, fit_kwargs)
        return final_training(self, session_of(self), arguments, trial_id, epochs, seeds)

    def search_space_summary(self, extended: bool = False) -> None:
        """Print the hyperparameters: those of the project, or before the first search those that
        one build shows.

        Args:
            extended: Has no meaning, as in KerasTuner. Defaults to `False`.
        """
        print(summaries.search_space_summary(session_of(self).known_space()))

    # What subclasses may override: in the worker

    def run_trial(self, trial: Trial, *args: Any, **kwargs: Any) -> Any:
        """Run one execution of a trial. Override it to run trials in your own way.

        One that calls this method is called for each execution of a trial, and any other once.

        Args:
            trial: Its `hyperparameters` are what `build` gets.
            *args: What `search` was given; of a cross validation, the data of the fold.
            **kwargs: Likewise. `super().run_trial(trial, *args, **kwargs)` takes them as Keras'
                `fit` does.

        Returns:
            The objective's value, a dict of metrics with the objective among them, Keras'
            `History`, or a list of those, of which the mean counts; this method returns such a
            list. `None` where `self.oracle.update_trial` was called instead.
        """
        runner = self._glimr.runner
        if runner is None:  # in a loop of the user's own
            return by_hand.run_trial(self, trial, session_of(self).loop(), args, kwargs)
        return [self._build_and_fit_model(trial, *args, **runner.arguments(args, kwargs))]

    def _build_and_fit_model(self, trial: Trial, *args: Any, **kwargs: Any) -> Any:
        """Build and train a trial's model; `kwargs` have the callbacks that report and save."""
        model, runner = self._try_build(trial.hyperparameters), self._glimr.runner
        if runner is None:
            return hypermodel_of(self).fit(trial.hyperparameters, model, *args, **kwargs)
        return runner.fit(model, *args, **kwargs)

    def _try_build(self, hp: HyperParameters) -> keras.Model:
        """Build the model of a configuration, and refuse one that is too large."""
        model = self._build_hypermodel(hp)
        runner = self._glimr.runner
        return model if runner is None else runner.sized(model)

    def save_model(self, trial_id: str, model: Any, step: int = 0) -> None:
        """Save the weights of a model that `run_trial` trained in its own way, so that
        `get_best_models` finds them.

        Override it, and `load_model`, for models of another kind.

        Args:
            step: The epoch, counted from 0.
        """
        self._glimr.save(model, step + 1, self._get_checkpoint_fname(trial_id))

    def load_model(self, trial: Trial) -> Any:
        """Load what `save_model` saved: in `run_trial`, what this training has saved so far."""
        runner = self._glimr.runner
        if runner is None:
            return super().load_model(trial)
        model = self._try_build(trial.hyperparameters)
        model_weights.load(model, runner.spec.directory)
        return model

    def get_best_models(self, num_models: int = 1) -> list[Any]:
        """Return the models of the best trials, best first; see `Results.get_best_models`.

        Where `load_model` is overridden, they are what it returns.
        """
        if not is_overridden(self, "load_model", BaseTuner):
            return super().get_best_models(num_models)
        best = self._glimr.best(self._glimr.read(), checked_count("num_models", num_models))
        return [self.load_model(trial) for trial in best]

    def get_trial_dir(self, trial_id: str) -> str:
        """Return the directory of a trial; in `run_trial`, of the execution that runs."""
        runner = self._glimr.runner
        if runner is not None and runner.spec.trial_id == trial_id:
            directory = runner.spec.directory
        else:
            directory = super().get_trial_dir(trial_id)
        pathlib.Path(directory).mkdir(parents=True, exist_ok=True)
        return directory

    # What subclasses may override: in the driver

    def _populate_initial_space(self) -> None:
        """Tell the oracle before a search what there is: what models ask for, as far as building
        some of them in this process tells. May be overridden.
        """
        if self.oracle.tune_new_entries:
            seen = session_of(self).visible_space()
            self.oracle._hyperparameters.merge(seen, overwrite=False)

    def save(self) -> None:
        """Write `oracle.json` and `tuner0.json` into the project's directory, as a search does.

        Only an oracle with a `set_state` of its own reads them.
        """
        self.oracle.save(self._glimr.place / "oracle.json")
        write_json(pathlib.Path(self._get_tuner_fname()), self.get_state())

    def _get_tuner_fname(self) -> str:
        return os.path.join(self.project_dir, f"{self.tuner_id}.json")  # noqa: PTH118  # keeps `./`

    def get_state(self) -> dict[str, Any]:
        """Return what `save` writes of the tuner itself."""
        return {}

    def set_state(self, state: dict[str, Any]) -> None:
        """Take over what `get_state` returned in an earlier session, when a project is read."""


def session_of(tuner: BaseTuner) -> SearchSession:
    """Return what searches for a tuner, as its methods and attributes are now."""
    return SearchSession(tuner, overridden(tuner, BaseTuner))


sent.register(BaseTuner, worker_copy)
