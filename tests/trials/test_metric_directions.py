"""Directions of metrics, as Keras itself says them."""

import subprocess
import sys

import keras
import numpy as np
import pytest

from glimr_keras.trials.metric_directions import infer_direction, log_directions


def logs_of(metrics, outputs=1):
    """The directions of every name that a compiled model logs, after one batch."""
    inputs = keras.Input((2,))
    names = ["left", "right"][:outputs]
    model = keras.Model(inputs, {name: keras.layers.Dense(1, name=name)(inputs) for name in names})
    model.compile(
        "sgd", dict.fromkeys(names, "mse"), metrics=dict.fromkeys(names, metrics), run_eagerly=True
    )
    logged = model.test_on_batch(
        np.zeros((1, 2)), {name: np.zeros((1, 1)) for name in names}, return_dict=True
    )
    return log_directions(model, [*logged, *(f"val_{name}" for name in logged)])


@pytest.mark.parametrize(
    ("name", "direction"),
    [
        ("val_accuracy", "max"),
        ("acc", "max"),
        ("val_f1_score", "max"),
        ("val_r2_score", "max"),
        ("val_cosine_similarity", "max"),
        ("mean_io_u", "max"),
        ("val_one_hot_mean_io_u", "max"),
        ("precision_at_recall", "max"),
        ("val_auc", "max"),
        ("val_top_k_categorical_accuracy", "max"),
        ("val_weighted_accuracy", "max"),
        ("loss", "min"),
        ("val_loss", "min"),
        ("task_loss", "min"),
        ("mae", "min"),
        ("val_mse", "min"),
        ("mean_absolute_error", "min"),
        ("val_kl_divergence", "min"),
        ("ce", "min"),
        ("val_huber", "min"),
        ("concordance", None),
        ("mean", None),
        ("val_", None),
    ],
)
def test_direction_by_name_is_what_keras_says(name, direction):
    assert infer_direction(name) == direction


def test_directions_come_from_the_models_own_metrics():
    directions = logs_of(
        ["mae", keras.metrics.F1Score(name="score"), keras.metrics.AUC(name="my_auc")]
    )
    assert directions["loss"] == directions["val_loss"] == "min"
    assert directions["val_mae"] == "min"
    assert directions["val_score"] == "max"
    assert directions["val_my_auc"] == "max"


def test_a_metric_is_found_behind_the_name_of_its_output():
    directions = logs_of([keras.metrics.R2Score(name="fit"), "mae"], outputs=2)
    assert directions["val_left_fit"] == directions["right_fit"] == "max"
    assert directions["val_right_mae"] == "min"
    assert directions["left_loss"] == "min"


def test_a_metric_of_the_users_own_has_no_direction():
    def concordance(y_true, y_pred):
        return keras.ops.mean(y_pred)

    assert logs_of([concordance])["val_concordance"] is None


def test_a_metric_of_the_users_own_is_not_taken_for_a_loss_of_keras():
    def dice(y_true, y_pred):
        return keras.ops.mean(y_pred)

    assert logs_of([dice])["val_dice"] is None


def test_naming_an_objective_does_not_start_tensorflow():
    code = (
        "from glimr_keras.trials.objective import as_objective\n"
        "from tensorflow.python.eager import context\n"
        "as_objective('val_accuracy')\n"
        "raise SystemExit(context.context()._initialized)"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], check=False, capture_output=True).returncode
        == 0
    )
