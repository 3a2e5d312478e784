"""Configurations that cannot be trained: models that are too large, `FailedTrialError`, exceptions,
too many of them, nan.
"""

import keras
import keras_tuner as kt
import numpy as np
from keras_tuner.errors import FailedTrialError

x, y = np.random.rand(32, 2), np.random.rand(32)


class Fragile(kt.HyperModel):
    def build(self, hp):
        kind = hp.Choice("kind", ["good", "failed", "raises"])
        if kind == "failed":
            raise FailedTrialError("this is not to be tried")
        if kind == "raises":
            raise KeyError("a mistake")
        model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(4), keras.layers.Dense(1)])
        model.compile("adam", "mse")
        return model


def sized(hp):
    model = keras.Sequential(
        [keras.Input((2,)), keras.layers.Dense(hp.Choice("units", [2, 500])), keras.layers.Dense(1)]
    )
    model.compile("adam", "mse")
    return model


class BlackBox(kt.RandomSearch):
    def run_trial(self, trial, outcome, **kwargs):
        value = trial.hyperparameters.Int("value", 0, 10**6)
        if outcome == "raise":
            raise ZeroDivisionError(f"never works, {value}")
        return {"nan": float("nan"), "inf": float("inf")}[outcome]


def statuses(tuner):
    return sorted(
        (list(t.hyperparameters.values.values()), t.status) for t in tuner.oracle.trials.values()
    )


def main(directory, **tuner_options):
    findings = {}
    tuner = kt.GridSearch(
        Fragile(), "loss", directory=directory, project_name="fragile", **tuner_options
    )
    tuner.search(x, y, epochs=1, verbose=0)
    messages = {t.hyperparameters["kind"]: t.message or "" for t in tuner.oracle.trials.values()}
    findings["fragile"] = statuses(tuner)
    findings["messages"] = [
        "not to be tried" in messages["failed"],
        "a mistake" in messages["raises"],
        messages["good"],
    ]
    findings["tracebacks"] = ["Traceback" in messages["failed"], "in build" in messages["raises"]]
    findings["best"] = tuner.get_best_hyperparameters()[0]["kind"]
    tuner = kt.GridSearch(
        sized,
        "loss",
        max_model_size=100,
        directory=directory,
        project_name="sized",
        **tuner_options,
    )
    tuner.search(x, y, epochs=1, verbose=0)
    findings["sized"] = [statuses(tuner), tuner.max_model_size]
    findings["oversized"] = any(
        "Oversized" in (trial.message or "") for trial in tuner.oracle.trials.values()
    )
    for name, outcome, kwargs in [
        ("three", "raise", {}),
        ("two", "raise", {"max_consecutive_failed_trials": 2}),
        ("few", "raise", {"max_trials": 2}),
        ("retried", "raise", {"max_trials": 1, "max_retries_per_trial": 2}),
        ("nan", "nan", {"max_trials": 2, "objective": kt.Objective("score", "min")}),
        ("inf", "inf", {"max_trials": 2, "objective": kt.Objective("score", "min")}),
    ]:
        tuner = BlackBox(directory=directory, project_name=name, **kwargs, **tuner_options)
        try:
            tuner.search(outcome)
            raised = None
        except RuntimeError as error:
            raised = ["consecutive failures" in str(error), "never works" in str(error)]
        trials = list(tuner.oracle.trials.values())
        statuses_found = {trial.status for trial in trials}
        findings[name] = (
            [sorted(statuses_found), len(trials)]
            if raised is None
            else [raised, "FAILED" in statuses_found]
        )
    return findings
