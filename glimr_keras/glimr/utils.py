"""Where glimr has what works on a space, and in its manual what makes losses and metrics. A door:
nothing is defined here.
"""

from glimr_keras.glimr import former_names
from glimr_keras.models.optimizers import keras_optimizer
from glimr_keras.models.tasks import keras_losses, keras_metrics
from glimr_keras.space.declared_space import prune_search, sample_space

__all__ = ["keras_losses", "keras_metrics", "keras_optimizer", "prune_search", "sample_space"]

__getattr__ = former_names.refusing(__name__)
