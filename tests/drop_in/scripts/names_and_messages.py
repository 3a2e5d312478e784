"""How things are called, shown and compared, and what errors say that users' tests match on."""

import pathlib

import keras
import keras_tuner as kt
from keras_tuner.engine import hyperparameters as hp_module
from keras_tuner.src.engine import metrics_tracking
from keras_tuner.src.engine import objective as objective_module


def said(call, phrase, kind=ValueError):
    """Whether a call raises an error of this kind, and whether it has the phrase."""
    try:
        call()
    except Exception as error:
        return [isinstance(error, kind), phrase in str(error)]
    return None


def build(hp):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(hp.Int("units", 1, 4))])
    model.compile("sgd", "mse")
    return model


def conditional(hp):
    hp.Choice("a", [1, 2])
    with hp.conditional_scope("a", [1]):
        hp.Choice("a", [1, 2])


def messages(directory):
    hp = kt.HyperParameters()
    hp.Choice("a", [1, 2])
    with hp.conditional_scope("a", [2]):
        hp.Int("inactive", 1, 2)
    oracle = kt.oracles.RandomSearchOracle(objective="val_loss", max_trials=2, hyperparameters=hp)
    oracle._set_project_dir(directory, "oracle")
    trial = oracle.create_trial("a")
    place = {"directory": directory, "project_name": "messages"}
    return [
        said(lambda: hp_module.Boolean("b", default=None), "must be a Python boolean"),
        said(lambda: hp_module.Choice("c", [1, 2], default=4), "default value should be"),
        said(lambda: hp_module.Choice("c", ["a"], ordered=True), "must be `False`"),
        said(lambda: hp_module.Choice("c", []), "`values` must be provided"),
        said(lambda: hp.Choice("c", ["a", 0]), "can contain only one", TypeError),
        said(lambda: hp.Choice("c", [{"a": 1}, {"a": 2}]), "can contain only `int`", TypeError),
        said(lambda: hp_module.Fixed("f", None), "value must be an"),
        said(lambda: hp_module.Int("i", 0, 9, sampling="x"), "sampling must be one of"),
        said(lambda: hp_module.Int("i", 1, 0), "min_value 1 is greater than the max_value 0"),
        said(lambda: hp_module.Int("i", -9, -1, sampling="log"), "does not support negative"),
        said(
            lambda: hp_module.Int("i", 1, 9, step=1, sampling="log"),
            "For HyperParameters.Int(name='i'), expected step > 1",
        ),
        said(lambda: hp_module.Int("i", 0.5, 9), "must be an int"),
        said(lambda: conditional(kt.HyperParameters()), "cannot have the same name"),
        said(lambda: hp.get("wrong"), "does not exist", KeyError),
        said(lambda: hp.get("inactive"), "is currently inactive"),
        said(lambda: kt.oracles.HyperbandOracle("loss", factor=1), "factor needs"),
        said(lambda: metrics_tracking.MetricHistory("up"), "`direction` should be one of"),
        said(lambda: metrics_tracking.MetricsTracker().get_history("x"), "Unknown metric"),
        said(lambda: kt.Oracle("loss", tune_new_entries=False), "tune_new_entries=False"),
        said(lambda: oracle.update_trial(trial.trial_id, {"x": 1}), "Objective value missing"),
        said(
            lambda: objective_module.create_objective(3), "not understood, expected str", TypeError
        ),
        said(
            lambda: objective_module.create_objective("mine"),
            "Could not infer optimization direction",
        ),
        said(lambda: kt.RandomSearch(max_trials=2, **place), "Received `hypermodel=None`"),
        said(lambda: kt.Tuner("oracle", build, **place), "Expected `oracle` argument to be an"),
        said(
            lambda: kt.Tuner(oracle, "build", **place),
            "`hypermodel` argument should be either",
        ),
        said(lambda: kt.RandomSearch(build, "loss", wrong=3, **place), "Unrecognized arguments"),
    ]


def main(directory, **tuner_options):
    parameters = [
        hp_module.Int("i", 1, 9, 2),
        hp_module.Float("f", 0.5, 2, sampling="log"),
        hp_module.Choice("c", ["a", "b"], default="b"),
        hp_module.Boolean("b", default=True),
        hp_module.Fixed("x", 3),
    ]
    objectives = [
        objective_module.create_objective(names)
        for names in ("val_accuracy", ["loss", "accuracy"], ["accuracy", "loss"], None)
    ]
    place = pathlib.Path(directory)
    tuner = kt.RandomSearch(build, "loss", directory=place, project_name="p", **tuner_options)
    default = kt.RandomSearch(build, "loss", project_name="default", **tuner_options)
    return {
        "reprs": [repr(parameter) for parameter in parameters],
        "values": [
            parameters[3].values == (True, False),
            parameters[2].values == ["a", "b"],
            list(parameters[0].values),
        ],
        "objectives": [str(objective) for objective in objectives[:3]],
        "equal": [objectives[1] == objectives[2], objectives[1] == objectives[1]],
        "default objective": [objectives[3].name, objectives[3].direction],
        "observation": repr(metrics_tracking.MetricObservation(0.5, step=0)),
        "directory": [tuner.directory == place, tuner.directory is place, default.directory],
        "messages": messages(directory),
    }
