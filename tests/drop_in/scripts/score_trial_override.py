"""Oracles that score trials in their own way, and watch trials come and go in `@synchronized`
methods.
"""

import keras
import keras_tuner as kt
import numpy as np
from keras_tuner import synchronized
from keras_tuner.oracles import RandomSearchOracle


class Penalised(RandomSearchOracle):
    """Small models win: the score is the number of units."""

    def score_trial(self, trial):
        trial.score = float(trial.hyperparameters.get("units"))
        trial.best_step = 0


class Watching(RandomSearchOracle):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.events = []

    @synchronized
    def create_trial(self, tuner_id):
        trial = super().create_trial(tuner_id)
        self.events.append(("create", trial.status))
        return trial

    @synchronized
    def update_trial(self, trial_id, metrics, step=0):
        self.events.append(("update", sorted(metrics)))
        return super().update_trial(trial_id, metrics, step=step)

    @synchronized
    def end_trial(self, trial):
        super().end_trial(trial)
        self.events.append(("end", trial.status))


def build_model(hp):
    model = keras.Sequential(
        [keras.layers.Dense(hp.Int("units", 2, 30), activation="relu"), keras.layers.Dense(1)]
    )
    model.compile("sgd", "mse")
    return model


def main(directory, **tuner_options):
    x, y = np.random.rand(40, 2), np.random.rand(40)
    penalised = kt.Tuner(
        Penalised(objective="val_loss", max_trials=3),
        build_model,
        directory=directory,
        project_name="score",
        **tuner_options,
    )
    penalised.search(x, y, validation_split=0.25, epochs=1, verbose=0)
    watching = Watching(objective="loss", max_trials=2)
    tuner = kt.Tuner(
        watching, build_model, directory=directory, project_name="watch", **tuner_options
    )
    tuner.search(x, y, epochs=1, verbose=0)
    units = [trial.hyperparameters["units"] for trial in penalised.oracle.trials.values()]
    return {
        "best": penalised.get_best_hyperparameters()[0]["units"] == min(units),
        "scores": [t.score for t in penalised.oracle.get_best_trials(3)] == sorted(units),
        "oracle": tuner.oracle is watching,
        "created": sum(event == ("create", "RUNNING") for event in watching.events),
        "last created": ("create", "STOPPED") in watching.events,
        "updates": [event[1] for event in watching.events if event[0] == "update"],
        "ends": [event[1] for event in watching.events if event[0] == "end"],
    }
