"""Where KerasTuner has `Oracle` and `Objective`. A door: nothing is defined here."""

from glimr_keras.objective import MultiObjective, Objective
from glimr_keras.oracles import Oracle
from glimr_keras.oracles.own_loop import synchronized

__all__ = ["MultiObjective", "Objective", "Oracle", "synchronized"]
