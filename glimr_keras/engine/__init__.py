"""The places where KerasTuner has its classes. Doors: nothing is defined here."""

from glimr_keras.engine import (
    base_tuner,
    hypermodel,
    hyperparameters,
    metrics_tracking,
    oracle,
    trial,
    tuner,
)

__all__ = [
    "base_tuner",
    "hypermodel",
    "hyperparameters",
    "metrics_tracking",
    "oracle",
    "trial",
    "tuner",
]
