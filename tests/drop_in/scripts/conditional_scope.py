"""Conditional scopes: with a bare string, around `if`s, and hyperparameters that are not active
left out of the values.
"""

import keras
import keras_tuner as kt
import numpy as np

x = np.random.rand(48, 4)
y = np.random.randint(0, 2, 48)


def build_model(hp):
    model_type = hp.Choice("model_type", ["wide", "deep", "linear"])
    model = keras.Sequential()
    with hp.conditional_scope("model_type", "wide"):
        wide_units = hp.Int("wide_units", 16, 32, step=16)
        if model_type == "wide":
            model.add(keras.layers.Dense(wide_units, activation="relu"))
    with hp.conditional_scope("model_type", ["deep"]):
        first, second = hp.Choice("first", [4, 8]), hp.Float("dropout", 0.0, 0.5, step=0.25)
        if model_type == "deep":
            model.add(keras.layers.Dense(first, activation="relu"))
            model.add(keras.layers.Dropout(second))
    with hp.conditional_scope("model_type", ["wide", "deep"]):
        hp.Boolean("batch_norm")
    model.add(keras.layers.Dense(1, activation=hp.Fixed("last", "sigmoid")))
    model.compile(optimizer="adam", loss="binary_crossentropy", metrics=["accuracy"])
    return model


def main(directory, **tuner_options):
    findings = {}
    for chosen in ("wide", "deep", "linear"):
        hp = kt.HyperParameters()
        hp.values["model_type"] = chosen
        build_model(hp)
        findings[chosen] = {
            "values": sorted(hp.values),
            "active": sorted({p.name for p in hp.space if hp.is_active(p)}),
            "in": ["first" in hp, "wide_units" in hp, "batch_norm" in hp, "nothing" in hp],
        }
    try:
        hp.get("wide_units")
    except ValueError as error:
        findings["inactive"] = "inactive" in str(error)
    tuner = kt.RandomSearch(
        build_model,
        "val_accuracy",
        max_trials=4,
        directory=directory,
        project_name="conditional",
        seed=3,
        **tuner_options,
    )
    findings["space"] = tuner.oracle.get_space().get_config()["space"]
    tuner.search(x, y, epochs=1, validation_data=(x, y), verbose=0)
    expected = {
        "wide": ["batch_norm", "last", "model_type", "wide_units"],
        "deep": ["batch_norm", "dropout", "first", "last", "model_type"],
        "linear": ["last", "model_type"],
    }
    findings["values"] = all(
        sorted(hp.values) == expected[hp["model_type"]] for hp in tuner.get_best_hyperparameters(4)
    )
    best_hp = tuner.get_best_hyperparameters()[0]
    findings["layers"] = (
        len(build_model(best_hp).layers)
        == {"wide": 2, "deep": 3, "linear": 1}[best_hp["model_type"]]
    )
    return findings
