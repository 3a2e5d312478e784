"""Loops of layers whose number is tuned, with names made in the loop; the code of countless
notebooks.
"""

import keras_tuner as kt
import numpy as np
from tensorflow import keras
from tensorflow.keras import layers


def build_model(hp):
    model = keras.Sequential()
    model.add(layers.Input(shape=(8, 8, 1)))
    for i in range(hp.Int("conv_blocks", 1, 2, default=1)):
        model.add(
            layers.Conv2D(
                hp.Int(f"filters_{i}", 2, 8, step=2), 3, padding="same", activation="relu"
            )
        )
        if hp.Choice("pooling_" + str(i), ["avg", "max"]) == "max":
            model.add(layers.MaxPool2D())
        else:
            model.add(layers.AvgPool2D(2))
    model.add(layers.Flatten())
    for i in range(hp.Int("num_layers", 0, 2)):
        model.add(
            layers.Dense(
                units=hp.Int("units_" + str(i), min_value=4, max_value=8), activation="relu"
            )
        )
    model.add(layers.Dense(3, activation="softmax"))
    model.compile(
        optimizer=keras.optimizers.Adam(hp.Choice("learning_rate", [1e-2, 1e-3, 1e-4])),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    return model


def main(directory, **tuner_options):
    images, labels = np.random.rand(60, 8, 8, 1), np.random.randint(0, 3, 60)
    tuner = kt.RandomSearch(
        build_model,
        objective="val_accuracy",
        max_trials=4,
        executions_per_trial=1,
        directory=directory,
        project_name="loops",
        **tuner_options,
    )
    tuner.search(images, labels, epochs=1, validation_split=0.2, batch_size=16)
    consistent = []
    for hp, model in zip(tuner.get_best_hyperparameters(4), tuner.get_best_models(4), strict=True):
        dense = [layer.units for layer in model.layers if isinstance(layer, layers.Dense)][:-1]
        filters = [layer.filters for layer in model.layers if isinstance(layer, layers.Conv2D)]
        consistent.append(
            dense == [hp.get(f"units_{i}") for i in range(hp.get("num_layers"))]
            and filters == [hp.get(f"filters_{i}") for i in range(hp.get("conv_blocks"))]
        )
    names = {"conv_blocks", "filters_0", "pooling_0", "num_layers", "learning_rate"}
    return {
        "consistent": consistent,
        "always there": [names <= set(hp.values) for hp in tuner.get_best_hyperparameters(4)],
        "names": names <= {p.name for p in tuner.oracle.get_space().space},
        "first": {p["config"]["name"]: p for p in tuner.oracle.get_space().get_config()["space"]}[
            "filters_0"
        ],
        "statuses": [trial.status for trial in tuner.oracle.trials.values()],
        "output": list(tuner.get_best_models()[0].predict(images, verbose=0).shape),
    }
