"""What a trial has measured, as scripts read it."""

import math

import keras
import pytest

from glimr_keras.engine.metrics_tracking import MetricHistory, MetricObservation, MetricsTracker


def test_an_observation_has_a_value_for_each_execution():
    observation = MetricObservation(1.0, step=3)
    observation.append(2.0)
    observation.append([6.0])
    assert (observation.value, observation.mean()) == ([1.0, 2.0, 6.0], 3.0)
    assert MetricObservation.from_config(observation.get_config()) == observation


@pytest.mark.parametrize(("direction", "best", "step"), [("min", 1.0, 2), ("max", 4.0, 0)])
def test_a_history_knows_its_best(direction, best, step):
    history = MetricHistory(direction)
    for value, at in ((1.0, 2), (4.0, 0), (math.nan, 1), (3.0, 3)):
        history.update(value, at)
    assert [observation.step for observation in history.get_history()] == [0, 1, 2, 3]
    assert (history.get_best_value(), history.get_best_step(), history.get_last_value()) == (
        best,
        step,
        3.0,
    )


def test_a_history_without_anything_knows_nothing():
    history = MetricHistory("max")
    assert (history.get_best_value(), history.get_best_step(), history.get_last_value()) == (
        None,
        None,
        None,
    )
    with pytest.raises(ValueError, match="Received: direction='up'"):
        MetricHistory("up")


def test_a_tracker_tells_directions_and_is_read_back():
    tracker = MetricsTracker(
        [keras.metrics.CategoricalAccuracy(), keras.metrics.MeanSquaredError()]
    )
    tracker.register("secret", "max")
    tracker.update("val_loss", 2.0, step=1)
    tracker.update("val_loss", 1.0, step=2)
    directions = {name: history.direction for name, history in tracker.metrics.items()}
    expected = {
        "categorical_accuracy": "max",
        "mean_squared_error": "min",
        "secret": "max",
        "val_loss": "min",
    }
    assert {name: directions[name] for name in expected} == expected
    assert tracker.exists("secret")
    assert not tracker.exists("other")
    assert tracker.get_best_value("val_loss") == 1.0
    assert tracker.get_best_step("val_loss") == 2
    assert tracker.get_statistics("val_loss")["max"] == 2.0
    again = MetricsTracker.from_config(tracker.get_config())
    assert again.get_config() == tracker.get_config()
    with pytest.raises(ValueError, match="secret"):
        tracker.register("secret", "min")
    with pytest.raises(ValueError, match="los"):
        tracker.get_history("val_los")
