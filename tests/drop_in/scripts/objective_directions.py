"""Objectives by name and as objects, and the directions that are known for names, metrics and
losses.
"""

import keras
import keras_tuner
from keras_tuner.engine.metrics_tracking import infer_metric_direction
from keras_tuner.engine.oracle import Objective


def my_metric(y_true, y_pred):
    return y_true


def main(directory, **tuner_options):
    names = [
        "accuracy",
        "val_accuracy",
        "acc",
        "val_acc",
        "loss",
        "val_loss",
        "mse",
        "val_mae",
        "auc",
        "val_precision",
        "recall",
    ]
    names += [
        "mean_absolute_error",
        "val_mean_squared_error",
        "binary_accuracy",
        "val_sparse_categorical_accuracy",
    ]
    names += [
        "categorical_crossentropy",
        "val_root_mean_squared_error",
        "top_k_categorical_accuracy",
        "true_positives",
        "hinge",
    ]
    directions = {name: infer_metric_direction(name) for name in names}
    things = [
        keras.metrics.AUC(),
        keras.metrics.MeanSquaredError(),
        keras.losses.BinaryCrossentropy(),
        keras.metrics.Recall(),
    ]
    directions |= {type(thing).__name__: infer_metric_direction(thing) for thing in things}
    oracles = {
        name: keras_tuner.oracles.RandomSearchOracle(objective=name).objective
        for name in ("val_accuracy", "val_loss")
    }
    errors = {}
    for value in (5, 0.5):
        try:
            keras_tuner.oracles.RandomSearchOracle(objective=value)
        except TypeError as error:
            errors[str(value)] = "objective" in str(error)
    one, other = keras_tuner.Objective("score", direction="max"), Objective("score", "max")
    logs = {"score": 3.0, "loss": 1.0}
    nothing = keras_tuner.oracles.RandomSearchOracle().objective
    return {
        "directions": directions,
        "unknown": infer_metric_direction("my_metric_of_old"),
        "function": infer_metric_direction(my_metric),
        "of oracles": {
            name: [objective.name, objective.direction] for name, objective in oracles.items()
        },
        "errors": errors,
        "equal": [one == other, one == Objective("score", "min"), one == Objective("other", "max")],
        "class": keras_tuner.Objective is Objective,
        "text": str(one),
        "values": [one.has_value(logs), one.has_value({}), one.get_value(logs)],
        "better": [
            one.better_than(2, 1),
            one.better_than(1, 2),
            one.better_than(1, 1),
            Objective("a", "min").better_than(1, 2),
        ],
        "nothing": [nothing.name, nothing.direction],
    }
