"""The module where KerasTuner has the parts of its own `run_trial`. Re-exports only."""

from glimr_keras.tuners.run_trial_parts import (
    SaveBestEpoch,
    average_metrics_dicts,
    convert_hyperparams_to_hparams,
    convert_to_metrics_dict,
    get_best_step,
    validate_trial_results,
)
from glimr_keras.tuners.tuner_loop import TunerCallback

__all__ = [
    "SaveBestEpoch",
    "TunerCallback",
    "average_metrics_dicts",
    "convert_hyperparams_to_hparams",
    "convert_to_metrics_dict",
    "get_best_step",
    "validate_trial_results",
]
