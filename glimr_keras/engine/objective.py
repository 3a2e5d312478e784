"""Where KerasTuner has `Objective`. A door: nothing is defined here."""

from glimr_keras.trials.objective import MultiObjective, Objective, create_objective

__all__ = ["MultiObjective", "Objective", "create_objective"]
