"""Where KerasTuner has `Oracle` and `Objective`. A door: nothing is defined here."""

from glimr_keras.oracles import Oracle
from glimr_keras.oracles.locks import synchronized
from glimr_keras.trials.objective import MultiObjective, Objective

__all__ = ["MultiObjective", "Objective", "Oracle", "synchronized"]
