"""Where KerasTuner has `Tuner`. A door: nothing is defined here."""

from glimr_keras.tuner import Tuner, maybe_distribute

__all__ = ["Tuner", "maybe_distribute"]
