"""Keyword arguments of one's own that go through `search` to `fit`, lambdas as hypermodels, and the
default project.
"""

import os

import keras
import keras_tuner
import numpy as np


class Windowed(keras_tuner.HyperModel):
    def build(self, hp):
        model = keras.Sequential([keras.layers.Dense(hp.Int("units", 1, 8)), keras.layers.Dense(1)])
        model.compile("sgd", "mse")
        return model

    def fit(self, hp, model, data, *args, target_column, window=1, sample_weight=None, **kwargs):
        x, y = np.delete(data, target_column, axis=1)[:-window], data[window:, target_column]
        history = model.fit(x, y, *args, sample_weight=sample_weight[window:], **kwargs)
        return {
            "val_loss": history.history["val_loss"][-1],
            "window": float(window),
            "columns": float(x.shape[1]),
        }


def main(directory, **tuner_options):
    os.makedirs(os.path.join(directory, "models"))
    data = np.random.rand(50, 4)
    tuner = keras_tuner.RandomSearch(
        Windowed(),
        "val_loss",
        max_trials=2,
        directory=os.path.join(directory, "models"),
        **tuner_options,
    )
    tuner.search(
        data,
        target_column=2,
        window=3,
        sample_weight=np.ones(50),
        validation_split=0.2,
        epochs=1,
        batch_size=10,
        verbose=0,
    )
    trial = tuner.oracle.get_best_trials()[0]

    def build(hp, activation):
        model = keras.Sequential(
            [keras.layers.Dense(hp.Int("units", 1, 8), activation), keras.layers.Dense(1)]
        )
        model.compile("sgd", "mse", metrics=["mae"])
        return model

    closure = keras_tuner.RandomSearch(
        lambda hp: build(hp, activation="tanh"),
        "val_mae",
        max_trials=1,
        directory=directory,
        project_name="l",
        **tuner_options,
    )
    closure.search(data[:, :3], data[:, 3], validation_data=(data[:, :3], data[:, 3]))
    return {
        "metrics": {name: trial.metrics.get_last_value(name) for name in ("window", "columns")},
        "statuses": [
            t.status for t in [*tuner.oracle.trials.values(), *closure.oracle.trials.values()]
        ],
        "default": len(Windowed().build(keras_tuner.HyperParameters()).layers),
        "project": os.listdir(os.path.join(directory, "models")),
        "returned": [tuner.search(data, target_column=0, verbose=0), tuner.results_summary()],
        "activation": closure.get_best_models()[0].layers[0].activation.__name__,
        "best": len(closure.get_best_hyperparameters(5)),
    }
