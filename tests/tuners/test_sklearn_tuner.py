"""Searches over scikit-learn's estimators."""

import pathlib
import pickle
import sys
import types

import numpy as np
import pandas as pd
import pytest
from sklearn import (
    datasets,
    ensemble,
    linear_model,
    metrics,
    model_selection,
    pipeline,
    preprocessing,
)
from sklearn.base import BaseEstimator, ClassifierMixin

import glimr_keras as gk
from glimr_keras.errors import CheckpointError, ObjectiveError

X, Y = datasets.load_iris(return_X_y=True)
SCORE = gk.Objective("score", "max")


def forest(hp):
    return ensemble.RandomForestClassifier(
        hp.Int("trees", 2, 8), max_depth=hp.Int("depth", 1, 4), random_state=0
    )


def scaled(hp):
    logistic = linear_model.LogisticRegression(C=hp.Float("C", 1e-3, 10.0, sampling="log"))
    return pipeline.Pipeline([("scale", preprocessing.StandardScaler()), ("logistic", logistic)])


def tuner_of(directory, build=forest, objective=SCORE, max_trials=2, **options):
    oracle = gk.oracles.RandomSearchOracle(objective, max_trials, seed=1)
    return gk.SklearnTuner(
        oracle, build, directory=directory, project_name="p", executor="inline", **options
    )


def test_the_score_is_the_mean_of_the_parts(tmp_path):
    cv = model_selection.StratifiedKFold(3, shuffle=True, random_state=2)
    tuner = tuner_of(tmp_path, cv=cv)
    tuner.search(X, Y, verbose=0)
    for trial in tuner.oracle.trials.values():
        expected = model_selection.cross_val_score(
            forest(trial.hyperparameters), X, Y, cv=cv
        ).mean()
        assert trial.score == pytest.approx(expected)
    (model,) = tuner.get_best_models()
    assert model.predict(X).shape == Y.shape
    assert set(tuner.results_dataframe()) >= {"trees", "depth"}


def test_scoring_and_metrics_are_those_that_are_asked_for(tmp_path):
    tuner = tuner_of(
        tmp_path,
        objective=gk.Objective("accuracy_score", "max"),
        scoring=metrics.make_scorer(metrics.balanced_accuracy_score),
        metrics=[metrics.accuracy_score, metrics.zero_one_loss],
    )
    tuner.search(X, pd.Series(Y), verbose=0)
    trial = tuner.oracle.get_best_trials()[0]
    found = {
        name: trial.metrics.get_last_value(name)
        for name in ("score", "accuracy_score", "zero_one_loss")
    }
    assert trial.score == found["accuracy_score"] == pytest.approx(1 - found["zero_one_loss"])
    assert 0 < found["score"] <= 1


def test_groups_are_kept_together(tmp_path):
    groups = np.arange(len(Y)) % 5
    seen = []

    class Splits(model_selection.GroupKFold):
        def split(self, samples, y=None, groups=None):
            seen.append(groups)
            return super().split(samples, y, groups)

    tuner_of(tmp_path, cv=Splits(5), max_trials=1).search(X, Y, groups=groups, verbose=0)
    assert all(np.array_equal(each, groups) for each in seen)
    assert seen


def test_weights_go_to_the_last_step_and_to_the_score(tmp_path):
    weights = np.where(Y == 0, 100.0, 1e-6)  # the others hardly count
    tuner = tuner_of(tmp_path, scaled, cv=model_selection.KFold(3, shuffle=True, random_state=0))
    tuner.search(pd.DataFrame(X), Y, sample_weight=weights, verbose=0)
    assert tuner.oracle.get_best_trials()[0].score == pytest.approx(1.0, abs=1e-3)
    assert (tuner.get_best_models()[0].predict(pd.DataFrame(X)) == 0).mean() > 0.5


def test_skops_loads_what_is_trusted(tmp_path):
    pytest.importorskip("skops")
    tuner = tuner_of(tmp_path, persistence="skops", max_trials=1)
    tuner.search(X, Y, verbose=0)
    assert pathlib.Path(tuner.get_trial_dir("0"), "model.skops").exists()
    with pytest.raises(
        CheckpointError, match=r"pass them as `trusted`, by name\. .*sklearn\.tree\._tree\.Tree"
    ):
        tuner.get_best_models()
    trusting = tuner_of(
        tmp_path, persistence="skops", max_trials=1, trusted=["sklearn.tree._tree.Tree"]
    )
    assert trusting.get_best_models()[0].predict(X).shape == Y.shape


def test_a_class_of_the_script_is_stored_where_its_module_is_not_known(tmp_path, monkeypatch):
    """As in a worker: the class comes by value, and `__main__` has no such name."""
    script = types.ModuleType("script_of_the_user")
    monkeypatch.setitem(sys.modules, script.__name__, script)

    class Constant(ClassifierMixin, BaseEstimator):
        def fit(self, samples, y):
            self.classes_ = np.unique(y)
            return self

        def predict(self, samples):
            return np.full(len(samples), self.classes_[0])

    Constant.__module__, Constant.__qualname__ = "__main__", "Constant"

    def build(hp):
        hp.Boolean("flag")
        return Constant()

    tuner = tuner_of(tmp_path, build, max_trials=1)
    tuner.search(X, Y, verbose=0)
    path = pathlib.Path(tuner.get_trial_dir("0"), "model.joblib")
    with pytest.raises(Exception, match="Constant"):
        pickle.dumps(Constant())
    assert path.stat().st_size > 0
    assert (tuner.get_best_models()[0].predict(X) == 0).all()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"objective": gk.Objective("scor", "max")}, ObjectiveError, "Did you mean 'score'"),
        (
            {"objective": gk.Objective("f1", "max"), "metrics": metrics.f1_score},
            ObjectiveError,
            "f1_score",
        ),
        ({"persistence": "pickle"}, ValueError, "`persistence` must be 'joblib' or 'skops'"),
        ({"persistence": "nowhere_to_be_found"}, ValueError, "`persistence` must be"),
    ],
)
def test_wrong_arguments_are_refused(tmp_path, options, error, message):
    with pytest.raises(error, match=message):
        tuner_of(tmp_path, **options)


def test_data_of_other_kinds_is_refused(tmp_path):
    with pytest.raises(
        TypeError, match=r"numpy\.ndarray or pandas\.DataFrame\. Received: X of type list"
    ):
        tuner_of(tmp_path).search([[1.0]], Y)
    with pytest.raises(TypeError, match="Received: y of type list"):
        tuner_of(tmp_path).search(X, [1.0])


def test_an_estimator_that_is_gone_is_named(tmp_path):
    tuner = tuner_of(tmp_path, max_trials=1)
    tuner.search(X, Y, verbose=0)
    pathlib.Path(tuner.get_trial_dir("0"), "model.joblib").unlink()
    with pytest.raises(CheckpointError, match="The estimator of trial 0 is not in"):
        tuner.get_best_models()
