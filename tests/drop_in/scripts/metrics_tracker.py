"""The tracker of metrics that is `trial.metrics`, used by hand."""

import json

import numpy as np
from keras_tuner.engine.hyperparameters import HyperParameters
from keras_tuner.engine.trial import Trial


def main(directory, **tuner_options):
    tracker = Trial(HyperParameters(), trial_id="0").metrics
    tracker.register("loss", direction="min")
    tracker.register("val_accuracy")
    for step, value in enumerate([3.0, 1.0, 2.0]):
        tracker.update("loss", value, step=step)
    tracker.update("loss", 5.0, step=1)  # of a second execution
    tracker.update("val_accuracy", np.float32(0.5))
    tracker.update("mse", 1)
    errors = {}
    for name, function in {
        "twice": lambda: tracker.register("loss", "min"),
        "direction": lambda: tracker.register("other", "sideways"),
        "unknown": lambda: tracker.get_best_value("nothing"),
        "no direction": lambda: tracker.register("strange_name"),
    }.items():
        try:
            function()
            errors[name] = None
        except ValueError:
            errors[name] = "ValueError"
        except KeyError:
            errors[name] = "KeyError"
    config = tracker.get_config()
    again = type(tracker).from_config(json.loads(json.dumps(config)))
    history = tracker.get_history("loss")
    other = type(tracker)()
    other.register("loss", "max")
    other.set_history("loss", history[1:])
    return {
        "exists": [tracker.exists("loss"), tracker.exists("nothing")],
        "best": [tracker.get_best_value(name) for name in ("loss", "val_accuracy", "mse")],
        "step": tracker.get_best_step("loss"),
        "last": tracker.get_last_value("loss"),
        "history": [
            [observation.step, observation.value, observation.mean()] for observation in history
        ],
        "statistics": {
            name: round(float(value), 6) for name, value in tracker.get_statistics("loss").items()
        },
        "direction": [tracker.get_direction(name) for name in ("loss", "val_accuracy", "mse")],
        "names": sorted(tracker.metrics),
        "config": config,
        "again": [
            again.get_best_value("loss"),
            again.get_last_value("val_accuracy"),
            again.get_config() == config,
        ],
        "set": [other.get_best_value("loss"), other.get_best_step("loss")],
        "errors": errors,
        "observation": history[1].get_config(),
        "metric": [tracker.metrics["loss"].direction, tracker.metrics["loss"].get_last_value()],
    }
