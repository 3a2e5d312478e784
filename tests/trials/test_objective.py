"""What a search optimises: direction, comparison, and how Keras is asked for the direction."""

import json
import math
import subprocess
import sys

import keras
import numpy as np
import pytest

from glimr_keras.errors import ObjectiveError
from glimr_keras.trials.metric_directions import infer_direction, log_directions
from glimr_keras.trials.objective import (
    MultiObjective,
    Objective,
    as_objective,
    objective_config,
    objective_from_config,
)

MIN, MAX = Objective("val_loss", "min"), Objective("val_accuracy", "max")


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


# Direction


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


# As an argument


def test_a_name_becomes_an_objective_whose_direction_the_model_will_say():
    assert as_objective("val_accuracy") == Objective("val_accuracy", None)
    assert as_objective(MAX) is MAX


def test_a_given_direction_wins():
    assert Objective("val_loss", "max").resolved({"val_loss": "min"}).direction == "max"


def test_a_missing_direction_is_the_models():
    assert Objective("val_mae").resolved({"val_mae": "max"}) == Objective("val_mae", "max")


def test_without_an_objective_the_one_number_that_is_returned_is_minimised():
    assert as_objective(None) == Objective("default_objective", "min")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: Objective("concordance").resolved({"concordance": None}),
            r"direction of objective 'concordance' cannot be inferred.*"
            r"Objective\('concordance', 'max'\)",
        ),
        (
            lambda: Objective("loss", "up"),
            r"`direction` must be one of \('min', 'max'\)\. Received: 'up'",
        ),
        (lambda: Objective(""), r"`name` must be a metric's name\. Received: name=''"),
        (lambda: Objective(3), r"Received: name=3"),
        (lambda: as_objective({"loss": "min"}), r"Received: objective=\{'loss': 'min'\}"),
        (
            lambda: as_objective(["loss", "loss"]),
            r"at least two metrics of different names. Received: \['loss', 'loss'\]",
        ),
    ],
)
def test_an_objective_that_cannot_be_used_is_refused(call, message):
    with pytest.raises(ObjectiveError, match=message):
        call()


# Comparison


@pytest.mark.parametrize(
    ("objective", "better", "worse"),
    [(MIN, 0.1, 0.2), (MAX, 0.2, 0.1), (MIN, -math.inf, 0), (MAX, 0, -math.inf)],
)
def test_better_than_follows_the_direction(objective, better, worse):
    assert objective.better_than(better, worse)
    assert not objective.better_than(worse, better)
    assert not objective.better_than(better, better)


@pytest.mark.parametrize("objective", [MIN, MAX])
@pytest.mark.parametrize("nothing", [None, math.nan])
def test_any_number_is_better_than_none_or_nan(objective, nothing):
    assert objective.better_than(5.0, nothing)
    assert not objective.better_than(nothing, 5.0)
    assert not objective.better_than(nothing, nothing)


def test_the_sort_key_puts_the_best_first_and_nan_and_none_last():
    assert sorted([0.2, math.nan, 0.1, None], key=MIN.sort_key)[:2] == [0.1, 0.2]
    assert sorted([0.2, None, 0.3, math.nan], key=MAX.sort_key)[:2] == [0.3, 0.2]


def test_a_value_is_read_from_the_logs_as_a_float():
    assert MIN.has_value({"val_loss": 1})
    assert not MIN.has_value({"loss": 1})
    assert type(MIN.get_value({"val_loss": np.float32(0.5)})) is float


def test_several_objectives_are_one_score_as_in_keras_tuner():
    both = as_objective(["val_loss", Objective("val_auc", "max")]).resolved(
        {"val_loss": "min", "val_auc": "max"}
    )
    assert both.get_value({"val_loss": 0.5, "val_auc": 0.9}) == pytest.approx(-0.4)
    assert (both.name, both.direction, both.pareto) == ("multi_objective", "min", True)
    assert both.name_to_direction == {"val_loss": "min", "val_auc": "max"}
    assert both.missing({"val_loss": 1}) == "val_auc"
    assert both.better_than(-0.4, -0.3)


@pytest.mark.parametrize(
    "objective",
    [
        Objective("loss", "min"),
        MultiObjective([Objective("a", "min"), Objective("b", "max")], True),
    ],
)
def test_an_objective_comes_back_from_json(objective):
    assert objective_from_config(json.loads(json.dumps(objective_config(objective)))) == objective
