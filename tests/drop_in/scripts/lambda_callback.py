"""Callbacks that append to lists of the script: a `LambdaCallback`, hooks of a tuner, and a black
box.
"""

import keras
import keras_tuner as kt
import numpy as np

losses, begun = [], []


def build_model(hp):
    model = keras.Sequential(
        [keras.layers.Dense(hp.Choice("units", [2, 4, 8])), keras.layers.Dense(1)]
    )
    model.compile("adam", "mse")
    return model


class BlackBox(kt.RandomSearch):
    history = []

    def run_trial(self, trial, *args, **kwargs):
        x = trial.hyperparameters.Int("x", 0, 1000)
        self.history.append(x)
        return x


def main(directory, **tuner_options):
    x, y = np.random.rand(32, 2), np.random.rand(32)
    tuner = kt.RandomSearch(
        build_model,
        "loss",
        max_trials=2,
        directory=directory,
        project_name="lists",
        **tuner_options,
    )
    on_epoch_end = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: losses.append((epoch, logs["loss"])),
        on_train_begin=lambda logs: begun.append(1),
    )
    tuner.search(x, y, epochs=2, callbacks=[on_epoch_end], verbose=0)
    box = BlackBox(max_trials=3, directory=directory, project_name="box", **tuner_options)
    box.search()
    best = min(loss for _, loss in losses)
    return {
        "epochs": sorted(epoch for epoch, _ in losses),
        "begun": len(begun),
        "best": best == tuner.oracle.get_best_trials()[0].score,
        "history": sorted(box.history)
        == sorted(trial.score for trial in box.oracle.trials.values()),
    }
