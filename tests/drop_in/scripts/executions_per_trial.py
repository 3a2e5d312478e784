"""Several executions of each trial: the score is the mean of their best epochs, and one checkpoint
is kept.
"""

import json
import os

import keras
import keras_tuner
import numpy as np

x = np.random.rand(64, 3)
y = x.sum(axis=1)


class Counting(keras_tuner.HyperModel):
    """Notes each execution in a file."""

    def __init__(self, directory):
        self.directory = directory

    def build(self, hp):
        model = keras.Sequential(
            [
                keras.Input((3,)),
                keras.layers.Dense(hp.Choice("units", [2, 4])),
                keras.layers.Dense(1),
            ]
        )
        model.compile("adam", "mse")
        return model

    def fit(self, hp, model, *args, **kwargs):
        history = model.fit(*args, **kwargs)
        if (
            history.epoch
        ):  # glimr_keras calls it once before the search, with a model that does not train
            with open(os.path.join(self.directory, f"{hp['units']}.jsonl"), "a") as file:
                file.write(json.dumps(min(history.history["val_loss"])) + "\n")
        return history


def main(directory, **tuner_options):
    tuner = keras_tuner.GridSearch(
        Counting(directory),
        objective="val_loss",
        executions_per_trial=3,
        overwrite=True,
        directory=directory,
        project_name="executions",
        **tuner_options,
    )
    tuner.search(x, y, epochs=2, validation_data=(x, y), verbose=0)
    means = {}
    for units in (2, 4):
        with open(os.path.join(directory, f"{units}.jsonl")) as file:
            means[units] = [json.loads(line) for line in file]
    trials = tuner.oracle.get_best_trials(2)
    best = trials[0]
    loss = tuner.get_best_models()[0].evaluate(x, y, verbose=0)
    return {
        "executions": [len(values) for values in means.values()],
        "means": [
            bool(np.isclose(np.mean(means[t.hyperparameters["units"]]), t.score, rtol=1e-4))
            for t in trials
        ],
        "attribute": tuner.executions_per_trial,
        "the best of the best is kept": bool(
            np.isclose(min(means[best.hyperparameters["units"]]), loss, rtol=1e-3)
        ),
        "metrics": sorted(best.metrics.metrics),
        "statuses": [trial.status for trial in trials],
        "trials": len(tuner.oracle.trials),
    }
