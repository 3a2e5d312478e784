"""Adapts the user's callbacks to one trial, so that each writes to a separate place. Runs in the
worker.
"""

from __future__ import annotations

import functools
import json
import os
import pathlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import keras

from glimr_keras._utils.files import locked, write_whole
from glimr_keras.space.hyperparameters import HyperParameters
from glimr_keras.training.hparams import HParams
from glimr_keras.training.messages import ExecutionSpec
from glimr_keras.trials.layout import execution_directory


def logs_directory(log_dir: Any, trial_id: str, execution: int) -> str:
    """Return `log_dir/<trial>/execution<number>`, as in KerasTuner; `log_dir` may be a URI."""
    return os.path.join(str(log_dir), str(trial_id), f"execution{execution}")  # noqa: PTH118


def of_trial(
    callbacks: Sequence[keras.callbacks.Callback], spec: ExecutionSpec, config: HyperParameters
) -> list[keras.callbacks.Callback]:
    """Return the callbacks with paths that no other training writes to.

    `TensorBoard` gets its directory from `place_logs`. If the package tensorboard is installed, it
    also writes the hyperparameters for the HParams tab. `ModelCheckpoint`, `CSVLogger` and
    `BackupAndRestore` write into a folder `trial_<trial>` beside the user's path, and in it into
    `execution_<number>`, except for the first execution. When the training ends, the output of
    `CSVLogger` and `ModelCheckpoint` is copied to the user's path. There the last training's output
    stays, or the best of all trainings with `ModelCheckpoint(save_best_only=True)`.

    Args:
        callbacks: Copies that belong to this training. They are changed, except for those that were
            given here before.
        spec: The execution.
        config: Its hyperparameters; more may be asked for later.
    """
    found: list[keras.callbacks.Callback] = []
    for callback in callbacks:
        found.append(callback)
        has_values = any(isinstance(each, HParams) and each.logs is callback for each in callbacks)
        if isinstance(callback, keras.callbacks.TensorBoard) and not has_values:
            found += HParams.of(callback, spec, config)
        for kind, attribute in _PATHS.items():
            if isinstance(callback, kind):
                wanted, is_new = _place(callback, attribute, functools.partial(_own, spec=spec))
                if is_new and "{" not in wanted and kind is not keras.callbacks.BackupAndRestore:
                    found.append(
                        _Published(callback, attribute, pathlib.Path(wanted), spec.project)
                    )
    return found


def place_logs(
    callbacks: Iterable[keras.callbacks.Callback],
    trial_id: str,
    execution: int,
    directory: Callable[[Any, str, int], str] = logs_directory,
) -> None:
    """Give each `TensorBoard` among the callbacks a directory of this execution, named by
    `directory`.
    """
    for callback in callbacks:
        if isinstance(callback, keras.callbacks.TensorBoard):
            _place(callback, "log_dir", lambda wanted: directory(wanted, trial_id, execution))


def _place(
    callback: keras.callbacks.Callback, attribute: str, place: Callable[[str], str]
) -> tuple[str, bool]:
    """Redirect a callback to another path. It and its copies remember the user's path, so this may
    be repeated.

    Returns:
        The user's path, and whether the new path differs from the one before.
    """
    wanted, placed = vars(callback).get(_REMEMBERED, ("", None))
    now = os.fspath(getattr(callback, attribute))
    wanted = wanted if now == placed else now
    own = place(wanted)
    before = now.rstrip(os.sep) + os.sep
    inside = {
        name: path
        for name, path in vars(callback).items()
        if isinstance(path, str) and path.startswith(before)
    }
    for name, path in inside.items():  # paths that the callback has already derived from it
        setattr(callback, name, own + os.sep + path.removeprefix(before))
    setattr(callback, attribute, own)
    setattr(callback, _REMEMBERED, (wanted, own))
    return wanted, own != placed


_REMEMBERED = "_glimr_keras_place"

_PATHS: dict[type[keras.callbacks.Callback], str] = {
    keras.callbacks.ModelCheckpoint: "filepath",
    keras.callbacks.CSVLogger: "filename",
    keras.callbacks.BackupAndRestore: "backup_dir",
}


def _own(path: str, spec: ExecutionSpec) -> str:
    """Return the path in a folder of the trial, which is created."""
    place = pathlib.Path(path)
    folder = execution_directory(place.parent, spec.trial_id, spec.execution)
    folder.mkdir(parents=True, exist_ok=True)
    return str(folder / place.name)


def knows(callback: Any) -> bool:
    """Return whether a callback runs no user code, and so changes nothing of a model but the values
    of variables.
    """
    kind = type(callback)
    is_ours = kind.__module__.startswith(("glimr_keras.training.", "glimr_keras.models."))
    is_keras = getattr(keras.callbacks, kind.__name__, None) is kind
    asks = (keras.callbacks.LambdaCallback, keras.callbacks.LearningRateScheduler)
    is_hooked = any(name.startswith(("on_", "set_")) for name in vars(callback))
    return (is_ours or (is_keras and kind not in asks)) and not is_hooked


class _Published(keras.callbacks.Callback):
    """Copy a callback's output in a training to the path where the user expects it.

    If the callback saves the best model only, it is copied unless another training of the project
    had a better one. A hidden file beside it records the value of the current best.
    """

    def __init__(
        self,
        writer: keras.callbacks.Callback,
        attribute: str,
        wanted: pathlib.Path,
        project: str | None,
    ) -> None:
        super().__init__()
        self._writer, self._attribute, self._wanted, self._project = (
            writer,
            attribute,
            wanted,
            project,
        )

    def on_train_end(self, logs: Mapping[str, Any] | None = None) -> None:
        written = pathlib.Path(getattr(self._writer, self._attribute))
        if not written.is_file():
            return
        with locked(self._wanted.with_name(f".{self._wanted.name}.json")) as record:
            if not getattr(self._writer, "save_best_only", False):
                write_whole(self._wanted, written.read_bytes())
            elif self._writer.best is not None and self._is_better(record.read()):
                write_whole(self._wanted, written.read_bytes())
                record.seek(0)
                record.truncate()
                record.write(
                    json.dumps({"project": self._project, "best": float(self._writer.best)})
                )

    def _is_better(self, record: str) -> bool:
        """Return whether it is better than the record, or the record is of another project."""
        try:
            said = json.loads(record)
            return said["project"] != self._project or bool(
                self._writer.monitor_op(float(self._writer.best), said["best"])
            )
        except (ValueError, KeyError, TypeError):  # there is no record, or an incomplete one
            return True
