"""Where KerasTuner has `Tuner`. A door: nothing is defined here."""

from glimr_keras.models.compile_overrides import maybe_distribute
from glimr_keras.tuners.tuner import Tuner

__all__ = ["Tuner", "maybe_distribute"]
