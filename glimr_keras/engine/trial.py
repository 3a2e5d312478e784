"""Where KerasTuner has `Trial`. A door: nothing is defined here."""

from glimr_keras.trials.execution import TrialStatus
from glimr_keras.trials.trial import Trial

__all__ = ["Trial", "TrialStatus"]
