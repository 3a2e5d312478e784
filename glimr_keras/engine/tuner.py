"""The module where KerasTuner has `Tuner`. Re-exports only."""

from glimr_keras.models.compile_overrides import maybe_distribute
from glimr_keras.tuners.tuner import Tuner

__all__ = ["Tuner", "maybe_distribute"]
