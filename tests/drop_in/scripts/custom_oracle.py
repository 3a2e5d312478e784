"""An `Oracle` of one's own that proposes fixed configurations, in the base `Tuner`."""

import keras
import keras_tuner
import numpy as np


class ListOracle(keras_tuner.Oracle):
    """Tries the configurations of a list, one after the other."""

    def __init__(self, points, **kwargs):
        super().__init__(**kwargs)
        self.points = points

    def populate_space(self, trial_id):
        number = len(self.start_order)
        if number >= len(self.points):
            return {"status": "STOPPED", "values": None}
        return {"status": "RUNNING", "values": dict(self.points[number])}


def build_model(hp):
    units = hp.Int("units", 2, 32)
    model = keras.Sequential(
        [keras.layers.Dense(units, activation=hp.Choice("activation", ["relu", "tanh"]))]
    )
    model.add(keras.layers.Dense(1))
    model.compile("adam", "mse")
    return model


def main(directory, **tuner_options):
    x, y = np.random.rand(40, 2), np.random.rand(40)
    points = [
        {"units": 3, "activation": "tanh"},
        {"units": 5, "activation": "relu"},
        {"units": 7, "activation": "relu"},
    ]
    tuner = keras_tuner.Tuner(
        oracle=ListOracle(points, objective=keras_tuner.Objective("loss", "min"), max_trials=10),
        hypermodel=build_model,
        directory=directory,
        project_name="points",
        **tuner_options,
    )
    tuner.search(x, y, epochs=1, verbose=0)
    finished = tuner.oracle.trials
    bounded = keras_tuner.Tuner(
        ListOracle(points, objective="loss", max_trials=1),
        build_model,
        directory=directory,
        project_name="one",
        **tuner_options,
    )
    bounded.search(x, y, epochs=1, verbose=0)
    try:
        proposing_nothing = keras_tuner.Tuner(
            keras_tuner.Oracle("loss"),
            build_model,
            directory=directory,
            project_name="none",
            **tuner_options,
        )
        proposing_nothing.search(x, y, verbose=0)
        base = None
    except NotImplementedError:
        base = "not implemented"
    return {
        "values": sorted(
            (t.hyperparameters["units"], t.hyperparameters["activation"]) for t in finished.values()
        ),
        "ids": sorted(finished),
        "statuses": [trial.status for trial in finished.values()],
        "width of the best": tuner.get_best_models()[0].layers[0].units
        == tuner.get_best_hyperparameters()[0]["units"],
        "bounded": len(bounded.oracle.trials),
        "remaining": [tuner.remaining_trials, bounded.remaining_trials],
        "ongoing": len(tuner.oracle.ongoing_trials),
        "ended": sorted(tuner.oracle.end_order) == sorted(tuner.oracle.start_order),
        "base": base,
    }
