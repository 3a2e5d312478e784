"""`on_epoch_end`, `on_batch_end` and `run_trial` overridden, calling `super()`; epochs and batch
size are tuned there.
"""

import json
import os

import keras
import keras_tuner as kt
import numpy as np

x, y = np.random.rand(32, 2), np.random.rand(32)


def build_model(hp):
    model = keras.Sequential([keras.layers.Dense(hp.Int("units", 2, 50)), keras.layers.Dense(1)])
    model.compile("adam", "mse")
    return model


class MyTuner(kt.BayesianOptimization):
    def run_trial(self, trial, *args, **kwargs):
        kwargs["batch_size"] = trial.hyperparameters.Int("batch_size", 8, 16, step=8)
        kwargs["epochs"] = trial.hyperparameters.Int("epochs", 2, 3)
        return super().run_trial(trial, *args, **kwargs)

    def on_epoch_begin(self, trial, model, epoch, logs=None):
        self.note(trial, "begin")

    def on_batch_end(self, trial, model, batch, logs=None):
        self.note(trial, "batch")

    def on_epoch_end(self, trial, model, epoch, logs=None):
        super().on_epoch_end(trial, model, epoch, logs=logs)
        assert isinstance(model, keras.Model) and "loss" in logs
        self.note(trial, "end")

    def note(self, trial, what):
        with open(os.path.join(self.get_trial_dir(trial.trial_id), "notes.txt"), "a") as file:
            file.write(what + "\n")


def main(directory, **tuner_options):
    tuner = MyTuner(
        build_model,
        objective="loss",
        max_trials=2,
        directory=directory,
        project_name="epochs",
        **tuner_options,
    )
    tuner.search(x, y, verbose=0)
    rows = []
    for trial in tuner.oracle.trials.values():
        with open(
            os.path.join(directory, "epochs", f"trial_{trial.trial_id}", "notes.txt")
        ) as file:
            notes = file.read().split()
        hp = trial.hyperparameters
        epochs = hp.get("epochs")
        batches = epochs * 32 // hp.get("batch_size")
        rows.append(
            [
                notes.count("begin") == epochs,
                notes.count("end") == epochs,
                notes.count("batch") == batches,
            ]
        )
    return {
        "rows": rows,
        "statuses": [trial.status for trial in tuner.oracle.trials.values()],
        "space": sorted(p.name for p in tuner.oracle.get_space().space),
        "values": sorted(tuner.get_best_hyperparameters()[0].values),
        "state": json.dumps(tuner.get_state()),
    }
