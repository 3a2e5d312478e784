"""The module where KerasTuner has its hyperparameter classes. Re-exports only."""

from glimr_keras.space.hp_types import Boolean, Choice, Fixed, Float, HyperParameter, Int, serialize
from glimr_keras.space.hyperparameters import HyperParameters, deserialize

__all__ = [
    "Boolean",
    "Choice",
    "Fixed",
    "Float",
    "HyperParameter",
    "HyperParameters",
    "Int",
    "deserialize",
    "serialize",
]
