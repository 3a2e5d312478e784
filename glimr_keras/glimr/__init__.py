"""glimr's class `Search` on top of `RayTuner`, and glimr's functions under their module paths."""

from glimr_keras.glimr.analysis import (
    default_checkpoints,
    experiment_table,
    top_k_configs,
    top_k_trials,
)
from glimr_keras.glimr.keras import keras_losses, keras_metrics, keras_optimizer
from glimr_keras.glimr.optimization import optimization_space
from glimr_keras.glimr.search import Search
from glimr_keras.glimr.utils import prune_search, sample_space

__all__ = [
    "Search",
    "default_checkpoints",
    "experiment_table",
    "keras_losses",
    "keras_metrics",
    "keras_optimizer",
    "optimization_space",
    "prune_search",
    "sample_space",
    "top_k_configs",
    "top_k_trials",
]
