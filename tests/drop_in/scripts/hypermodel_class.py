"""A `HyperModel` with arguments of its own, kept by the tuner; the winner is built again and
retrained on all data.
"""

import keras
import numpy as np
from keras import layers
from keras_tuner import HyperModel
from keras_tuner.tuners import RandomSearch


class RegressionModel(HyperModel):
    def __init__(self, input_shape, outputs=1):
        self.input_shape = input_shape
        self.outputs = outputs

    def build(self, hp):
        model = keras.Sequential([layers.Input(self.input_shape)])
        model.add(
            layers.Dense(
                units=hp.Int("units", 8, 16, 4, default=8),
                activation=hp.Choice(
                    "dense_activation", values=["relu", "tanh", "sigmoid"], default="relu"
                ),
            )
        )
        model.add(
            layers.Dropout(
                hp.Float("dropout", min_value=0.0, max_value=0.1, default=0.005, step=0.01)
            )
        )
        model.add(layers.Dense(self.outputs))
        model.compile(optimizer="rmsprop", loss="mse", metrics=["mse"])
        return model


def main(directory, **tuner_options):
    x = np.random.rand(120, 5).astype("float32")
    y = np.stack([x.sum(axis=1), x.prod(axis=1)], axis=1)
    hypermodel = RegressionModel(input_shape=(5,), outputs=2)
    tuner = RandomSearch(
        hypermodel,
        objective="mse",
        seed=42,
        max_trials=3,
        executions_per_trial=1,
        directory=directory,
        **tuner_options,
    )
    tuner.search(x, y, epochs=1, validation_split=0.2, verbose=0)
    best_hp = tuner.get_best_hyperparameters(num_trials=1)[0]
    model = tuner.hypermodel.build(best_hp)
    history = model.fit(x, y, epochs=3, verbose=0)
    trial = tuner.oracle.get_best_trials()[0]
    return {
        "type": isinstance(tuner.hypermodel, HyperModel),
        "arguments": list(getattr(tuner.hypermodel, "input_shape", [])),
        "parameters": model.count_params()
        == (5 * best_hp["units"] + best_hp["units"]) + 2 * best_hp["units"] + 2,
        "epochs": len(history.history["loss"]),
        "project": [tuner.project_name, tuner.directory == directory],
        "classes": [entry["class_name"] for entry in best_hp.get_config()["space"]],
        "defaults": {parameter.name: parameter.default for parameter in best_hp.space},
        "metrics": {
            name: metric.direction for name, metric in sorted(trial.metrics.metrics.items())
        },
        "objective": str(tuner.oracle.objective),
        "steps of units": all(
            t.hyperparameters["units"] in (8, 12, 16) for t in tuner.oracle.trials.values()
        ),
    }
