"""The module where KerasTuner has `BaseTuner`. Re-exports only."""

from glimr_keras.tuners.base_tuner import BaseTuner

__all__ = ["BaseTuner"]
