"""A base model at the script's top, whose output and layers `build` uses; two trainings in `fit`,
the second counts.
"""

import keras_tuner as kt
import numpy as np
from tensorflow import keras
from tensorflow.keras import layers

rng = np.random.default_rng(0)
images = rng.random((48, 8, 8, 1)).astype("float32")
labels = (images.mean(axis=(1, 2, 3)) > 0.5).astype("float32")

inputs = keras.Input((8, 8, 1))
base = keras.Model(
    inputs,
    layers.Dense(6, name="features")(layers.Flatten()(layers.Conv2D(4, 3)(inputs))),
    name="base",
)
features = base.output


class FineTuned(kt.HyperModel):
    def build(self, hp):
        base.trainable = False
        hidden = layers.Dense(hp.Int("units", 2, 8), activation="relu")(features)
        model = keras.Model(base.input, layers.Dense(1, activation="sigmoid")(hidden))
        model.compile("adam", "binary_crossentropy", metrics=["accuracy"])
        return model

    def fit(self, hp, model, *args, **kwargs):
        model.fit(*args, **kwargs)
        for layer in base.layers[-hp.Choice("unfrozen", [1, 2]) :]:
            layer.trainable = True
        model.compile(keras.optimizers.Adam(1e-4), "binary_crossentropy", metrics=["accuracy"])
        history = model.fit(*args, **kwargs)
        history.history["trainable"] = [float(len(model.trainable_weights))] * len(history.epoch)
        return history


def main(directory, **tuner_options):
    tuner = kt.GridSearch(
        FineTuned(),
        "val_loss",
        max_trials=4,
        directory=directory,
        project_name="transfer",
        **tuner_options,
    )
    tuner.search(
        images[:32], labels[:32], validation_data=(images[32:], labels[32:]), epochs=2, verbose=0
    )
    trials = [trial for _, trial in sorted(tuner.oracle.trials.items())]
    return {
        "statuses": [trial.status for trial in trials],
        "space": sorted(hp.name for hp in tuner.oracle.get_space().space),
        "trainable": sorted(
            (trial.hyperparameters.get("unfrozen"), trial.metrics.get_best_value("trainable"))
            for trial in trials
            if "unfrozen" in trial.hyperparameters
        )[-1],
        "layers": [type(layer).__name__ for layer in tuner.get_best_models()[0].layers],
    }
