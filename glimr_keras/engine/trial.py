"""Where KerasTuner has `Trial`. A door: nothing is defined here."""

from glimr_keras.trials.trial import Trial, TrialStatus

__all__ = ["Trial", "TrialStatus"]
