"""`Hyperband`: a `Tuner` that stops bad trials early. Runs in the driver."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import keras

from glimr_keras.oracles import HyperbandOracle
from glimr_keras.results.results import Results
from glimr_keras.space.hyperparameters import HyperParameters
from glimr_keras.trials.objective import Goal
from glimr_keras.trials.score_epochs import ScoreAt
from glimr_keras.tuners.arguments import ExecutorChoice, TrialsPerGpu, tune, with_oracle
from glimr_keras.tuners.tuner import Tuner


class Hyperband(Tuner):
    """Hyperband: train many configurations for a few epochs, and the best of them for more.

    Use it when early epochs distinguish good configurations from bad ones. `search` ignores
    `epochs`: trainings run for up to `max_epochs`. A promoted configuration becomes a new trial,
    which continues the training of an earlier one. See `HyperbandOracle` for the algorithm.

    Args:
        # Search
        hypermodel: A `HyperModel`, or a function `build(config)` that returns a compiled Keras
            model. Defaults to `None`, which is for subclasses that override `run_trial`.
        objective: The metric to optimise, such as `"val_accuracy"`, or an `Objective` with its
            direction. A list of several objectives searches for a Pareto front. Defaults to `None`:
            minimise the number that `fit` or `run` returns.
        space: A declared search space: nested dicts with `ray.tune` domains. Defaults to `None`:
            the return value of `HyperModel.space()`.
        hyperparameters: Hyperparameters that override those of the same name that the model
            requests. Defaults to `None`: override nothing.
        tune_new_entries: Whether to search other hyperparameters that the model requests. If
            `False`, they keep their default values. Defaults to `True`.
        allow_new_entries: Whether the model may request other hyperparameters. If `False`, a
            request raises an error before any trial. Defaults to `True`.
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
        seed: Random seed, at least 0. It fixes the configurations that the search draws, and the
            weights and batches of each trial. Defaults to `None`: a seed derived from the state of
            Python's `random`, so calling `keras.utils.set_random_seed` first fixes it as well.

        # Budget and stopping
        max_trials: A further limit: the maximum number of configurations in the project, at least
            1. Defaults to `None`: as many as the algorithm requests.
        max_epochs: Number of epochs of the longest training, at least 1. Defaults to `100`.
        factor: Factor between rounds, at least 2. Each round divides the number of configurations
            by it and multiplies their epochs by it. Defaults to `3`.
        hyperband_iterations: Number of times the whole algorithm runs; 0 or `None` means no limit.
            Defaults to `1`.
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
        max_retries_per_trial: Number of times a failed training is restarted, at least 0. One that
            raised `FailedTrialError` is not restarted. Defaults to `0`.
        max_consecutive_failed_trials: Stop the search after this many consecutive failed trials, at
            least 1. Defaults to `3`.
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

    Example:
        tuner = Hyperband(Digits(), "val_accuracy", directory="runs", project_name="digits")
        tuner.search(epochs=10)
        model = tuner.get_best_models()[0]
    """

    def __init__(
        self,
        hypermodel: Any = None,
        objective: Goal = None,
        max_epochs: int = 100,
        factor: int = 3,
        hyperband_iterations: int | None = 1,
        seed: int | None = None,
        hyperparameters: HyperParameters | None = None,
        tune_new_entries: bool = True,
        allow_new_entries: bool = True,
        max_retries_per_trial: int = 0,
        max_consecutive_failed_trials: int = 3,
        max_trials: int | None = None,
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
        super().__init__(**with_oracle(HyperbandOracle, locals()))
