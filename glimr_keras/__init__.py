"""glimr_keras: tune Keras models on Ray.

Subclass `HyperModel` (what to build), give it to a `RayTuner` (how to search), and ask the tuner
for results.
"""

from glimr_keras import startup  # isort: skip  # noqa: F401

from glimr_keras import applications, engine, errors, oracles, tuners
from glimr_keras.errors import FailedTrialError
from glimr_keras.glimr.search import Search
from glimr_keras.models.ensemble import ensemble
from glimr_keras.models.hypermodel import HyperModel
from glimr_keras.models.optimizers import keras_optimizer, optimization_space
from glimr_keras.models.tasks import keras_losses, keras_metrics
from glimr_keras.oracles import Oracle
from glimr_keras.oracles.locks import synchronized
from glimr_keras.results.keras_tuner import open_keras_tuner_project
from glimr_keras.results.tables import (
    config_table,
    default_checkpoints,
    experiment_table,
    top_k_configs,
    top_k_trials,
)
from glimr_keras.space.declared_space import prune_search, sample_space
from glimr_keras.space.hyperparameters import HyperParameters
from glimr_keras.training.tune_callback import TuneReportCheckpoint
from glimr_keras.trials.objective import MultiObjective, Objective
from glimr_keras.tuners.base_tuner import BaseTuner
from glimr_keras.tuners.bayesian_optimization import BayesianOptimization
from glimr_keras.tuners.grid_search import GridSearch
from glimr_keras.tuners.hyperband import Hyperband
from glimr_keras.tuners.random_search import RandomSearch
from glimr_keras.tuners.ray_tuner import RayTuner
from glimr_keras.tuners.sklearn_tuner import SklearnTuner
from glimr_keras.tuners.tuner import Tuner
from glimr_keras.version import __version__

__all__ = [
    "BaseTuner",
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
