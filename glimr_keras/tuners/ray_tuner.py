"""`RayTuner`: a tuner with random search, or a search algorithm of Ray's. Runs in the driver."""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import keras

from glimr_keras._utils.checks import checked_kind
from glimr_keras._utils.late_imports import if_imported
from glimr_keras.oracles import RandomSearchOracle, RaySearchOracle
from glimr_keras.results.results import Results
from glimr_keras.space.hyperparameters import HyperParameters
from glimr_keras.trials.objective import Goal
from glimr_keras.trials.score_epochs import ScoreAt
from glimr_keras.tuners.arguments import ExecutorChoice, TrialsPerGpu, tune, with_oracle
from glimr_keras.tuners.tuner import Tuner


class RayTuner(Tuner):
    """Search the hyperparameters of a `HyperModel`, many trials side by side on Ray.

    Args:
        # What is searched
        hypermodel: A `HyperModel`, or a function `build(config)` that returns a compiled Keras
            model. Defaults to none, which a subclass with a `run_trial` of its own may do with.
        objective: The metric to optimise, such as `"val_accuracy"`, or an `Objective` with its
            direction; a list of several for a Pareto front. Defaults to the number that `fit` or
            `run` returns, which is minimised.
        search_alg: One of `ray.tune.search`, new and without a space of its own; its
            `points_to_evaluate` have the hyperparameters' own values. Defaults to random search.
        space: A declared search space: nested dicts with `ray.tune` domains. Defaults to what
            `HyperModel.space()` returns.
        hyperparameters: Hyperparameters that win over those of the same name that the model asks
            for. Defaults to none.
        tune_new_entries: Whether other hyperparameters that the model asks for are searched. If
            not, they have their defaults. Defaults to `True`.
        allow_new_entries: Whether the model may ask for other hyperparameters. If not, that is an
            error, before any trial. Defaults to `True`.
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
        seed: Makes the search draw the same configurations, and each trial the same weights and
            batches; at least 0. Defaults to one that the state of Python's `random` decides, so
            `keras.utils.set_random_seed` before it does too.

        # How long
        max_trials: How many configurations the project may have in all, failed ones included, at
            least 1; `None` for as many as there are. Defaults to `10`.
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
        max_retries_per_trial: How often a training that failed is begun again, except by
            `FailedTrialError`; at least 0. Defaults to `0`.
        max_consecutive_failed_trials: So many failed trials in a row stop the search, at least 1.
            Defaults to `3`.
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

    Example:
        tuner = RayTuner(
            Digits(), "val_accuracy", max_trials=20, directory="runs", project_name="digits"
        )
        tuner.search(epochs=10)
        model = tuner.get_best_models()[0]
    """

    def __init__(
        self,
        hypermodel: Any = None,
        objective: Goal = None,
        max_trials: int | None = 10,
        seed: int | None = None,
        hyperparameters: HyperParameters | None = None,
        tune_new_entries: bool = True,
        allow_new_entries: bool = True,
        max_retries_per_trial: int = 0,
        max_consecutive_failed_trials: int = 3,
        search_alg: tune.search.Searcher | None = None,
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
        directory: str | os.PathLike[str] | None = None,
        project_name: str | None = None,
        overwrite: bool = False,
        keep_top_k: int | None = None,
        keep_predictions: bool = False,
        reporter: tune.ProgressReporter | None = None,
        tuner_id: str | None = None,
        logger: Any = None,
        **unrecognized: NoReturn,
    ) -> None:
        given = locals()
        searcher = checked_kind(
            "search_alg",
            given.pop("search_alg"),
            if_imported("ray.tune.search.searcher", "Searcher"),
            "one of `ray.tune.search`",
        )
        kind = functools.partial(RaySearchOracle, searcher) if searcher else RandomSearchOracle
        super().__init__(**with_oracle(kind, given, like=RandomSearchOracle))
