"""`SklearnTuner`: families of models, cross validation with groups, a scorer and metrics."""

import keras_tuner as kt
import numpy as np
from sklearn import ensemble, linear_model, metrics, model_selection

x = np.random.RandomState(0).uniform(size=(60, 5))
y = (x[:, 0] > 0.5).astype("int")
groups = np.repeat(np.arange(12), 5)


def build_model(hp):
    model_type = hp.Choice("model_type", ["random_forest", "ridge"])
    if model_type == "random_forest":
        return ensemble.RandomForestClassifier(
            n_estimators=hp.Int("n_estimators", 3, 9, step=3),
            max_depth=hp.Int("max_depth", 2, 4),
            random_state=0,
        )
    return linear_model.RidgeClassifier(alpha=hp.Float("alpha", 1e-3, 1, sampling="log"))


def main(directory, **tuner_options):
    tuner = kt.tuners.SklearnTuner(
        oracle=kt.oracles.BayesianOptimizationOracle(
            objective=kt.Objective("score", "max"), max_trials=5
        ),
        hypermodel=build_model,
        scoring=metrics.make_scorer(metrics.accuracy_score),
        metrics=[metrics.accuracy_score, metrics.recall_score],
        cv=model_selection.GroupKFold(4),
        directory=directory,
        project_name="families",
        **tuner_options,
    )
    tuner.search(x, y, groups=groups, sample_weight=np.ones(60))
    default = kt.SklearnTuner(
        kt.oracles.RandomSearchOracle(objective=kt.Objective("score", "max"), max_trials=2),
        build_model,
        directory=directory,
        project_name="default",
        **tuner_options,
    )
    default.search(x, y)
    trials = tuner.oracle.get_best_trials(5)
    best = tuner.get_best_models(2)
    recorded = trials[0].metrics
    fresh = build_model(trials[0].hyperparameters)
    weights = {"sample_weight": np.ones(60)}  # with which a forest draws other samples than without
    folds = model_selection.cross_val_score(
        fresh, x, y, cv=model_selection.GroupKFold(4), groups=groups, params=weights
    )
    plain = default.oracle.get_best_trials()[0]
    folds_of_default = model_selection.KFold(5, shuffle=True, random_state=1)
    again = model_selection.cross_val_score(
        build_model(plain.hyperparameters), x, y, cv=folds_of_default
    )
    return {
        "statuses": [trial.status for trial in trials],
        "metrics": sorted(recorded.metrics),
        "same metric": bool(np.isclose(trials[0].score, recorded.get_best_value("accuracy_score"))),
        "score": bool(np.isclose(folds.mean(), trials[0].score)),
        "default folds": bool(np.isclose(again.mean(), plain.score)),
        "sorted": [t.score for t in trials] == sorted((t.score for t in trials), reverse=True),
        "models": [hasattr(model, "predict") for model in best],
        "fitted": list(best[0].predict(x).shape),
    }
