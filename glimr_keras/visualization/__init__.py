"""Figures of a search, drawn with Matplotlib or Plotly.

Each function takes a tuner or the results that `open` returns, a project's directory, or a table.
"""

from glimr_keras.visualization.backends import save
from glimr_keras.visualization.figures import FIGURES, applicable
from glimr_keras.visualization.folds import plot_folds
from glimr_keras.visualization.history import plot_edf, plot_optimization_history
from glimr_keras.visualization.hyperband import plot_hyperband
from glimr_keras.visualization.importances import plot_param_importances
from glimr_keras.visualization.learning_curves import plot_learning_curves
from glimr_keras.visualization.nested import plot_nested
from glimr_keras.visualization.pairs import plot_contour, plot_rank
from glimr_keras.visualization.parallel import plot_parallel_coordinate
from glimr_keras.visualization.pareto import plot_pareto_front
from glimr_keras.visualization.slices import plot_slice
from glimr_keras.visualization.timeline import plot_timeline

__all__ = [
    "FIGURES",
    "applicable",
    "plot_contour",
    "plot_edf",
    "plot_folds",
    "plot_hyperband",
    "plot_learning_curves",
    "plot_nested",
    "plot_optimization_history",
    "plot_parallel_coordinate",
    "plot_param_importances",
    "plot_pareto_front",
    "plot_rank",
    "plot_slice",
    "plot_timeline",
    "save",
]
