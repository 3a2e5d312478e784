"""Errors that end the search and come out of it as what they are, with their attributes; mistakes
in what is returned.
"""

import keras
import keras_tuner as kt
import numpy as np
from keras_tuner import errors


class OutOfBudget(errors.FatalError):
    def __init__(self, message, spent):
        super().__init__(message)
        self.spent = spent


class Tuner(kt.RandomSearch):
    def run_trial(self, trial, what, **kwargs):
        trial.hyperparameters.Int("x", 0, 1000)
        if what == "budget":
            raise OutOfBudget("no more", spent=42)
        if what == "value":
            raise errors.FatalValueError("a bad value")
        if what == "runtime":
            raise errors.FatalRuntimeError("a bad time")
        return {
            "none": None,
            "text": "0.5",
            "tuple": (1.0, 2.0),
            "other dict": {"other": 1.0},
            "text in a list": ["0.5"],
        }[what]


def not_a_model(hp):
    hp.Int("units", 1, 2)
    return [1, 2, 3]


def main(directory, **tuner_options):
    findings = {}
    score = kt.Objective("score", "min")
    for what, objective in (
        ("budget", None),
        ("value", score),
        ("runtime", score),
        ("none", None),
        ("none", score),
        ("text", None),
        ("tuple", score),
        ("other dict", score),
        ("text in a list", score),
    ):
        name = f"{what}_{objective and objective.name}".replace(" ", "_")
        tuner = Tuner(
            objective=objective,
            max_trials=3,
            directory=directory,
            project_name=name,
            **tuner_options,
        )
        try:
            tuner.search(what)
            findings[name] = "no error"
        except errors.FatalError as error:
            kinds = [
                kind.__name__
                for kind in (ValueError, TypeError, RuntimeError, OutOfBudget)
                if isinstance(error, kind)
            ]
            words = (
                "no more",
                "bad",
                "Did you forget",
                "single float",
                "to be one of",
                "specified objective",
            )
            findings[name] = [
                kinds,
                [word for word in words if word in str(error)],
                getattr(error, "spent", None),
            ]
    for name, hypermodel in {
        "not a model": not_a_model,
        "not a hypermodel": 5,
        "nothing": None,
    }.items():
        try:
            tuner = kt.RandomSearch(
                hypermodel,
                "loss",
                directory=directory,
                project_name=name.replace(" ", "_"),
                **tuner_options,
            )
            tuner.search(np.zeros((4, 1)), np.zeros(4), verbose=0)
            findings[name] = "no error"
        except (ValueError, TypeError) as error:
            findings[name] = isinstance(error, TypeError)
    try:
        kt.Tuner(oracle="random", hypermodel=lambda hp: keras.Sequential())
    except ValueError as error:
        findings["oracle"] = "oracle" in str(error)
    try:
        kt.RandomSearch(
            not_a_model,
            "loss",
            directory=directory,
            project_name="unknown",
            some_argument=3,
            **tuner_options,
        )
    except (ValueError, TypeError) as error:
        findings["argument"] = "some_argument" in str(error)
    return findings
