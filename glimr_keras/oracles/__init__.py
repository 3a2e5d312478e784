"""Oracles: what to try next. Ask and tell over a search space; usable without Ray. Runs in the driver."""

from glimr_keras.oracles.base import Nothing, Oracle, Suggestion
from glimr_keras.oracles.random_search import RandomSearchOracle
from glimr_keras.oracles.ray_search import RaySearchOracle

__all__ = ["Nothing", "Oracle", "RandomSearchOracle", "RaySearchOracle", "Suggestion"]
