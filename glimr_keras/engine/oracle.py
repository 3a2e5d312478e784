"""The module where KerasTuner has `Oracle` and `Objective`. Re-exports only."""

from glimr_keras.oracles import Oracle
from glimr_keras.oracles.locks import synchronized
from glimr_keras.trials.objective import MultiObjective, Objective

__all__ = ["MultiObjective", "Objective", "Oracle", "synchronized"]
