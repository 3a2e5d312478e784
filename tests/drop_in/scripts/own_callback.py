"""A callback class of one's own: copied for each execution, told everything that Keras tells, and
not itself changed.
"""

import json
import os

import keras
import keras_tuner
import numpy as np


class Recorder(keras.callbacks.Callback):
    def __init__(self, directory):
        super().__init__()
        self.directory = directory
        self.epochs = []

    def on_train_begin(self, logs=None):
        self.epochs = []

    def on_epoch_end(self, epoch, logs=None):
        self.epochs.append([epoch, sorted(logs)])

    def on_train_end(self, logs=None):
        units = self.model.layers[0].units
        with open(os.path.join(self.directory, f"units_{units}.json"), "w") as file:
            json.dump(
                {
                    "epochs": self.epochs,
                    "params": sorted(self.params),
                    "steps": self.params["steps"],
                },
                file,
            )


class Unsafe(keras.callbacks.Callback):
    def __deepcopy__(self, memo):
        raise ValueError("not to be copied")

    def __reduce__(self):
        raise ValueError("not to be copied")


def build_model(hp):
    model = keras.Sequential(
        [keras.layers.Dense(hp.Choice("units", [3, 5])), keras.layers.Dense(1)]
    )
    model.compile("adam", "mse", metrics=["mae"])
    return model


def main(directory, **tuner_options):
    x, y = np.random.rand(40, 2), np.random.rand(40)
    recorder = Recorder(directory)
    tuner = keras_tuner.GridSearch(
        build_model, "val_mae", directory=directory, project_name="recorded", **tuner_options
    )
    tuner.search(
        x, y, epochs=2, batch_size=8, validation_data=(x, y), callbacks=[recorder], verbose=0
    )
    written = {}
    for name in sorted(os.listdir(directory)):
        if name.endswith(".json"):
            with open(os.path.join(directory, name)) as file:
                written[name] = json.load(file)
    unsafe = keras_tuner.RandomSearch(
        build_model, "loss", directory=directory, project_name="unsafe", **tuner_options
    )
    try:
        unsafe.search(x, y, callbacks=[Unsafe()], verbose=0)
        refused = False
    except ValueError:
        refused = True
    return {
        "written": written,
        "recorder": recorder.epochs,
        "refused": refused,
        "trials": len(tuner.oracle.trials),
    }
