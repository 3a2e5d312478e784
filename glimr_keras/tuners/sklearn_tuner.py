"""`SklearnTuner`: any scikit-learn estimator or pipeline, cross-validated. Runs in driver and
worker.
"""

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
    """Search the hyperparameters of scikit-learn estimators, by cross validation in each trial.

    Args:
        # What is searched
        oracle: The search algorithm, with the objective `Objective("score", "max")`, or one of the
            names of `metrics`.
        hypermodel: A `HyperModel`, or a function, whose `build(hp)` returns an estimator or a
            pipeline.
        space: A declared search space: nested dicts with `ray.tune` domains. Defaults to what
            `HyperModel.space()` returns.
        initial_points: Configurations to try first: dicts of value by name, flat or nested. What
            they leave out is drawn. Defaults to none.
        warm_start: Finished projects (directories, or tuners), also of KerasTuner, whose results
            the search learns from. They count for no budget. Defaults to `()`.
        scoring: Called as `scoring(estimator, X, y, sample_weight=None)` with each part that was
            left out. Defaults to the estimator's own `score`.
        cv: A splitter of `sklearn.model_selection`. Defaults to `KFold(5, shuffle=True,
            random_state=1)`.
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
        metrics: One metric, or several, called as `metric(y_true, y_pred, sample_weight=None)`;
            recorded under their `__name__`. Defaults to none beside the score.
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
        persistence: How the estimator of the last part is stored in the trial's directory:
            `"joblib"` (as `model.joblib`; like pickle, it may execute code when it is loaded), or
            `"skops"` (as `model.skops`; safe to load, needs the package skops). In a project at a
            URI, and by workers that do not share a file system with the driver, it is not stored.
            Defaults to `'joblib'`.
        trusted: Names of types, such as `"sklearn.tree._tree.Tree"`, that skops may load though it
            does not know them as safe. Defaults to `()`.
        reporter: A `ray.tune.ProgressReporter`, which then shows the search instead of the live
            line. Defaults to the live line.
        tuner_id: Name of the file with the tuner's own state. Defaults to `tuner0`.
        logger: Has no meaning any more, as in KerasTuner. Defaults to none.

    Raises:
        ImportError: If scikit-learn, or skops, is needed and not installed.
        ObjectiveError: If the objective is none of the metrics.

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

    def search(  # type: ignore[override]  # as scikit-learn calls what it takes
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
            sample_weight: Weight of each sample, shape (samples,); of a pipeline, for its last
                step. Defaults to equal weights.
            groups: Group of each sample, shape (samples,), for a `cv` that splits by groups.
                Defaults to no groups.
            verbose: As for `Tuner.search`. Defaults to `1`.

        Raises:
            TypeError: If `X` or `y` is something else.
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
        """Fits and scores an estimator for each part of the data. Returns the mean of each metric
        over the parts.
        """
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
        """Stores an estimator in the trial's directory."""
        self._glimr.estimators.save(model, pathlib.Path(self.get_trial_dir(trial_id)))

    def load_model(self, trial: Trial) -> Any:
        """Loads the estimator of a trial.

        Raises:
            CheckpointError: If it was not stored, or holds types that skops does not trust.
        """
        return self._glimr.estimators.load(
            trial.trial_id, pathlib.Path(self.get_trial_dir(trial.trial_id))
        )


@dataclasses.dataclass(frozen=True)
class _Estimators:
    """How estimators are stored; the attributes are arguments of `SklearnTuner`."""

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
            )  # a class of the user's script, which a worker has no module of

    def load(self, trial_id: str, directory: pathlib.Path) -> Any:
        path = self._path(directory)
        if not path.exists():
            raise CheckpointError(f"The estimator of trial {trial_id} is not in {path}.")
        if self.persistence == "joblib":
            return self._library().load(path)
        try:
            return self._library().load(path, trusted=self.trusted)
        except TypeError as error:  # as skops' own is
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
    """The metrics of an estimator on the part that was left out."""
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
    """The argument by which an estimator's `fit` takes sample weights, if it does; of a pipeline,
    that of its last step.
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
