"""What a search optimises: direction, comparison, and how Keras is asked for the direction."""

import json
import math

import numpy as np
import pytest

from glimr_keras.errors import ObjectiveError
from glimr_keras.trials.objective import (
    MultiObjective,
    Objective,
    as_objective,
    create_objective,
    objective_config,
    objective_from_config,
)

MIN, MAX = Objective("val_loss", "min"), Objective("val_accuracy", "max")


# Direction


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
            r"Could not infer optimization direction of the objective 'concordance'.*"
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


def test_several_objectives_are_the_same_in_any_order_and_are_shown_as_in_keras_tuner():
    one, other = (create_objective(names) for names in (["loss", "accuracy"], ["accuracy", "loss"]))
    assert one == other
    assert hash(one) == hash(other)
    assert one != create_objective(["loss", "val_accuracy"])
    assert one != create_objective("loss") != one
    assert str(one) == (
        'MultiObjective(name="multi_objective", direction="min"): '
        '[Objective(name="loss", direction="min"), Objective(name="accuracy", direction="max")]'
    )


def test_an_objective_is_made_of_what_users_give_with_its_direction():
    assert create_objective("val_accuracy") == Objective("val_accuracy", "max")
    assert create_objective(None) == Objective("default_objective", "min")
    assert create_objective(Objective("mine", "max")) == Objective("mine", "max")
    with pytest.raises(ValueError, match="Could not infer optimization direction"):
        create_objective("mine")
