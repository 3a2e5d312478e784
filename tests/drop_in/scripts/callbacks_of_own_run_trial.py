"""A `run_trial` that trains by itself, with the callbacks that `search` was given: where the best
model is afterwards.
"""

import os

import keras
import keras_tuner
import numpy as np

rng = np.random.default_rng(3)
x = rng.normal(size=(64, 4)).astype("float32")
y = x.sum(axis=1, keepdims=True)


def build(hp):
    model = keras.Sequential(
        [keras.layers.Input((4,)), keras.layers.Dense(1, kernel_initializer="zeros")]
    )
    model.compile(keras.optimizers.SGD(hp.Choice("rate", [0.1, 0.01, 0.001])), "mse")
    return model


class MyTuner(keras_tuner.GridSearch):
    def run_trial(self, trial, train, valid, epochs, callbacks):
        model = self.hypermodel.build(trial.hyperparameters)
        history = model.fit(
            *train, validation_data=valid, epochs=epochs, callbacks=callbacks, verbose=0
        )
        return min(history.history["val_loss"])


def main(directory, **tuner_options):
    path = os.path.join(directory, "best.keras")
    tuner = MyTuner(build, "val_loss", directory=directory, project_name="own", **tuner_options)
    keep = keras.callbacks.ModelCheckpoint(path, monitor="val_loss", save_best_only=True)
    tuner.search((x[:48], y[:48]), (x[48:], y[48:]), epochs=3, callbacks=[keep])
    best = tuner.oracle.get_best_trials()[0]
    return {
        "trials": len(tuner.oracle.trials),
        "rate": best.hyperparameters.get("rate"),
        "the best of all is kept": bool(
            np.isclose(
                keras.models.load_model(path).evaluate(x[48:], y[48:], verbose=0),
                best.score,
                atol=1e-6,
            )
        ),
    }
