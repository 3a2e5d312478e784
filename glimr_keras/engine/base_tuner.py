"""Where KerasTuner has `BaseTuner`. A door: nothing is defined here."""

from glimr_keras.tuners.base_tuner import BaseTuner

__all__ = ["BaseTuner"]
