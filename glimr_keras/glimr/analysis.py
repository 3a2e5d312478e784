"""The module where glimr has its tables of an experiment. Re-exports only."""

from glimr_keras.glimr import former_names
from glimr_keras.glimr.experiments import experiment_table
from glimr_keras.results.tables import default_checkpoints, top_k_configs, top_k_trials

__all__ = ["default_checkpoints", "experiment_table", "top_k_configs", "top_k_trials"]

__getattr__ = former_names.refusing(__name__)
