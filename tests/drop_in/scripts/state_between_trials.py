"""Trials that keep state: counters, a list that is consumed, a dict that `load_model` reads, files
that are named by a counter, and the best so far.
"""

import os

import keras
import keras_tuner as kt
import numpy as np

x, y = np.random.rand(32, 2), np.random.rand(32)
SETS = [{"units": 2, "activation": "relu"}, {"units": 4, "activation": "tanh"}, {"units": 8}]
fits = 0


class OwnFit(kt.HyperModel):
    best = None

    def build(self, hp):
        model = keras.Sequential(
            [keras.layers.Dense(hp.Int("units", 2, 50)), keras.layers.Dense(1)]
        )
        model.compile("adam", "mse")
        return model

    def fit(self, hp, model, *args, **kwargs):
        global fits  # noqa: PLW0603
        history = model.fit(*args, **kwargs)
        fits += 1
        loss = history.history["loss"][-1]
        if self.best is None or loss < self.best:
            self.best = loss
        return loss


class Predefined(kt.RandomSearch):
    """Each trial takes the next of the sets."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.n = 0
        self.models, self.scores = {}, []

    def run_trial(self, trial, directory):
        trial.hyperparameters.Int("unused", 0, 1000)
        chosen = SETS.pop(0)
        model = keras.Sequential([keras.layers.Dense(**chosen), keras.layers.Dense(1)])
        model.compile("adam", "mse")
        loss = model.fit(x, y, verbose=0).history["loss"][-1]
        self.n += 1
        model.save_weights(os.path.join(directory, f"model_{self.n}.weights.h5"))
        self.models[trial.trial_id] = model
        self.scores.append(loss)
        return loss

    def load_model(self, trial):
        return self.models[trial.trial_id]


def main(directory, **tuner_options):
    hypermodel = OwnFit()
    options = {"max_trials": 3, "directory": directory, **tuner_options}
    tuner = kt.RandomSearch(hypermodel, project_name="fits", **options)
    tuner.search(x, y, verbose=0)

    predefined = Predefined(project_name="sets", **options)
    predefined.search(directory)
    best = predefined.get_best_models()[0]
    trials = predefined.oracle.get_best_trials(3)
    return {
        "fits": fits,
        "best": hypermodel.best == tuner.oracle.get_best_trials()[0].score,
        "left": len(SETS),
        "n": predefined.n,
        "files": sorted(name for name in os.listdir(directory) if name.endswith(".h5")),
        "scores": sorted(predefined.scores) == [trial.score for trial in trials],
        "is_best": best is predefined.models[trials[0].trial_id],
        "units": sorted(model.layers[0].units for model in predefined.models.values()),
    }
