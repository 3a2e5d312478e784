"""glimr_keras: tune Keras models on Ray.

Subclass `HyperModel` (what to build), give it to a `RayTuner` (how to search), and ask the tuner for results.
"""

from glimr_keras import startup  # isort: skip  # noqa: F401

from glimr_keras import applications, engine, errors, oracles, tuners
from glimr_keras.callback import TuneReportCheckpoint
from glimr_keras.ensembles import ensemble
from glimr_keras.errors import FailedTrialError
from glimr_keras.hypermodel import HyperModel
from glimr_keras.hyperparameters import HyperParameters
from glimr_keras.keras_tuner_results import open_keras_tuner_project
from glimr_keras.objective import MultiObjective, Objective
from glimr_keras.optimizers import keras_optimizer, optimization_space
from glimr_keras.oracles import Oracle
from glimr_keras.oracles.own_loop import synchronized
from glimr_keras.ray_tuner import RayTuner
from glimr_keras.search import Search
from glimr_keras.sklearn_tuner import SklearnTuner
from glimr_keras.space import prune_search, sample_space
from glimr_keras.tables import config_table, default_checkpoints, experiment_table, top_k_configs, top_k_trials
from glimr_keras.tasks import keras_losses, keras_metrics
from glimr_keras.tuner import Tuner
from glimr_keras.tuners import BayesianOptimization, GridSearch, Hyperband, RandomSearch
from glimr_keras.version import __version__

__all__ = [
    "BayesianOptimization",
    "FailedTrialError",
    "GridSearch",
    "HyperModel",
    "HyperParameters",
    "Hyperband",
    "MultiObjective",
    "Objective",
    "Oracle",
    "RandomSearch",
    "RayTuner",
    "Search",
    "SklearnTuner",
    "TuneReportCheckpoint",
    "Tuner",
    "__version__",
    "applications",
    "config_table",
    "default_checkpoints",
    "engine",
    "ensemble",
    "errors",
    "experiment_table",
    "keras_losses",
    "keras_metrics",
    "keras_optimizer",
    "open_keras_tuner_project",
    "optimization_space",
    "oracles",
    "prune_search",
    "sample_space",
    "synchronized",
    "top_k_configs",
    "top_k_trials",
    "tuners",
]
