"""What a returned value means."""

import keras
import numpy as np
import pytest

from glimr_keras.errors import MissingObjectiveError, NoMetricsError
from glimr_keras.training.returned_metrics import metrics_of
from glimr_keras.trials.objective import DEFAULT, MultiObjective, Objective

LOSS, ACCURACY = Objective("val_loss", "min"), Objective("val_accuracy", "max")


def history_of(**logs):
    history = keras.callbacks.History()
    history.history, history.epoch = logs, list(range(len(next(iter(logs.values())))))
    return history


@pytest.mark.parametrize(
    ("returned", "objective", "expected"),
    [
        (0.5, LOSS, ({"val_loss": 0.5}, None)),
        (3, LOSS, ({"val_loss": 3.0}, None)),
        (np.float32(0.5), DEFAULT, ({"default_objective": 0.5}, None)),
        ({"val_loss": np.float64(1), "other": 2}, LOSS, ({"val_loss": 1.0, "other": 2.0}, None)),
        (history_of(val_loss=[3.0, 1.0, 2.0]), LOSS, ({"val_loss": 1.0}, 2)),
        (history_of(val_accuracy=[0.1, 0.3, 0.2]), ACCURACY, ({"val_accuracy": 0.3}, 2)),
        ([1.0, 2.0], LOSS, ({"val_loss": 1.5}, None)),
        ([{"val_loss": 1, "a": 3}, {"val_loss": 3, "b": 1}], LOSS, ({"val_loss": 2.0}, None)),
        (
            [history_of(val_loss=[3.0, 1.0]), history_of(val_loss=[2.0, 3.0])],
            LOSS,
            ({"val_loss": 1.5}, 1),
        ),
    ],
)
def test_every_kind_gives_metrics_and_an_epoch(returned, objective, expected):
    assert metrics_of(returned, objective, "`fit`") == expected


def test_several_objectives_are_all_needed():
    both = MultiObjective([LOSS, ACCURACY])
    assert metrics_of({"val_loss": 1.0, "val_accuracy": 0.5}, both, "`fit`")[0] == {
        "val_loss": 1.0,
        "val_accuracy": 0.5,
    }
    with pytest.raises(MissingObjectiveError, match="'val_accuracy'"):
        metrics_of({"val_loss": 1.0}, both, "`fit`")


@pytest.mark.parametrize(
    ("returned", "objective", "error", "message"),
    [
        (None, LOSS, NoMetricsError, "`fit` returned None. Did you forget"),
        (
            "0.5",
            LOSS,
            NoMetricsError,
            r"HyperModel\.fit\(\) to be one of float, dict, .* `fit` returned: '0\.5' of type str",
        ),
        (["0.5"], LOSS, NoMetricsError, "to be one of"),
        ([], LOSS, NoMetricsError, "to be one of"),
        ({"val_los": 1.0}, LOSS, MissingObjectiveError, "Did you mean 'val_los'"),
        (
            {"a": 1.0},
            DEFAULT,
            NoMetricsError,
            r"HyperModel\.fit\(\) to be a single float, .* returned: \{'a': 1\.0\}",
        ),
        (
            history_of(loss=[1.0]),
            LOSS,
            ValueError,
            "No epoch of the returned History has the objective 'val_loss'",
        ),
    ],
)
def test_what_says_nothing_is_refused(returned, objective, error, message):
    with pytest.raises(error, match=message):
        metrics_of(returned, objective, "`fit`")
