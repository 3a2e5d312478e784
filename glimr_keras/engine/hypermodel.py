"""Where KerasTuner has `HyperModel`. A door: nothing is defined here."""

from glimr_keras.hypermodel import HyperModel

__all__ = ["HyperModel"]
