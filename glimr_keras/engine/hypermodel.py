"""Where KerasTuner has `HyperModel`. A door: nothing is defined here."""

from glimr_keras.models.hypermodel import HyperModel

__all__ = ["HyperModel"]
