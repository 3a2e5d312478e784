"""The module where glimr makes Keras objects from a configuration. Re-exports only."""

from glimr_keras.models.optimizers import keras_optimizer
from glimr_keras.models.tasks import keras_losses, keras_metrics

__all__ = ["keras_losses", "keras_metrics", "keras_optimizer"]
