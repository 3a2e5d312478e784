"""KerasTuner's modules of the same names. Re-exports only."""

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
