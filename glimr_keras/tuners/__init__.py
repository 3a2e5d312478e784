"""The tuners, which run searches: their arguments, the search itself, and the hooks for subclasses.
Runs in the driver.
"""

from glimr_keras.tuners.bayesian_optimization import BayesianOptimization
from glimr_keras.tuners.grid_search import GridSearch
from glimr_keras.tuners.hyperband import Hyperband
from glimr_keras.tuners.random_search import RandomSearch
from glimr_keras.tuners.sklearn_tuner import SklearnTuner
from glimr_keras.tuners.tuner import Tuner

__all__ = [
    "BayesianOptimization",
    "GridSearch",
    "Hyperband",
    "RandomSearch",
    "SklearnTuner",
    "Tuner",
]
