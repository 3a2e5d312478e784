"""Where KerasTuner has the kinds of hyperparameter. A door: nothing is defined here."""

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
