"""The parts of KerasTuner's own `run_trial`, for subclasses that contain a copy of it. Runs in the
worker.
"""

from __future__ import annotations

import contextlib
import copy
import json
import os
import pathlib
import shutil
import statistics
from collections.abc import Iterable, Mapping
from typing import Any

import keras

from glimr_keras.models.compile_overrides import CompileOverrides
from glimr_keras.project import checkpoints
from glimr_keras.results.results import Results
from glimr_keras.space.hp_types import Boolean, Choice, Fixed, Float, HyperParameter, Int
from glimr_keras.space.hyperparameters import HyperParameters
from glimr_keras.training.returned_metrics import metrics_of
from glimr_keras.training.user_callbacks import logs_directory, place_logs
from glimr_keras.trials.objective import Objective
from glimr_keras.trials.trial import Trial


class SaveBestEpoch(keras.callbacks.Callback):
    """Save a model's weights whenever an epoch is the best so far.

    If the logs lack the objective, the weights are saved after each epoch.

    Args:
        objective: An `Objective` with its direction.
        filepath: Path of the file, ending in `.weights.h5`.
    """

    def __init__(self, objective: Objective, filepath: str | os.PathLike[str]) -> None:
        super().__init__()
        self.objective, self.filepath = objective, filepath
        self.best_value: float | None = None

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        logs = logs or {}
        if self.objective.has_value(logs):
            value = self.objective.get_value(logs)
            if not self.objective.better_than(value, self.best_value):
                return
            self.best_value = value
        self.model.save_weights(self.filepath)


def average_metrics_dicts(metrics_dicts: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """Return the mean of each metric over the trainings that have it."""
    values: dict[str, list[float]] = {}
    for metrics in metrics_dicts:
        for name, value in metrics.items():
            values.setdefault(name, []).append(float(value))
    return {name: statistics.fmean(several) for name, several in values.items()}


def convert_to_metrics_dict(results: Any, objective: Objective) -> dict[str, float]:
    """Return the metrics in the return value of `fit` or `run_trial`.

    For a `History`, they are those of the best epoch; for a list, the means.
    """
    if isinstance(results, list):
        return average_metrics_dicts(convert_to_metrics_dict(each, objective) for each in results)
    if isinstance(results, Mapping):
        return dict(results)
    metrics, _ = metrics_of(results, objective, "fit()")
    return metrics


def validate_trial_results(results: Any, objective: Objective, func_name: str) -> None:
    """Check the return value of `fit` or `run_trial`.

    Args:
        results: The return value.
        objective: The objective of the search.
        func_name: The function's name in error messages, such as `"Tuner.run_trial()"`.

    Raises:
        FatalTypeError, FatalValueError: If it has no metrics, or lacks the objective.
    """
    for each in results if isinstance(results, list) else [results]:
        metrics_of(each, objective, func_name)


def get_best_step(results: Any, objective: Objective) -> int:
    """Return the best epoch of a `History`, counted from 0; 0 if there are no epochs.

    For a list, it is the mean, rounded down.
    """
    if isinstance(results, list):
        return int(statistics.fmean(get_best_step(each, objective) for each in results))
    if not isinstance(results, keras.callbacks.History):
        return 0
    _, epoch = metrics_of(results, objective, "fit()")
    return (epoch or 1) - 1


def convert_hyperparams_to_hparams(
    hyperparams: HyperParameters, hparams_api: Any
) -> dict[Any, Any]:
    """Return a configuration in the form of TensorBoard's HParams.

    Args:
        hyperparams: The configuration.
        hparams_api: The module `tensorboard.plugins.hparams.api`.
    """
    hparams = {}
    for parameter in hyperparams.space:
        with contextlib.suppress(
            ValueError
        ):  # a hyperparameter that this configuration does not have
            value = hyperparams.get(parameter.name)
            hparams[hparams_api.HParam(parameter.name, _domain(parameter, hparams_api))] = value
    return hparams


def _domain(parameter: HyperParameter, api: Any) -> Any:
    """Return the domain of a hyperparameter for TensorBoard; `None` for any value."""
    match parameter:
        case Int(step=1 | None):
            return api.IntInterval(parameter.min_value, parameter.max_value)
        case Float(step=None):
            return api.RealInterval(parameter.min_value, parameter.max_value)
        case Choice() if None in parameter.values:
            return None
        case Int() | Float() | Choice() | Boolean() | Fixed():
            return api.Discrete(list(parameter.values))
    return None


# The functions of KerasTuner's module `utils`


def create_directory(path: str | os.PathLike[str], remove_existing: bool = False) -> None:
    """Create a directory and its parents, unless it exists.

    Args:
        path: The directory.
        remove_existing: Whether to remove an existing directory with its contents first. Defaults
            to `False`.
    """
    if remove_existing:
        shutil.rmtree(path, ignore_errors=True)
    pathlib.Path(path).mkdir(parents=True, exist_ok=True)


def save_json(path: str | os.PathLike[str], obj: Any) -> str:
    """Write an object to a file as JSON, and return the text."""
    text = json.dumps(obj)
    pathlib.Path(path).write_text(text, "utf-8")
    return text


def load_json(path: str | os.PathLike[str]) -> Any:
    """Read what `save_json` wrote."""
    return json.loads(pathlib.Path(path).read_text("utf-8"))


def to_list(values: Any) -> list[Any]:
    """Return the values as a list; a single value as a list of one."""
    return list(values) if isinstance(values, (list, tuple)) else [values]


def multi_backend() -> bool:
    """Return whether Keras is Keras 3, which is always the case."""
    return True


class RunTrialMethods(Results):
    """The tuner methods that KerasTuner's own `run_trial` calls, for copies of it."""

    def _deepcopy_callbacks(self, callbacks: Any) -> Any:
        """Return a copy of the callbacks, which belong to one execution already."""
        return copy.deepcopy(callbacks)

    def _configure_tensorboard_dir(self, callbacks: Any, trial: Trial, execution: int = 0) -> None:
        """Set the directory of each `TensorBoard` callback to one of this execution."""
        place_logs(callbacks, trial.trial_id, execution, self._get_tensorboard_dir)

    def _get_tensorboard_dir(self, logdir: Any, trial_id: str, execution: int) -> str:
        """Return the directory of an execution's logs."""
        return logs_directory(logdir, trial_id, execution)

    def _get_checkpoint_fname(self, trial_id: str) -> str:
        """Return the path of the file with the weights of a trial's best epoch."""
        return str(pathlib.Path(self.get_trial_dir(trial_id), checkpoints.WEIGHTS))

    def _get_build_config_fname(self, trial_id: str) -> str:
        """Return a path where a user-defined `run_trial` may store its model's build config.

        Nothing else writes or reads it.
        """
        return str(pathlib.Path(self.get_trial_dir(trial_id), "build_config.json"))

    def _override_compile_args(self, model: keras.Model) -> None:
        """Compile a model with the optimizer, loss and metrics passed to the tuner."""
        CompileOverrides.of(self).apply(model)
