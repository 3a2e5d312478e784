"""`BaseTuner`: how to search with any oracle, and what came out. Runs in the driver."""

from __future__ import annotations

import contextlib
import os
import pathlib
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import keras
from ray import tune
from ray.tune.schedulers import TrialScheduler

from glimr_keras._utils.checks import checked_count, checked_kind, checked_seconds, optional_count
from glimr_keras.errors import FatalValueError, ProjectError
from glimr_keras.executors.base import Executor
from glimr_keras.models import data
from glimr_keras.models.data import FitArguments
from glimr_keras.models.hypermodel import HyperModel, as_hypermodel, declared_space, overrides
from glimr_keras.oracles import Oracle
from glimr_keras.oracles.suggestions import checked_point
from glimr_keras.project import keras_tuner_files
from glimr_keras.project.journal import Journal
from glimr_keras.project.remote_mirror import project_place
from glimr_keras.results import summaries
from glimr_keras.results.reader import ProjectReader
from glimr_keras.results.results import Results
from glimr_keras.space.declared_space import DeclaredSpace
from glimr_keras.space.hyperparameters import HyperParameters
from glimr_keras.space.search_space import SearchSpace
from glimr_keras.training.dry_run import DryRun, attempt
from glimr_keras.trials.objective import Objective
from glimr_keras.tuners.arguments import (
    check_executor,
    check_recognized,
    checked_failure_policy,
    checked_points,
    checked_resources,
    checked_verbosity,
    sorted_callbacks,
)
from glimr_keras.tuners.hooks import TunerHooks, has_own, has_own_loop, hypermodel_of
from glimr_keras.tuners.search import SearchSession
from glimr_keras.tuners.settings import SearchSettings, TunerState
from glimr_keras.tuners.warm_start import project_directory


class _Readable:
    """A property that subclasses may set, to whatever they like."""

    def __init__(self, read: Callable[[Any], Any]) -> None:
        self._read, self.__doc__ = read, read.__doc__

    def __get__(self, tuner: Any, kind: type) -> Any:
        return self if tuner is None else self._read(tuner)


