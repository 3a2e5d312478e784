"""Where KerasTuner has the kinds of hyperparameter. A door: nothing is defined here."""

from glimr_keras.hyperparameters import HyperParameters
from glimr_keras.parameters import Boolean, Choice, Fixed, Float, HyperParameter, Int, deserialize, serialize

__all__ = ["Boolean", "Choice", "Fixed", "Float", "HyperParameter", "HyperParameters", "Int", "deserialize", "serialize"]
