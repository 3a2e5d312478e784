"""glimr_keras: tune Keras models on Ray.

Subclass `HyperModel` to define what to build. Pass it to a `RayTuner`, which searches. Then ask the
tuner for the results.
"""

from __future__ import annotations

import importlib
import importlib.util
from typing import TYPE_CHECKING, Any

from glimr_keras import startup  # noqa: F401  # before Keras is imported
from glimr_keras.version import __version__

if TYPE_CHECKING:  # these modules import Keras and Ray, which the command line does without
    from glimr_keras import (
        applications,
        engine,
        errors,
        layers,
        oracles,
        survival,
        tuners,
        visualization,
    )
    from glimr_keras.errors import FailedTrialError
    from glimr_keras.evaluation.nested import nested_cross_validation
    from glimr_keras.glimr.search import Search
    from glimr_keras.models.bags import Bags
    from glimr_keras.models.ensemble import ensemble
    from glimr_keras.models.hypermodel import HyperModel
    from glimr_keras.models.missing_labels import MaskedLoss, MaskedMetric
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

_PLACES = {
    "applications": "glimr_keras.applications",
    "engine": "glimr_keras.engine",
    "errors": "glimr_keras.errors",
    "layers": "glimr_keras.layers",
    "oracles": "glimr_keras.oracles",
    "survival": "glimr_keras.survival",
    "tuners": "glimr_keras.tuners",
    "visualization": "glimr_keras.visualization",
    "FailedTrialError": "glimr_keras.errors",
    "nested_cross_validation": "glimr_keras.evaluation.nested",
    "Search": "glimr_keras.glimr.search",
    "Bags": "glimr_keras.models.bags",
    "ensemble": "glimr_keras.models.ensemble",
    "HyperModel": "glimr_keras.models.hypermodel",
    "MaskedLoss": "glimr_keras.models.missing_labels",
    "MaskedMetric": "glimr_keras.models.missing_labels",
    "keras_optimizer": "glimr_keras.models.optimizers",
    "optimization_space": "glimr_keras.models.optimizers",
    "keras_losses": "glimr_keras.models.tasks",
    "keras_metrics": "glimr_keras.models.tasks",
    "Oracle": "glimr_keras.oracles",
    "synchronized": "glimr_keras.oracles.locks",
    "open_keras_tuner_project": "glimr_keras.results.keras_tuner",
    "config_table": "glimr_keras.results.tables",
    "default_checkpoints": "glimr_keras.results.tables",
    "experiment_table": "glimr_keras.results.tables",
    "top_k_configs": "glimr_keras.results.tables",
    "top_k_trials": "glimr_keras.results.tables",
    "prune_search": "glimr_keras.space.declared_space",
    "sample_space": "glimr_keras.space.declared_space",
    "HyperParameters": "glimr_keras.space.hyperparameters",
    "TuneReportCheckpoint": "glimr_keras.training.tune_callback",
    "MultiObjective": "glimr_keras.trials.objective",
    "Objective": "glimr_keras.trials.objective",
    "BaseTuner": "glimr_keras.tuners.base_tuner",
    "BayesianOptimization": "glimr_keras.tuners.bayesian_optimization",
    "GridSearch": "glimr_keras.tuners.grid_search",
    "Hyperband": "glimr_keras.tuners.hyperband",
    "RandomSearch": "glimr_keras.tuners.random_search",
    "RayTuner": "glimr_keras.tuners.ray_tuner",
    "SklearnTuner": "glimr_keras.tuners.sklearn_tuner",
    "Tuner": "glimr_keras.tuners.tuner",
}
"""The module of each public name, or the public module itself, in the order of import."""

__all__ = [
    "Bags",
    "BaseTuner",
    "BayesianOptimization",
    "FailedTrialError",
    "GridSearch",
    "HyperModel",
    "HyperParameters",
    "Hyperband",
    "MaskedLoss",
    "MaskedMetric",
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
    "layers",
    "nested_cross_validation",
    "open_keras_tuner_project",
    "optimization_space",
    "oracles",
    "prune_search",
    "sample_space",
    "survival",
    "synchronized",
    "top_k_configs",
    "top_k_trials",
    "tuners",
    "visualization",
]


def __getattr__(name: str) -> Any:
    """Return a public name or a module.

    The first access imports all public names, so the set of imported names is the same afterwards.
    """
    if name not in _PLACES and (
        name.startswith("__") or importlib.util.find_spec(f"{__name__}.{name}") is None
    ):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        for public, place in _PLACES.items():
            module = importlib.import_module(place)
            is_module = place == f"{__name__}.{public}"
            globals().setdefault(public, module if is_module else getattr(module, public))
    except AttributeError as error:  # Python would report it as a missing name
        raise ImportError(f"{__name__} cannot be imported: {error}") from error
    found = globals().get(name)
    return importlib.import_module(f"{__name__}.{name}") if found is None else found


def __dir__() -> list[str]:
    """Return the public names, including those not yet imported."""
    return sorted({*globals(), *__all__})
