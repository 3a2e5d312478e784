"""Results mined from the files of a project, with `json` and `os.listdir`, as analysis notebooks
do.
"""

import json
import os

import keras
import keras_tuner
import numpy as np


def model_builder(hp):
    model = keras.Sequential()
    model.add(
        keras.layers.Dense(
            units=hp.Int("units", min_value=4, max_value=32, step=4), activation="relu"
        )
    )
    model.add(keras.layers.Dense(2, activation="softmax"))
    hp_learning_rate = hp.Choice("learning_rate", values=[1e-2, 1e-3])
    model.compile(
        keras.optimizers.Adam(hp_learning_rate),
        "sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    return model


def main(directory, **tuner_options):
    x, y = np.random.rand(60, 3), np.random.randint(0, 2, 60)
    tuner = keras_tuner.RandomSearch(
        model_builder,
        objective="val_accuracy",
        max_trials=3,
        directory=directory,
        project_name="mined",
        **tuner_options,
    )
    tuner.search(x, y, epochs=2, validation_split=0.5, verbose=0)
    project = os.path.join(directory, "mined")
    rows, kinds = [], set()
    for folder in sorted(os.listdir(project)):
        if not folder.startswith("trial_"):
            continue
        with open(os.path.join(project, folder, "trial.json")) as file:
            trial = json.load(file)
        value = trial["metrics"]["metrics"]["val_accuracy"]["observations"][0]["value"][0]
        kept = tuner.oracle.get_trial(trial["trial_id"])
        rows.append(
            (
                value == trial["score"] == kept.score,
                trial["hyperparameters"]["values"] == kept.hyperparameters.values,
            )
        )
        kinds |= {tuple(sorted(tracked)) for tracked in trial["metrics"]["metrics"].values()}
    with open(os.path.join(project, "oracle.json")) as file:
        oracle = json.load(file)
    with open(os.path.join(project, "tuner0.json")) as file:
        json.load(file)
    weights = os.path.join(tuner.get_trial_dir(kept.trial_id), "checkpoint.weights.h5")
    model = model_builder(kept.hyperparameters)
    model.build((None, 3))
    model.load_weights(weights)
    measured = model.evaluate(x[30:], y[30:], verbose=0)[1]
    return {
        "rows": rows,
        "trial": sorted(trial),
        "hyperparameters": sorted(trial["hyperparameters"]),
        "metrics": sorted(trial["metrics"]["metrics"]),
        "metric": sorted(kinds),
        "observation": sorted(trial["metrics"]["metrics"]["loss"]["observations"][0]),
        "directions": [
            trial["metrics"]["metrics"][name]["direction"]
            for name in ("val_accuracy", "accuracy", "val_loss")
        ],
        "step": trial["best_step"]
        == trial["metrics"]["metrics"]["val_accuracy"]["observations"][0]["step"],
        "status": [trial["status"], trial["message"]],
        "space": [p["config"]["name"] for p in trial["hyperparameters"]["space"]],
        "oracle": [
            key in oracle
            for key in ("hyperparameters", "start_order", "end_order", "ongoing_trials", "seed")
        ],
        "orders": [
            sorted(oracle["start_order"]),
            sorted(oracle["end_order"]),
            oracle["ongoing_trials"],
        ],
        "space of the oracle": oracle["hyperparameters"]["space"],
        "files": sorted(
            {"checkpoint.weights.h5", "trial.json"} & set(os.listdir(os.path.dirname(weights)))
        ),
        "score from the weights": bool(np.isclose(measured, kept.score)),
    }
