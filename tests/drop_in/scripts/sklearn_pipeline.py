"""`SklearnTuner` with a pipeline on a data frame, with sample weights for a regressor, and what it
says about other data.
"""

import os

import keras_tuner as kt
import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.linear_model import Ridge
from sklearn.model_selection import KFold
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeRegressor

frame = pd.DataFrame(np.random.RandomState(1).normal(size=(50, 3)), columns=["a", "b", "c"])
target = frame["a"] * 2 + frame["b"]
weights = np.linspace(0.5, 1.5, 50)


def pipeline(hp):
    regressor = Ridge(
        alpha=hp.Float("alpha", 1e-3, 10.0, sampling="log"), fit_intercept=hp.Boolean("intercept")
    )
    return Pipeline(
        [
            ("scale", StandardScaler(with_mean=hp.Boolean("mean", default=True))),
            ("ridge", regressor),
        ]
    )


class WeightedTree(RegressorMixin, BaseEstimator):
    """A model that is not scikit-learn's own."""

    def __init__(self, max_depth):
        self.max_depth = max_depth

    def fit(self, X, y, sample_weight=None):
        self.tree_ = DecisionTreeRegressor(max_depth=self.max_depth, random_state=0).fit(
            X, y, sample_weight=sample_weight
        )
        return self

    def predict(self, X):
        return self.tree_.predict(X)


def tree(hp):
    return WeightedTree(max_depth=hp.Int("max_depth", 1, 5))


def tuner_of(function, directory, name, options):
    oracle = kt.oracles.RandomSearchOracle(
        objective=kt.Objective("score", "max"), max_trials=3, seed=5
    )
    return kt.SklearnTuner(
        oracle, function, cv=KFold(3), directory=directory, project_name=name, **options
    )


def main(directory, **tuner_options):
    first = tuner_of(pipeline, directory, "pipeline", tuner_options)
    first.search(frame, pd.DataFrame(target, columns=["target"]))
    second = tuner_of(tree, directory, "weights", tuner_options)
    second.search(frame.to_numpy(), target.to_numpy(), sample_weight=weights)
    try:
        tuner_of(tree, directory, "lists", {**tuner_options}).search(
            [[1.0], [2.0], [3.0]], [1.0, 2.0, 3.0]
        )
        said = None
    except (TypeError, RuntimeError) as error:
        said = "numpy.ndarray or pandas.DataFrame" in str(error)
    best = second.oracle.get_best_trials()[0]
    files = os.listdir(second.get_trial_dir(best.trial_id))
    model = first.get_best_models()[0]
    scores = []
    x, y = frame.to_numpy(), target.to_numpy()
    for train, test in KFold(3).split(x):
        fitted = tree(best.hyperparameters).fit(x[train], y[train], sample_weight=weights[train])
        scores.append(fitted.score(x[test], y[test], sample_weight=weights[test]))
    return {
        "statuses": [t.status for t in first.oracle.trials.values()]
        + [t.status for t in second.oracle.trials.values()],
        "space": sorted(p.name for p in first.oracle.get_space().space),
        "steps": [name for name, step in model.steps],
        "predictions": list(model.predict(frame).shape)[:1],
        "weights": bool(np.isclose(np.mean(scores), best.score)),
        "files": ["trial.json" in files, any(name.startswith("model.") for name in files)],
        "lists": said,
    }
