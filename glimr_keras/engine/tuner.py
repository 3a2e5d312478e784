"""Where KerasTuner has `Tuner`. A door: nothing is defined here."""

from glimr_keras.compiling import maybe_distribute
from glimr_keras.tuner import Tuner

__all__ = ["Tuner", "maybe_distribute"]
