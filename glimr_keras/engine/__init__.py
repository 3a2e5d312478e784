"""The places where KerasTuner has its classes. Doors: nothing is defined here."""

from glimr_keras.engine import (
    base_tuner,
    hypermodel,
    hyperparameters,
    metrics_tracking,
    objective,
    oracle,
    private_paths,
    trial,
    tuner,
    tuner_utils,
)

private_paths.open_doors()

__all__ = [
    "base_tuner",
    "hypermodel",
    "hyperparameters",
    "metrics_tracking",
    "objective",
    "oracle",
    "trial",
    "tuner",
    "tuner_utils",
]
