"""Where KerasTuner has the kinds of hyperparameter. A door: nothing is defined here."""

from glimr_keras.hyperparameters import HyperParameters, deserialize
from glimr_keras.parameters import Boolean, Choice, Fixed, Float, HyperParameter, Int, serialize

__all__ = ["Boolean", "Choice", "Fixed", "Float", "HyperParameter", "HyperParameters", "Int", "deserialize", "serialize"]
