"""The imports that are found in scripts, and that they name the same things."""

import importlib

import keras_tuner as kt
import keras_tuner.engine.base_tuner
from keras_tuner import applications, engine, errors, oracles, tuners
from keras_tuner.applications import (
    HyperEfficientNet,
    HyperImageAugment,
    HyperResNet,
    HyperXception,
)
from keras_tuner.engine.base_tuner import BaseTuner
from keras_tuner.engine.hypermodel import HyperModel
from keras_tuner.engine.hyperparameters import HyperParameters, deserialize, serialize
from keras_tuner.engine.metrics_tracking import infer_metric_direction
from keras_tuner.engine.oracle import Objective, Oracle
from keras_tuner.engine.trial import Trial, TrialStatus
from keras_tuner.engine.tuner import Tuner, maybe_distribute
from keras_tuner.oracles import (
    BayesianOptimizationOracle,
    GridSearchOracle,
    HyperbandOracle,
    RandomSearchOracle,
)
from keras_tuner.tuners import (
    BayesianOptimization,
    GridSearch,
    Hyperband,
    RandomSearch,
    SklearnTuner,
)

NAMES = {
    "keras_tuner": (
        "HyperModel HyperParameters Objective Oracle synchronized Tuner BayesianOptimization "
        "GridSearch Hyperband RandomSearch SklearnTuner __version__ applications engine errors "
        "oracles tuners"
    ),
    "keras_tuner.engine": (
        "base_tuner hypermodel hyperparameters metrics_tracking oracle trial tuner"
    ),
    "keras_tuner.engine.hyperparameters": (
        "Boolean Choice Fixed Float HyperParameter HyperParameters Int deserialize serialize"
    ),
    "keras_tuner.engine.trial": "Trial TrialStatus",
    "keras_tuner.errors": (
        "FailedTrialError FatalError FatalRuntimeError FatalTypeError FatalValueError"
    ),
    "keras_tuner.oracles": (
        "BayesianOptimizationOracle GridSearchOracle HyperbandOracle RandomSearchOracle"
    ),
    "keras_tuner.tuners": (
        "BayesianOptimization GridSearch Hyperband RandomSearch SklearnTuner Tuner"
    ),
}


def main(directory, **tuner_options):
    return {
        "same": [
            HyperModel is kt.HyperModel,
            HyperParameters is kt.HyperParameters,
            Objective is kt.Objective,
            Oracle is kt.Oracle,
            Tuner is kt.Tuner,
            tuners.Tuner is kt.Tuner,
            RandomSearch is kt.RandomSearch,
            tuners.SklearnTuner is SklearnTuner,
            engine.trial.Trial is Trial,
            keras_tuner.engine.base_tuner is engine.base_tuner,
        ],
        "oracle": oracles.RandomSearchOracle is RandomSearchOracle,
        "tuners": [
            issubclass(c, Tuner)
            for c in (RandomSearch, GridSearch, BayesianOptimization, Hyperband)
        ],
        "base": [issubclass(c, BaseTuner) for c in (Tuner, SklearnTuner)],
        "oracles": [
            issubclass(c, Oracle)
            for c in (
                RandomSearchOracle,
                GridSearchOracle,
                BayesianOptimizationOracle,
                HyperbandOracle,
            )
        ],
        "hypermodels": [
            issubclass(c, HyperModel)
            for c in (HyperResNet, HyperXception, HyperEfficientNet, HyperImageAugment)
        ],
        "callable": [
            callable(f) for f in (serialize, deserialize, infer_metric_direction, maybe_distribute)
        ],
        "errors": [
            issubclass(errors.FatalValueError, ValueError),
            issubclass(errors.FatalTypeError, TypeError),
            issubclass(errors.FatalRuntimeError, RuntimeError),
            [
                issubclass(getattr(errors, n), errors.FatalError)
                for n in ("FatalValueError", "FatalTypeError", "FatalRuntimeError")
            ],
            issubclass(errors.FailedTrialError, errors.FatalError),
            issubclass(errors.FailedTrialError, Exception),
        ],
        "status": TrialStatus.COMPLETED,
        "applications": applications.HyperResNet is HyperResNet,
        "missing": {
            module: [
                name for name in names.split() if not hasattr(importlib.import_module(module), name)
            ]
            for module, names in NAMES.items()
        },
        "version": isinstance(kt.__version__, str),
    }
