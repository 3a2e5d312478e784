"""The quick start of most tutorials: a function, `RandomSearch`, the best hyperparameters and the
best model.
"""

import keras
import keras_tuner
import numpy as np

rng = np.random.default_rng(0)
x_train, x_val = rng.normal(size=(96, 4)), rng.normal(size=(32, 4))
y_train, y_val = x_train.sum(axis=1), x_val.sum(axis=1)


def build_model(hp):
    model = keras.Sequential()
    model.add(keras.layers.Dense(hp.Choice("units", [4, 8, 16]), activation="relu"))
    if hp.Boolean("dropout"):
        model.add(keras.layers.Dropout(0.25))
    model.add(keras.layers.Dense(1))
    model.compile(
        optimizer=keras.optimizers.Adam(
            hp.Float("lr", min_value=1e-4, max_value=1e-2, sampling="log")
        ),
        loss="mse",
    )
    return model


def main(directory, **tuner_options):
    built = build_model(keras_tuner.HyperParameters())
    tuner = keras_tuner.RandomSearch(
        build_model,
        objective="val_loss",
        max_trials=3,
        directory=directory,
        project_name="first",
        **tuner_options,
    )
    tuner.search(x_train, y_train, epochs=2, validation_data=(x_val, y_val))
    best = tuner.get_best_models()[0]
    trials = tuner.oracle.get_best_trials(num_trials=3)
    best_hp = tuner.get_best_hyperparameters()[0]
    return {
        "optimizer": type(built.optimizer).__name__,
        "space": tuner.oracle.get_space().get_config()["space"],
        "names": sorted(best_hp.values),
        "statuses": [trial.status for trial in trials],
        "ids": sorted(trial.trial_id for trial in trials),
        "sorted": [t.score for t in trials] == sorted(t.score for t in trials),
        "score is that of the best model": bool(
            np.isclose(best.evaluate(x_val, y_val, verbose=0), trials[0].score, rtol=1e-3)
        ),
        "units of the best model": best.layers[0].units == best_hp.get("units") == best_hp["units"],
        "output": list(best.predict(x_val, verbose=0).shape),
    }
