"""A list of objectives: what is minimised is the sum, less the sum of what is to be large."""

import keras
import keras_tuner as kt
import numpy as np

x, y = np.random.rand(64, 3), np.random.randint(0, 2, 64)


def build_model(hp):
    model = keras.Sequential(
        [keras.layers.Dense(hp.Int("units", 2, 50)), keras.layers.Dense(1, "sigmoid")]
    )
    model.compile(
        "adam", "binary_crossentropy", metrics=["accuracy", keras.metrics.AUC(name="auc")]
    )
    return model


def main(directory, **tuner_options):
    objective = [kt.Objective("val_auc", "max"), kt.Objective("val_loss", "min"), "val_accuracy"]
    tuner = kt.RandomSearch(
        build_model,
        objective=objective,
        max_trials=3,
        directory=directory,
        project_name="several",
        **tuner_options,
    )
    tuner.search(x, y, epochs=2, validation_data=(x, y), verbose=0)
    scores, sums = [], []
    for trial in tuner.oracle.get_best_trials(3):
        observed = {
            name: trial.metrics.get_history(name)[0].mean()
            for name in ("val_auc", "val_loss", "val_accuracy")
        }
        sums.append(observed["val_loss"] - observed["val_auc"] - observed["val_accuracy"])
        scores.append(trial.score)
    combined = tuner.oracle.objective
    logs = {"val_auc": 0.5, "val_loss": 2.0, "val_accuracy": 0.25}
    return {
        "sums": bool(np.allclose(scores, sums)),
        "sorted": scores == sorted(scores),
        "name": [combined.name, combined.direction],
        "names": combined.name_to_direction,
        "objectives": [[objective.name, objective.direction] for objective in combined.objectives],
        "value": combined.get_value(logs),
        "has": [combined.has_value(logs), combined.has_value({"val_auc": 1.0})],
        "better": [combined.better_than(1.0, 2.0), combined.better_than(2.0, 1.0)],
        "metrics": sorted(name for name in trial.metrics.metrics if name != combined.name),
        "output": list(tuner.get_best_models()[0].predict(x, verbose=0).shape),
    }
