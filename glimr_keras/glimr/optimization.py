"""Where glimr has `optimization_space`. A door: nothing is defined here."""

from glimr_keras.glimr import former_names
from glimr_keras.models.optimizers import optimization_space

__all__ = ["optimization_space"]

__getattr__ = former_names.refusing(__name__)