class BaseTuner(TunerHooks):
    """Searches the hyperparameters of a `HyperModel` with any oracle, many trials side by side on
    Ray.

    What all tuners are. Use `RayTuner`, or one of the named tuners, unless the oracle is one of
    your own; `Tuner` differs from this class in the order of its arguments. Subclass one of them to
    run trials in your own way: see `run_trial`.

    The constructor checks its arguments and starts nothing; `search` starts Ray on this machine if
    it is not running. Every trial is written down in the project directory as it happens. The same
    script run again continues its search.

    Args:
        oracle: What chooses the configurations; its arguments say what is optimised, how many
            trials there are, and more.
        hypermodel: A `HyperModel`, or a function `build(config)` that returns a compiled Keras
            model; may be left out by a subclass with a `run_trial` of its own.
        directory: Where projects are, by default the working directory; a path, or a URI such as
            `"s3://bucket/runs"` that `pyarrow.fs` or fsspec knows. A project at a URI is worked on
            as a local copy (in `GLIMR_KERAS_CACHE`, or else in the user's cache directory), which
            is sent there every few seconds, and at the end.
        project_name: The project's own directory in there, by default `"untitled_project"`.
        overwrite: Start over, and remove the project's earlier trials when the first search starts.
        max_model_size: How many parameters a model may have; a trial with more fails, before it
            trains.
        optimizer: In the place of the model's own, whatever `build` compiled it with. So are `loss`
            and `metrics`.
        loss: Likewise.
        metrics: Likewise.
        distribution_strategy: A `tf.distribute.Strategy`, in whose scope models are built.
        logger: Has no meaning any more, as in KerasTuner.
        tuner_id: By default `"tuner0"`.
        executions_per_trial: How often each configuration is trained; its score is the mean.
        cv_folds: Of a cross validation, at least 2: each configuration is trained once for each
            fold, side by side as there is room, and its score is the mean. Arrays given to `search`
            are split; a `HyperModel` with `data` returns the data of fold `config.fold` of
            `config.num_folds`. `None` for no cross validation.
        max_concurrent_trials: At most so many executions at once; by default what the machine has
            room for.
        resources_per_trial: CPUs (also the number of threads) and GPUs (fractions allowed) of one
            execution, and custom resources of a cluster by name. By default one CPU and no GPU.
        max_worker_memory: Bytes of memory that a worker process may have for itself (data in shared
            memory does not count); one with more is replaced when its trial has ended, and no trial
            is lost. By default there is no bound. On Linux.
        scheduler: One of `ray.tune.schedulers`, which stops trials early, such as
            `ASHAScheduler()`, or pauses them and changes their values, such as
            `PopulationBasedTraining(…)`.
        space: A declared search space, instead of `HyperModel.space()`.
        initial_points: Configurations to try first: dicts of value by name, flat or nested. What
            they leave out is drawn.
        warm_start: Finished projects (directories, or tuners), also of KerasTuner, whose results
            the search learns from. They count for no budget.
        callbacks: Keras callbacks, copied into every trial, and `ray.tune.Callback`s, which run
            here.
        max_failures: How often a training is continued whose process was lost: killed, out of
            memory, or with its machine. Then its trial has failed. -1 for any number.
        max_trials_without_improvement: So many trials in a row that are not better than the best
            before them end the search.
        time_budget_s: Seconds of wall-clock time that one call of `search` may take; then running
            trials are stopped.
        trial_time_limit_s: Seconds of wall-clock time that one training may take. It is ended after
            the batch in which they are over, and has the score of its best epoch; without any epoch
            its trial has failed. One that hangs loses its process.
        state_interval_s: At ends of epochs, so many seconds apart at least, the state of a training
            is kept until the training ends; one that is interrupted goes on from there. 0 for each
            epoch, `None` to begin anew.
        keep_top_k: Of so many trials, the best, the weights are kept; by default of all.
        stopper: A `ray.tune.Stopper`, asked after each epoch of each trial.
        reporter: A `ray.tune.ProgressReporter`, which then shows the search instead of the live
            line.
        executor: `"ray"`, or `"inline"` for trials in this process, one at a time, where
            breakpoints work; or an `Executor` of `glimr_keras.executors`, or of your own.
        address: Of a Ray cluster to join, as `ray.init` takes it, unless this process already has a
            Ray. By default `RAY_ADDRESS`, or the Ray that runs on this machine, or a new one.
        **unrecognized: An error, as in KerasTuner a `ValueError`.

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
        tuner = Tuner(oracle, Digits(), directory="runs", project_name="digits")
        tuner.search(epochs=10)
        model = tuner.get_best_models()[0]
    """

    def __init__(
        self,
        oracle: Oracle,
        hypermodel: Any = None,
        directory: str | os.PathLike[str] | None = None,
        project_name: str | None = None,
        overwrite: bool = False,
        *,
        max_model_size: int | None = None,
        optimizer: Any = None,
        loss: Any = None,
        metrics: Any = None,
        distribution_strategy: Any = None,
        logger: Any = None,
        tuner_id: str | None = None,
        executions_per_trial: int = 1,
        cv_folds: int | None = None,
        max_concurrent_trials: int | None = None,
        resources_per_trial: Mapping[str, float] | None = None,
        max_worker_memory: int | None = None,
        scheduler: TrialScheduler | None = None,
        space: Mapping[str, Any] | None = None,
        initial_points: Sequence[Mapping[str, Any]] | None = None,
        warm_start: Sequence[str | os.PathLike[str] | Results] = (),
        callbacks: Sequence[keras.callbacks.Callback | tune.Callback] | None = None,
        max_failures: int = 3,
        max_trials_without_improvement: int | None = None,
        time_budget_s: float | None = None,
        trial_time_limit_s: float | None = None,
        state_interval_s: float | None = 10.0,
        keep_top_k: int | None = None,
        stopper: tune.Stopper | None = None,
        reporter: tune.ProgressReporter | None = None,
        executor: Literal["ray", "inline"] | Executor = "ray",
        address: str | None = None,
        **unrecognized: Any,
    ) -> None:
        check_recognized(unrecognized, type(self))
        if not isinstance(oracle, Oracle):
            raise FatalValueError(
                "Expected `oracle` argument to be an instance of `Oracle`. Received: "
                f"oracle={oracle!r}"
            )
        if oracle.max_trials is not None:
            checked_count("max_trials", oracle.max_trials)
        checked_count("seed", oracle.seed, at_least=0)
        hypermodel = as_hypermodel(hypermodel, is_needed=not has_own_loop(self))
        declared = DeclaredSpace(
            space if space is not None else declared_space(hypermodel),
            oracle.hyperparameters,
            "refused"
            if not oracle.allow_new_entries
            else "searched"
            if oracle.tune_new_entries
            else "default",
        )
        if logger is not None:
            warnings.warn(
                "`logger` has no meaning any more; give callbacks instead.",
                DeprecationWarning,
                stacklevel=2,
            )
        if initial_points is not None:
            oracle.initial_points = tuple(map(declared.values_of, checked_points(initial_points)))
        of_keras, of_ray = sorted_callbacks(callbacks)
        of_ray_only = {
            "scheduler": scheduler,
            "reporter": reporter,
            "max_concurrent_trials": max_concurrent_trials,
            "max_worker_memory": max_worker_memory,
            "address": address,
            "callbacks": of_ray or None,
        }
        check_executor(executor, of_ray_only)
        sources = (
            [warm_start] if isinstance(warm_start, (str, os.PathLike, Results)) else warm_start
        )
        settings = SearchSettings(
            cv_folds=optional_count("cv_folds", cv_folds, at_least=2),
            max_concurrent_trials=optional_count("max_concurrent_trials", max_concurrent_trials),
            resources_per_trial=checked_resources(resources_per_trial),
            max_worker_memory=optional_count("max_worker_memory", max_worker_memory),
            scheduler=checked_kind(
                "scheduler", scheduler, TrialScheduler, "one of `ray.tune.schedulers`"
            ),
            warm_start=[project_directory(source) for source in sources],
            keras_callbacks=of_keras,
            ray_callbacks=of_ray,
            failure_policy=checked_failure_policy(
                max_consecutive_failed_trials=oracle.max_consecutive_failed_trials,
                max_failures=max_failures,
                max_retries_per_trial=oracle.max_retries_per_trial,
                trial_time_limit_s=trial_time_limit_s,
                state_interval_s=state_interval_s,
                keep_top_k=keep_top_k,
            ),
            max_trials_without_improvement=optional_count(
                "max_trials_without_improvement", max_trials_without_improvement
            ),
            time_budget_s=None
            if time_budget_s is None
            else checked_seconds("time_budget_s", time_budget_s),
            stopper=checked_kind("stopper", stopper, tune.Stopper, "a ray.tune.Stopper"),
            reporter=checked_kind(
                "reporter", reporter, tune.ProgressReporter, "a ray.tune.ProgressReporter"
            ),
            executor=executor,
            address=address,
        )
        self.oracle, self.seed = oracle, oracle.seed
        self.directory = os.fspath(directory) if directory is not None else "."
        self.project_name = project_name if project_name is not None else "untitled_project"
        self.tuner_id = tuner_id if tuner_id is not None else "tuner0"
        self.executions_per_trial = checked_count("executions_per_trial", executions_per_trial)
        self.max_model_size = optional_count("max_model_size", max_model_size)
        self.optimizer, self.loss, self.metrics = optimizer, loss, metrics
        self.distribution_strategy, self.logger = distribution_strategy, logger
        place, mirror = project_place(self.directory, self.project_name)
        builds_nothing = type(hypermodel) is HyperModel and not overrides(hypermodel, "build")
        super().__init__(
            None if builds_nothing else hypermodel,
            TunerState(declared, place, mirror, settings, overwrite),
        )
        oracle.discover_by(self._populate_initial_space)
        if not overwrite:
            with contextlib.suppress(ProjectError):
                SearchSession(self).recall(
                    Journal(place).read()
                )  # what is on this machine, before a URI is asked
                print(f"Reloading Tuner from {self._get_tuner_fname()}")

    @_Readable
    def objective(self) -> Objective:
        """What is optimised; its direction is known when a search has built the model once."""
        return self.oracle.objective

    @property
    def remaining_trials(self) -> int | None:
        """How many trials may still be started; `None` for any number."""
        return self.oracle.remaining_trials()

    @property
    def project_dir(self) -> str:
        """The project's directory, which is made; of one at a URI, its local copy.

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
        """Reads the project, so that `oracle` has its trials. The constructor does so as well, of
        one at a URI with what this machine has of it.

        Raises:
            ProjectError: If there is none, or it is damaged.
        """
        SearchSession(self).recall(self._glimr.read())

    @staticmethod
    def open(
        project: str | os.PathLike[str],
        hypermodel: Any = None,
        space: Mapping[str, Any] | None = None,
    ) -> Results:
        """Opens a project to read its results, also while a search is running in it, in whichever
        process.

        Nothing in the project is changed, and nothing in it is executed.

        Args:
            project: The project's directory, or its URI.
            hypermodel: As for a tuner; only `get_best_models` needs it.
            space: The declared space, if it was passed to the tuner.

        Returns:
            An object with `get_best_models`, `get_best_hyperparameters`, `results_dataframe`,
            `results_summary` and `pareto_front`, as a tuner has them. `experiment_table` takes it
            as well.

        Raises:
            ProjectError: If there is no project.

        Example:
            RayTuner.open("runs/digits").results_dataframe()
        """
        directory, mirror = project_place(project)
        if mirror is None and keras_tuner_files.exists(directory):
            raise ProjectError(
                f"The project in {directory} is KerasTuner's. Open it by "
                "`open_keras_tuner_project`."
            )
        model = None if hypermodel is None else as_hypermodel(hypermodel)
        declared = DeclaredSpace(
            space if space is not None or model is None else declared_space(model)
        )
        reader = ProjectReader(declared, directory, mirror)
        reader.read()
        return Results(model, reader)

    # Searching

    def search(
        self,
        *fit_args: Any,
        groups: Any = None,
        stratify: Any = "auto",
        folds: Any = None,
        **fit_kwargs: Any,
    ) -> None:
        """Runs trials until the project has `max_trials`; continues where an earlier search of this
        project ended.

        Args:
            *fit_args: What Keras' `fit` takes, such as `x, y`. Nothing when the `HyperModel` has
                `data`.
            groups: With `cv_folds`, the group of each sample, shape (samples,), such as its
                patient. No group is both trained on and validated on.
            stratify: With `cv_folds`, the class of each sample, shape (samples,); each fold has the
                classes in the proportions of the whole. By default those of the labels, where they
                are classes (strings, booleans, integers, 0 and 1, one-hot rows); of several labels
                together where each combination is frequent enough, else of the first. `None` to
                split without regard to classes.
            folds: With `cv_folds`, the fold of each sample, shape (samples,), integers from 0,
                instead of a random split. (The elements of a `tf.data.Dataset`, batches if it is
                batched, are dealt out by position: number i goes to fold `i % cv_folds`. It must
                not shuffle.)
            **fit_kwargs: Likewise, such as `epochs`, `validation_data`, `validation_split`,
                `batch_size`, `callbacks`. `verbose` is for the search: 0 shows nothing, 1 (and
                `"auto"`) one live line, 2 also a line for each finished trial, 3 also what Ray
                prints and, if this search starts Ray, what the workers print. Where it is left out,
                `oracle.verbose` counts, which has that of the last search, or 1.

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
        own = has_own(self, "run_trial")  # which gets whatever was given
        of_keras, of_ray = sorted_callbacks(None if own else fit_kwargs.pop("callbacks", None))
        if of_ray:
            raise TypeError(
                "`search(callbacks=…)` takes Keras callbacks; pass Ray's to "
                f"{type(self).__name__}. Received: {of_ray}"
            )
        how = {"groups": groups, "stratify": stratify, "folds": folds}
        is_own = has_own_loop(self) or overrides(hypermodel_of(self), "fit")
        if self._glimr.settings.cv_folds is None and is_own:  # whose own arguments they are
            fit_kwargs |= {
                name: value for name, value in how.items() if value is not None and value != "auto"
            }
            how = {}
        if "verbose" in fit_kwargs:
            self.oracle.verbose = checked_verbosity(fit_kwargs["verbose"])
        SearchSession(self).search(
            FitArguments(fit_args, fit_kwargs), of_keras, how, self.oracle.verbose
        )

    def try_configuration(
        self,
        config: Mapping[str, Any] | HyperParameters | None = None,
        *fit_args: Any,
        batches: int | None = None,
        **fit_kwargs: Any,
    ) -> DryRun:
        """Builds and trains one configuration for an epoch, in this process, so that mistakes show
        in seconds.

        Nothing is written to the project, and the Keras session of this process is left as it is.

        Args:
            config: Value by name, flat or nested, such as one of `sample_space`; what it leaves out
                is the default.
            *fit_args: As for `search`; nothing when the `HyperModel` has `data`.
            batches: Train on so many batches only.
            **fit_kwargs: As for `search`. With `cv_folds`, the first fold is tried.

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
        groups, folds = fit_kwargs.pop("groups", None), fit_kwargs.pop("folds", None)
        stratify = fit_kwargs.pop("stratify", "auto")
        of_keras, _ = sorted_callbacks(fit_kwargs.pop("callbacks", None))
        if batches is not None:
            checked_count("batches", batches)
        hypermodel, space, searching = hypermodel_of(self), self._glimr.space, SearchSession(self)
        if overrides(hypermodel, "run"):
            raise ValueError(
                f"There is no model to try: {type(hypermodel).__name__} has its own "
                "`run(config)`. Call it, with a configuration of `glimr_keras.sample_space` or "
                "a `HyperParameters()`."
            )
        arguments = FitArguments(fit_args, fit_kwargs)
        data.check_one_source(hypermodel, arguments)
        parts = searching.folds(
            arguments, self.oracle.seed, groups=groups, stratify=stratify, folds=folds
        )
        known = SearchSpace(space.parameters, is_whole=False)
        given = (
            config.values if isinstance(config, HyperParameters) else space.values_of(config or {})
        )
        values = checked_point(given, known)
        return attempt(searching.context(arguments, of_keras, folds=parts), values, batches)

    def search_space_summary(self, extended: bool = False) -> None:
        """Prints the hyperparameters: those of the project, or before the first search those that
        one build shows.

        Args:
            extended: Has no meaning, as in KerasTuner.
        """
        print(summaries.search_space_summary(SearchSession(self).known_space()))
