"""A second script reads the results of a first: another tuner on the same project, `reload()`, the
best, and no search.
"""

import keras
import numpy as np
from keras_tuner import BayesianOptimization, HyperModel

x, y = np.random.rand(40, 3), np.random.rand(40)


class Model(HyperModel):
    def build(self, hp):
        model = keras.Sequential(
            [keras.Input((3,)), keras.layers.Dense(hp.Int("units", 2, 40)), keras.layers.Dense(1)]
        )
        model.compile("adam", "mae")
        return model


def dummy(hp):
    hp.Int("other", 0, 1)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile("adam", "mae")
    return model


def main(directory, **tuner_options):
    options = {"directory": directory, "project_name": "results", **tuner_options}
    first = BayesianOptimization(Model(), objective="val_loss", max_trials=3, **options)
    first.search(x, y, validation_split=0.5, epochs=1, verbose=0)
    second = BayesianOptimization(Model(), objective="val_loss", max_trials=3, **options)
    second.reload()
    third = BayesianOptimization(dummy, objective="val_loss", max_trials=3, **options)
    third.reload()
    scores = [trial.score for trial in first.oracle.get_best_trials(3)]
    values = [hp.values for hp in first.get_best_hyperparameters(3)]
    models = second.get_best_models(num_models=2)
    losses = [model.evaluate(x[20:], y[20:], verbose=0) for model in models]
    state = first.oracle.get_state()
    return {
        "scores": [
            [trial.score for trial in tuner.oracle.get_best_trials(3)] == scores
            for tuner in (second, third)
        ],
        "values": [
            [hp.values for hp in tuner.get_best_hyperparameters(3)] == values
            for tuner in (second, third)
        ],
        "losses": bool(np.allclose(losses, scores[:2], rtol=1e-3)),
        "remaining": [second.remaining_trials, third.remaining_trials],
        "space": [p.name for p in second.oracle.get_space().space],
        "state": [
            key in state
            for key in ("hyperparameters", "start_order", "end_order", "ongoing_trials", "seed")
        ],
    }
