"""`SklearnTuner`: any scikit-learn estimator or pipeline, cross-validated. Runs in driver and
worker.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import inspect
import pathlib
import pickle
import statistics
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
from ray import cloudpickle

from glimr_keras.errors import CheckpointError, ObjectiveError, did_you_mean
from glimr_keras.models.data import FitArguments
from glimr_keras.models.folds import taken
from glimr_keras.oracles import Oracle
from glimr_keras.trials.trial import Trial
from glimr_keras.tuners.hooks import hypermodel_of
from glimr_keras.tuners.search import SearchSession
from glimr_keras.tuners.tuner import Tuner

Persistence = Literal["joblib", "skops"]


class SklearnTuner(Tuner):
    """Searches the hyperparameters of scikit-learn estimators, by cross validation in each trial.

    Args:
        oracle: With the objective `Objective("score", "max")`, or one of the names of `metrics`.
        hypermodel: A `HyperModel`, or a function, whose `build(hp)` returns an estimator or a
            pipeline.
        scoring: Called as `scoring(estimator, X, y, sample_weight=None)` with each part that was
            left out; by default the estimator's own `score`.
        metrics: One, or several, called as `metric(y_true, y_pred, sample_weight=None)`; recorded
            under their `__name__`.
        cv: A splitter of `sklearn.model_selection`; by default `KFold(5, shuffle=True,
            random_state=1)`.
        persistence: How the estimator of the last part is stored in the trial's directory:
            `"joblib"` (as `model.joblib`; like pickle, it may execute code when it is loaded), or
            `"skops"` (as `model.skops`; safe to load, needs the package skops). In a project at a
            URI, and by workers that do not share a file system with the driver, it is not stored.
        trusted: Names of types, such as `"sklearn.tree._tree.Tree"`, that skops may load though it
            does not know them as safe.
        **kwargs: The other arguments of `BaseTuner`.

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
        **kwargs: Any,
    ) -> None:
        if persistence not in ("joblib", "skops"):
            raise ValueError(
                f"`persistence` must be 'joblib' or 'skops'. Received: persistence={persistence!r}"
            )
        for package in ("sklearn", persistence):
            if importlib.util.find_spec(package) is None:
                wanted = "scikit-learn" if package == "sklearn" else package
                raise ImportError(f"SklearnTuner needs {wanted}. Install it: pip install {wanted}")
        super().__init__(oracle, hypermodel, **kwargs)
        self.scoring = scoring
        given: Any = () if metrics is None else metrics
        self.metrics: list[Any] = [*given] if isinstance(given, (list, tuple)) else [given]
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
        verbose: Any = 1,
    ) -> None:
        """Runs trials until the project has `max_trials`.

        Args:
            X: Samples, a NumPy array or a pandas DataFrame of shape (samples, features).
            y: Labels, a NumPy array, a pandas Series or a DataFrame of shape (samples,) or
                (samples, outputs).
            sample_weight: Of each sample, shape (samples,); of a pipeline, for its last step.
            groups: Of each sample, shape (samples,), for a `cv` that splits by groups.
            verbose: As for `Tuner.search`.

        Raises:
            TypeError: If `X` or `y` is something else.
        """
        for name, value in (("X", X), ("y", y)):
            if not isinstance(value, np.ndarray) and not hasattr(value, "iloc"):
                raise TypeError(
                    "Expected the data to be numpy.ndarray or pandas.DataFrame. "
                    f"Received: {name} of type {type(value).__name__}"
                )
        SearchSession(self).search(
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
