"""Survival analysis: losses, metrics over all samples, and folds. Runs in the worker; folds, in
the driver.
"""

from glimr_keras.survival.curves import CensoringDistribution, breslow_survival
from glimr_keras.survival.folds import survival_folds, survival_strata
from glimr_keras.survival.intervals import discrete_survival, time_cuts
from glimr_keras.survival.losses import CoxPartialLikelihood, DiscreteHazard
from glimr_keras.survival.metrics import (
    ConcordanceIndex,
    IntegratedBrierScore,
    UnoConcordanceIndex,
)
from glimr_keras.survival.scores import (
    brier_score,
    concordance_index,
    integrated_brier_score,
    uno_concordance_index,
)
from glimr_keras.survival.targets import survival_target

__all__ = [
    "CensoringDistribution",
    "ConcordanceIndex",
    "CoxPartialLikelihood",
    "DiscreteHazard",
    "IntegratedBrierScore",
    "UnoConcordanceIndex",
    "breslow_survival",
    "brier_score",
    "concordance_index",
    "discrete_survival",
    "integrated_brier_score",
    "survival_folds",
    "survival_strata",
    "survival_target",
    "time_cuts",
    "uno_concordance_index",
]
