"""The module where KerasTuner has `Trial`. Re-exports only."""

from glimr_keras.trials.execution import TrialStatus
from glimr_keras.trials.trial import Trial

__all__ = ["Trial", "TrialStatus"]
