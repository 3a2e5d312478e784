"""`SklearnTuner`: search scikit-learn estimators or pipelines. Runs in driver and worker."""

from __future__ import annotations

import dataclasses
import importlib.util
import inspect
import os
import pathlib
import pickle
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NoReturn

import keras
import numpy as np

from glimr_keras.errors import CheckpointError, ObjectiveError, did_you_mean
from glimr_keras.models.data import FitArguments
from glimr_keras.models.samples import taken
from glimr_keras.oracles import Oracle
from glimr_keras.results.results import Results
from glimr_keras.trials.score_epochs import ScoreAt
from glimr_keras.trials.trial import Trial
from glimr_keras.tuners.arguments import ExecutorChoice, TrialsPerGpu, passed_on, tune
from glimr_keras.tuners.base_tuner import session_of
from glimr_keras.tuners.hooks import hypermodel_of
from glimr_keras.tuners.tuner import Tuner

Persistence = Literal["joblib", "skops"]


class SklearnTuner(Tuner):
    """Search the hyperparameters of scikit-learn estimators, cross-validated in each trial.

    Args:
        # Search
        oracle: The search algorithm, with the objective `Objective("score", "max")` or the name of
            one of the `metrics`.
        hypermodel: A `HyperModel` whose `build(hp)` returns an estimator or a pipeline, or a
            function that does.
        space: A declared search space: nested dicts with `ray.tune` domains. Defaults to `None`:
            the return value of `HyperModel.space()`.
        initial_points: Configurations to try first: dicts of values by name, flat or nested.
            Missing values are sampled. Defaults to `None`: no initial configurations.
        warm_start: Finished projects whose results the search learns from: directories or tuners,
            including projects of KerasTuner. Their trials do not count towards any budget. Defaults
            to `()`.
        scoring: A function called as `scoring(estimator, X, y, sample_weight=None)` with each
            held-out fold. Defaults to `None`: the estimator's own `score`.
        cv: A splitter from `sklearn.model_selection`. Defaults to `None`, which means `KFold(5,
            shuffle=True, random_state=1)`.
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
        metrics: A metric or a list of metrics, called as `metric(y_true, y_pred,
            sample_weight=None)` and recorded under their `__name__`. Defaults to `None`: only the
            score.
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
        persistence: Format in which the last fold's estimator is stored in the trial's directory.
            `"joblib"`: as `model.joblib`; like pickle, it may execute code when it is loaded.
            `"skops"`: as `model.skops`; safe to load, requires the package skops. The estimator is
            not stored in a project at a URI, or by workers that share no file system with the
            driver. Defaults to `'joblib'`.
        trusted: Names of types, such as `"sklearn.tree._tree.Tree"`, that skops may load although
            it does not know them as safe. Defaults to `()`.
        reporter: A `ray.tune.ProgressReporter` that shows the search instead of the live line.
            Defaults to `None`: the live line.
        tuner_id: Name of the file with the tuner's own state. Defaults to `None`, which means
            `tuner0`.
        logger: Ignored, as in current KerasTuner. Defaults to `None`.

    Raises:
        ImportError: If scikit-learn, or skops when it is used, is not installed.
        ObjectiveError: If the objective is not the score or one of the metrics.

    Example:
        def build(hp):
            return make_pipeline(StandardScaler(), SVC(C=hp.Float("C", 0.01, 100, sampling="log")))

        oracle = BayesianOptimizationOracle(Objective("score", "max"), max_trials=20)
        tuner = SklearnTuner(oracle, build)
        tuner.search(X, y)
        best = tuner.get_best_models()[0]
    """

    def __init__(
        self,
        oracle: Oracle,
        hypermodel: Any,
        scoring: Callable[..., float] | None = None,
        metrics: Callable[..., float] | Sequence[Callable[..., float]] | None = None,
        cv: Any = None,
        persistence: Persistence = "joblib",
        trusted: Sequence[str] = (),
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
        if persistence not in ("joblib", "skops"):
            raise ValueError(
                f"`persistence` must be 'joblib' or 'skops'. Received: persistence={persistence!r}"
            )
        for package in ("sklearn", persistence):
            if importlib.util.find_spec(package) is None:
                wanted = "scikit-learn" if package == "sklearn" else package
                raise ImportError(f"SklearnTuner needs {wanted}. Install it: pip install {wanted}")
        own = ("scoring", "metrics", "cv", "persistence", "trusted")
        super().__init__(
            **{name: value for name, value in passed_on(given).items() if name not in own}
        )
        if keep_predictions:
            raise ValueError(
                "`keep_predictions=True` is for Keras models, whose predictions are those after "
                "each epoch. Leave it out."
            )
        self.scoring = scoring
        several: Any = () if metrics is None else metrics
        self.metrics: list[Any] = [*several] if isinstance(several, (list, tuple)) else [several]
        self.cv = cv if cv is not None else _default_cv()
        self._glimr.estimators = _Estimators(persistence, list(trusted))
        names = ["score", *(metric.__name__ for metric in self.metrics)]
        for part in oracle.objective.parts:
            if part.name not in names:
                raise ObjectiveError(
                    'The objective of a SklearnTuner must be `Objective("score", "max")`, or one '
                    f"of its metrics."
                    f"{did_you_mean(part.name, names)} Received: objective={part}; known: "
                    f"{', '.join(names)}"
                )

    def search(  # type: ignore[override]  # scikit-learn's names of arguments
        self,
        X: Any,  # noqa: N803
        y: Any,
        sample_weight: Any = None,
        groups: Any = None,
        verbose: int | str = 1,
    ) -> None:
        """Run trials until the project has `max_trials`.

        Args:
            X: Samples, a NumPy array or a pandas DataFrame of shape (samples, features).
            y: Labels, a NumPy array, a pandas Series or a DataFrame of shape (samples,) or
                (samples, outputs).
            sample_weight: Sample weights, shape (samples,). In a pipeline, the last step receives
                them. Defaults to `None`: equal weights.
            groups: Group of each sample, shape (samples,), for a `cv` that splits by groups.
                Defaults to `None`: no groups.
            verbose: As for `Tuner.search`. Defaults to `1`.

        Raises:
            TypeError: If `X` or `y` is of another type.
        """
        for name, value in (("X", X), ("y", y)):
            if not isinstance(value, np.ndarray) and not hasattr(value, "iloc"):
                raise TypeError(
                    "Expected the data to be numpy.ndarray or pandas.DataFrame. "
                    f"Received: {name} of type {type(value).__name__}"
                )
        session_of(self).search(
            FitArguments((X, y), {"sample_weight": sample_weight, "groups": groups}),
            verbose=verbose,
        )

    def run_trial(
        self,
        trial: Trial,
        X: Any,  # noqa: N803
        y: Any,
        sample_weight: Any = None,
        groups: Any = None,
    ) -> dict[str, float]:
        """Fit and score an estimator on each fold, and return the mean of each metric."""
        found: dict[str, list[float]] = {}
        for train, test in self.cv.split(X, y, **({} if groups is None else {"groups": groups})):
            model = hypermodel_of(self).build(trial.hyperparameters)
            weights = [taken(sample_weight, part) for part in (train, test)]
            model.fit(taken(X, train), taken(y, train), **_weighting(model, weights[0]))
            for name, value in _scores(
                self, model, taken(X, test), taken(y, test), weights[1]
            ).items():
                found.setdefault(name, []).append(value)
        self.save_model(trial.trial_id, model)
        return {name: statistics.fmean(values) for name, values in found.items()}

    def save_model(self, trial_id: str, model: Any, step: int = 0) -> None:
        """Store an estimator in the trial's directory."""
        self._glimr.estimators.save(model, pathlib.Path(self.get_trial_dir(trial_id)))

    def load_model(self, trial: Trial) -> Any:
        """Load the estimator of a trial.

        Raises:
            CheckpointError: If it was not stored, or contains types that skops does not trust.
        """
        return self._glimr.estimators.load(
            trial.trial_id, pathlib.Path(self.get_trial_dir(trial.trial_id))
        )


@dataclasses.dataclass(frozen=True)
class _Estimators:
    """Storage of estimators. The attributes are arguments of `SklearnTuner`."""

    persistence: Persistence
    trusted: list[str]

    def save(self, model: Any, directory: pathlib.Path) -> None:
        path = self._path(directory)
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._library().dump(model, path)
        except (pickle.PicklingError, AttributeError):
            if self.persistence != "joblib":
                raise
            from ray import cloudpickle

            path.write_bytes(
                cloudpickle.dumps(model)
            )  # a class from the user's script, which a worker cannot import

    def load(self, trial_id: str, directory: pathlib.Path) -> Any:
        path = self._path(directory)
        if not path.exists():
            raise CheckpointError(f"The estimator of trial {trial_id} is not in {path}.")
        if self.persistence == "joblib":
            return self._library().load(path)
        try:
            return self._library().load(path, trusted=self.trusted)
        except TypeError as error:  # skops raises a subclass of it
            raise CheckpointError(
                f"The estimator of trial {trial_id} has types that skops does not trust. If you "
                f"do, pass them as `trusted`, by name. {error}"
            ) from error

    def _path(self, directory: pathlib.Path) -> pathlib.Path:
        return directory / f"model.{self.persistence}"

    def _library(self) -> Any:
        if self.persistence == "skops":
            import skops.io  # an optional package

            return skops.io
        import joblib  # comes with scikit-learn, which is optional

        return joblib


def _scores(
    tuner: SklearnTuner, model: Any, samples: Any, y: Any, sample_weight: Any
) -> dict[str, float]:
    """Return the metrics of an estimator on the held-out fold."""
    if tuner.scoring is None:
        score = model.score(samples, y, **_weighted(sample_weight))
    else:
        score = tuner.scoring(model, samples, y, sample_weight=sample_weight)
    predicted = model.predict(samples) if tuner.metrics else None
    others = {
        metric.__name__: float(metric(y, predicted, sample_weight=sample_weight))
        for metric in tuner.metrics
    }
    return {"score": float(score), **others}


def _default_cv() -> Any:
    from sklearn.model_selection import KFold  # an optional package

    return KFold(5, shuffle=True, random_state=1)


def _weighted(sample_weight: Any) -> dict[str, Any]:
    return {} if sample_weight is None else {"sample_weight": sample_weight}


def _weighting(model: Any, sample_weight: Any) -> dict[str, Any]:
    """Return the keyword argument of `fit` for sample weights, if it accepts them.

    For a pipeline, it is the argument of the last step.
    """
    if sample_weight is None:
        return {}
    steps = getattr(model, "steps", None)
    if steps:
        name, last = steps[-1]
        return {f"{name}__sample_weight": sample_weight} if _takes_weights(last) else {}
    return _weighted(sample_weight) if _takes_weights(model) else {}


def _takes_weights(model: Any) -> bool:
    return "sample_weight" in inspect.signature(model.fit).parameters
