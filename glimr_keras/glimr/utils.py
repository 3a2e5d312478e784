"""The module where glimr has its functions for search spaces; its manual also imports the makers
of losses and metrics from here. Re-exports only.
"""

from glimr_keras.glimr import former_names
from glimr_keras.models.optimizers import keras_optimizer
from glimr_keras.models.tasks import keras_losses, keras_metrics
from glimr_keras.space.declared_space import prune_search, sample_space

__all__ = ["keras_losses", "keras_metrics", "keras_optimizer", "prune_search", "sample_space"]

__getattr__ = former_names.refusing(__name__)
