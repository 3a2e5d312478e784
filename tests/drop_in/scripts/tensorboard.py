"""The `TensorBoard` callback, which gets a directory for each execution of each trial."""

import os

import keras
import keras_tuner
import numpy as np


def build_model(hp):
    model = keras.Sequential(
        [keras.layers.Dense(hp.Int("units", 2, 20), activation="relu"), keras.layers.Dense(1)]
    )
    model.compile("adam", "mse")
    return model


def main(directory, **tuner_options):
    x, y = np.random.rand(32, 2), np.random.rand(32)
    logs = os.path.join(directory, "tb_logs")
    tuner = keras_tuner.RandomSearch(
        build_model,
        max_trials=2,
        executions_per_trial=2,
        objective="val_loss",
        directory=directory,
        project_name="boards",
        **tuner_options,
    )
    tensorboard = keras.callbacks.TensorBoard(logs)
    tuner.search(x, y, validation_split=0.2, epochs=1, callbacks=[tensorboard])
    found = [
        os.path.relpath(folder, logs)
        for folder, _, files in os.walk(logs)
        if any("tfevents" in name for name in files)
    ]
    return {
        "statuses": [trial.status for trial in tuner.oracle.trials.values()],
        "trials": sorted(os.listdir(logs)),
        "executions": {
            name: sorted(os.listdir(os.path.join(logs, name))) for name in sorted(os.listdir(logs))
        },
        "training": sorted(name for name in found if os.path.basename(name) == "train"),
        "own": tensorboard.log_dir == logs,
    }
