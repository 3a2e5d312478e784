"""Models of scikit-learn in an overridden `run_trial`, pickled into the trial's own directory."""

import os
import pickle

import keras_tuner
import numpy as np
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score

rng = np.random.default_rng(3)
x = rng.normal(size=(90, 4))
y = (x[:, 0] + x[:, 1] > 0).astype(int)


class SklearnModels(keras_tuner.HyperModel):
    def build(self, hp):
        model_type = hp.Choice("model_type", ["random_forest", "logistic"])
        with hp.conditional_scope("model_type", ["random_forest"]):
            trees, depth = hp.Int("n_estimators", 2, 6, step=2), hp.Int("max_depth", 2, 3)
        with hp.conditional_scope("model_type", ["logistic"]):
            regularisation = hp.Choice("C", [0.1, 1.0, 10.0])
        if model_type == "random_forest":
            return RandomForestClassifier(n_estimators=trees, max_depth=depth, random_state=0)
        return LogisticRegression(C=regularisation)


class SklearnSearch(keras_tuner.GridSearch):
    def run_trial(self, trial, x, y, folds=3):
        model = self.hypermodel.build(trial.hyperparameters)
        scores = cross_val_score(model, x, y, cv=folds)
        model.fit(x, y)
        with open(os.path.join(self.get_trial_dir(trial.trial_id), "model.pkl"), "wb") as file:
            pickle.dump(model, file)
        return {"score": scores.mean(), "deviation": scores.std()}


def main(directory, **tuner_options):
    tuner = SklearnSearch(
        SklearnModels(),
        objective=keras_tuner.Objective("score", "max"),
        directory=directory,
        project_name="forest",
        **tuner_options,
    )
    space = [(p.name, type(p).__name__, len(p.conditions)) for p in tuner.oracle.get_space().space]
    tuner.search(x, y, folds=4)
    trials = tuner.oracle.get_best_trials(20)
    best = trials[0]
    with open(os.path.join(tuner.get_trial_dir(best.trial_id), "model.pkl"), "rb") as file:
        model = pickle.load(file)
    again = cross_val_score(SklearnModels().build(best.hyperparameters), x, y, cv=4).mean()
    return {
        "space": space,
        "statuses": [trial.status for trial in trials],
        "metrics": sorted(best.metrics.metrics),
        "grid": sorted(sorted(map(str, trial.hyperparameters.values.items())) for trial in trials),
        "score": bool(np.isclose(again, best.score)),
        "predictions": list(model.predict(x).shape),
        "directory": os.path.basename(tuner.get_trial_dir(best.trial_id))
        == f"trial_{best.trial_id}",
    }
