"""The module where KerasTuner has `HyperModel`. Re-exports only."""

from glimr_keras.models.hypermodel import HyperModel

__all__ = ["HyperModel"]
