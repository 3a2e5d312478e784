"""Oracles, which choose what to try next by ask and tell over a search space.

Usable without Ray.

Runs in the driver.
"""

from glimr_keras.oracles.base import Oracle
from glimr_keras.oracles.bayesian import BayesianOptimizationOracle
from glimr_keras.oracles.grid_search import GridSearchOracle
from glimr_keras.oracles.hyperband import HyperbandOracle
from glimr_keras.oracles.random_search import RandomSearchOracle
from glimr_keras.oracles.ray_search import RaySearchOracle
from glimr_keras.oracles.suggestions import Nothing, Suggestion

__all__ = [
    "BayesianOptimizationOracle",
    "GridSearchOracle",
    "HyperbandOracle",
    "Nothing",
    "Oracle",
    "RandomSearchOracle",
    "RaySearchOracle",
    "Suggestion",
]
