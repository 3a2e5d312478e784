"""The user's callbacks, made those of one trial: each writes to a place of its own. Runs in the worker."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import pathlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import keras

from glimr_keras.hyperparameters import HyperParameters
from glimr_keras.reporting import own_values
from glimr_keras.storage import write_whole
from glimr_keras.trials import Run, Trial, execution_directory


def logs_directory(log_dir: Any, trial_id: str, execution: int) -> str:
    """`log_dir/<trial>/execution<number>`, as in KerasTuner; `log_dir` may be a URI."""
    return os.path.join(str(log_dir), str(trial_id), f"execution{execution}")  # noqa: PTH118


def of_trial(
    callbacks: Sequence[keras.callbacks.Callback], run: Run, config: HyperParameters
) -> list[keras.callbacks.Callback]:
    """The callbacks with paths that no other training writes to.

    `TensorBoard`, which `place_logs` gives its directory, also writes the hyperparameters for the tab of that name, where the
    package tensorboard is installed. `ModelCheckpoint`, `CSVLogger` and `BackupAndRestore`
    write into a folder `trial_<trial>` (and in it `execution_<number>`, but for the first) beside where they would have. What
    `CSVLogger` wrote is copied to where it would have when the training has ended, so the last training's is there.

    Args:
        callbacks: Copies that belong to this training; they are changed.
        run: The training.
        config: Its hyperparameters, as far as they are known.
    """
    found: list[keras.callbacks.Callback] = []
    for callback in callbacks:
        found.append(callback)
        if isinstance(callback, keras.callbacks.TensorBoard):
            found += _hparams(str(callback.log_dir), run, config)
            continue
        for kind, attribute in _PATHS.items():
            if isinstance(callback, kind):
                wanted = getattr(callback, attribute)
                setattr(callback, attribute, _own(wanted, run))
                found += [_Published(callback, wanted)] if kind is keras.callbacks.CSVLogger else []
    return found


def place_logs(
    callbacks: Iterable[keras.callbacks.Callback],
    trial_id: str,
    execution: int,
    directory: Callable[[Any, str, int], str] = logs_directory,
) -> None:
    """Gives each `TensorBoard` among the callbacks a directory of this execution, which `directory` names."""
    for callback in callbacks:
        if isinstance(callback, keras.callbacks.TensorBoard):
            callback.log_dir = directory(callback.log_dir, trial_id, execution)


_PATHS: dict[type[keras.callbacks.Callback], str] = {
    keras.callbacks.ModelCheckpoint: "filepath",
    keras.callbacks.CSVLogger: "filename",
    keras.callbacks.BackupAndRestore: "backup_dir",
}


def _own(path: Any, run: Run) -> str:
    """The path in a folder of the trial's own, which is made."""
    place = pathlib.Path(os.fspath(path))
    folder = execution_directory(place.parent, run.trial_id, run.execution)
    folder.mkdir(parents=True, exist_ok=True)
    return str(folder / place.name)


def _hparams(directory: str, run: Run, config: HyperParameters) -> list[keras.callbacks.Callback]:
    """What writes the hyperparameters for TensorBoard's tab of that name."""
    if keras.backend.backend() != "tensorflow" or importlib.util.find_spec("tensorboard") is None:
        return []
    from tensorboard.plugins.hparams import api  # an optional package

    values: Mapping[str, Any] = own_values(config)
    known = {name: value for name, value in values.items() if isinstance(value, (bool, int, float, str))}
    with contextlib.suppress(ImportError):
        return [api.KerasCallback(directory, known, trial_id=run.trial_id)]
    return []


class _Published(keras.callbacks.Callback):
    """Copies the log of a training to where the user looks for it."""

    def __init__(self, logger: keras.callbacks.CSVLogger, wanted: Any) -> None:
        super().__init__()
        self._logger, self._wanted = logger, pathlib.Path(os.fspath(wanted))

    def on_train_end(self, logs: Mapping[str, Any] | None = None) -> None:
        write_whole(self._wanted, pathlib.Path(self._logger.filename).read_bytes())


class HookCallback(keras.callbacks.Callback):
    """Tells a tuner of the user's own of the epochs and batches of a training.

    Args:
        tuner: With `on_epoch_begin`, `on_epoch_end`, `on_batch_begin`, `on_batch_end`.
        trial: What it is told of.
    """

    def __init__(self, tuner: Any, trial: Trial) -> None:
        super().__init__()
        self.tuner, self.trial = tuner, trial

    @classmethod
    def of(cls, tuner: Any, trial: Trial) -> list[keras.callbacks.Callback]:
        """The callbacks that a tuner needs: with one for batches, Keras waits for each of them."""
        return [_BatchHookCallback(tuner, trial) if tuner.is_told_of_batches else cls(tuner, trial)]

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        self.tuner.on_epoch_begin(self.trial, self.model, epoch, logs=logs)

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        self.tuner.on_epoch_end(self.trial, self.model, epoch, logs=logs)


class _BatchHookCallback(HookCallback):
    def on_train_batch_begin(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        self.tuner.on_batch_begin(self.trial, self.model, batch, logs)

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        self.tuner.on_batch_end(self.trial, self.model, batch, logs)
