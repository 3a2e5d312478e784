"""The module where glimr has `optimization_space`. Re-exports only."""

from glimr_keras.glimr import former_names
from glimr_keras.models.optimizers import optimization_space

__all__ = ["optimization_space"]

__getattr__ = former_names.refusing(__name__)
