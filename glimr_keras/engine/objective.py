"""The module where KerasTuner has `Objective`. Re-exports only."""

from glimr_keras.trials.objective import MultiObjective, Objective, create_objective

__all__ = ["MultiObjective", "Objective", "create_objective"]
