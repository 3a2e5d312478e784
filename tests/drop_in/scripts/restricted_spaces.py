"""`hyperparameters=` restricts or replaces the search space; new entries are not tuned, or not
allowed.
"""

import keras
import keras_tuner
import numpy as np

x, y = np.random.rand(40, 4), np.random.rand(40)


def build_model(hp):
    model = keras.Sequential([keras.layers.Input((4,))])
    for _ in range(hp.Int("num_layers", 1, 3)):
        model.add(keras.layers.Dense(hp.Int("units", 4, 32, step=4), activation="relu"))
    model.add(keras.layers.Dense(1))
    learning_rate = hp.Choice("learning_rate", [1e-2, 1e-3, 1e-4], default=1e-3)
    model.compile(optimizer=keras.optimizers.Adam(learning_rate), loss="mse")
    return model


def searched(directory, name, options, trials=2, **kwargs):
    tuner = keras_tuner.RandomSearch(
        build_model,
        "val_loss",
        max_trials=trials,
        directory=directory,
        project_name=name,
        **kwargs,
        **options,
    )
    tuner.search(x, y, epochs=1, validation_data=(x, y), verbose=0)
    return tuner


def main(directory, **tuner_options):
    findings = {}
    only = keras_tuner.HyperParameters()
    only.Choice("learning_rate", values=[1e-1, 1e-2])
    tuner = searched(directory, "only", tuner_options, hyperparameters=only, tune_new_entries=False)
    hps = tuner.get_best_hyperparameters(2)
    findings["only"] = {
        "trials": len(hps),
        "space": [p.name for p in tuner.oracle.get_space().space],
        "units": sorted({hp.get("units") for hp in hps}),
        "layers": sorted({hp.get("num_layers") for hp in hps}),
        "rates": {hp.get("learning_rate") for hp in hps} <= {0.1, 0.01},
        "same object": tuner.oracle.hyperparameters is only,
        "by way of the model": sorted({len(model.layers) for model in tuner.get_best_models(2)}),
    }
    override = keras_tuner.HyperParameters()
    override.Fixed("learning_rate", value=1e-4)
    override.Int("units", 5, 6)
    tuner = searched(
        directory, "override", tuner_options, hyperparameters=override, tune_new_entries=True
    )
    findings["override"] = {
        "space": {p.name: type(p).__name__ for p in tuner.oracle.get_space().space},
        "rates": sorted({hp.get("learning_rate") for hp in tuner.get_best_hyperparameters(2)}),
        "units": {hp.get("units") for hp in tuner.get_best_hyperparameters(2)} <= {5, 6},
        "retrained": float(tuner.get_best_models()[0].optimizer.learning_rate.numpy()) < 1.1e-4,
    }
    whole = keras_tuner.HyperParameters()
    build_model(whole)
    tuner = searched(
        directory, "whole", tuner_options, hyperparameters=whole, allow_new_entries=False
    )
    findings["whole"] = [p.name for p in tuner.oracle.get_space().space]
    some = keras_tuner.HyperParameters()
    some.Choice("learning_rate", [1e-1])
    for name, kwargs in {
        "not allowed": {"hyperparameters": some, "allow_new_entries": False},
        "tune": {"tune_new_entries": False},
        "allow": {"allow_new_entries": False},
    }.items():
        try:
            searched(directory, name, tuner_options, **kwargs)
        except (RuntimeError, ValueError) as error:
            says = [
                word in str(error)
                for word in ("allow_new_entries", "tune_new_entries", "hyperparameters")
            ]
            findings[name] = [
                isinstance(error, RuntimeError),
                isinstance(error, ValueError),
                says[:2] if name != "tune" else says,
            ]
    return findings
