"""A dry run of one configuration before a search, in this process, so that mistakes show within
seconds. Runs in the driver.
"""

from __future__ import annotations

import contextlib
import dataclasses
import time
from typing import Any

import keras
import numpy as np

from glimr_keras.models import data, data_checks
from glimr_keras.models.configuration import configuration
from glimr_keras.models.data import FitArguments
from glimr_keras.space.hyperparameters import HyperParameters
from glimr_keras.training.context import (
    TrialContext,
    fit_kwargs,
    taken_by,
    task_logs,
    with_data,
    with_model,
)
from glimr_keras.training.keras_session import private_memory
from glimr_keras.training.tracker_callbacks import package_of
from glimr_keras.training.tune_callback import scalars


@dataclasses.dataclass(frozen=True)
class DryRun:
    """The results of a dry run of one configuration. `print` shows them.

    Attributes:
        config: The configuration.
        model: The model, trained on the dry run's batches.
        inputs: The shapes of a batch of inputs, with `None` for the axis of samples, in the
            structure of the data; `None` if unknown.
        labels: The shapes of a batch of labels, in the same form.
        outputs: The shapes of the model's outputs for the batch, in the same form.
        parameters: The number of parameters.
        trainable: The number of trainable parameters.
        memory: The memory for the parameters, their gradients and the optimizer's state, in bytes.
        growth: The growth of this process' memory, in bytes; `None` if the system does not report
            it.
        seconds_to_begin: The time for data, `build` and the first batch, in which Keras traces the
            training step.
        seconds_per_epoch: The time for all batches of an epoch, as measured on the batches after
            the first; `None` with fewer than two batches.
        logs: The metrics that Keras logged, by name.
    """

    config: HyperParameters
    model: keras.Model
    inputs: Any
    labels: Any
    outputs: Any
    parameters: int
    trainable: int
    memory: int
    growth: int | None
    seconds_to_begin: float
    seconds_per_epoch: float | None
    logs: dict[str, float]

    def __str__(self) -> str:
        values = (
            "\n".join(f"  {name}: {value}" for name, value in self.config.asked.items())
            or "  nothing was asked for"
        )
        growth = "" if self.growth is None else f", the process grew by {_megabytes(self.growth)}"
        pace = (
            "one batch only"
            if self.seconds_per_epoch is None
            else f"{self.seconds_per_epoch:.3g} s"
        )
        return "\n".join(
            [
                f"Configuration:\n{values}",
                f"Inputs: {self.inputs}",
                f"Labels: {self.labels}",
                f"Outputs: {self.outputs}",
                f"Parameters: {self.parameters:,}, of which {self.trainable:,} are trained",
                f"Memory: {_megabytes(self.memory)} for parameters, gradients and "
                f"optimizer{growth}",
                f"Time: {self.seconds_to_begin:.3g} s to the end of the first batch, then for an "
                f"epoch: {pace}",
                "Logs: " + ", ".join(f"{name} {value:.4g}" for name, value in self.logs.items()),
            ]
        )


def dry_run(context: TrialContext, values: dict[str, Any], batches: int | None) -> DryRun:
    """Train a configuration for one epoch, or for some of its batches.

    Args:
        context: The context of the search.
        values: The configuration's values by full name; missing ones take their defaults.
        batches: The maximum number of batches; `None` for the whole epoch.

    Returns:
        The results of the dry run.

    Raises:
        DataError: If Keras' own `fit` cannot train with the data or arguments.
        Exception: Whatever the user's code raises.
    """
    memory, started = private_memory(), time.monotonic()
    config = configuration(context.space, values, None, *context.first_fold, context.hypermodel)
    model, arguments = with_model(context, config, with_data(context, config))
    clock = _Clock(batches)
    untracked = (each for each in context.callbacks if package_of(each) is None)
    callbacks = [*task_logs(context, config), *untracked, clock]
    kwargs = {
        **fit_kwargs(context, config, arguments),
        "epochs": 1,
        "verbose": 0,
        "callbacks": callbacks,
    }
    if context.loop.is_keras_fit:
        given = taken_by(model, fit_kwargs(context, config, arguments), arguments.kwargs)
        data_checks.check_fit(model, FitArguments(arguments.args, given))
        kwargs = taken_by(model, kwargs, arguments.kwargs)
    returned = context.hypermodel.fit(config, model, *arguments.args, **kwargs)
    grown = private_memory()
    logs = returned if isinstance(returned, dict) else clock.logs
    optimizer = [] if model.optimizer is None else model.optimizer.variables
    held = [*model.variables, *model.trainable_variables, *optimizer]
    batch = data.first_batch(arguments)
    return DryRun(
        config,
        model,
        inputs=None if batch is None else _shapes(batch[0]),
        labels=None if batch is None else _shapes(batch[1]),
        outputs=None if batch is None else _shapes(model(_tensors(batch[0]), training=False)),
        parameters=model.count_params(),
        trainable=sum(int(np.prod(variable.shape)) for variable in model.trainable_variables),
        memory=sum(int(np.prod(variable.shape)) * _bytes(variable.dtype) for variable in held),
        growth=None if memory is None or grown is None else max(grown - memory, 0),
        seconds_to_begin=clock.begun - started,
        seconds_per_epoch=clock.per_epoch,
        logs=scalars(logs),
    )


class _Clock(keras.callbacks.Callback):
    """Time the batches, and end the epoch after a number of them."""

    def __init__(self, batches: int | None) -> None:
        super().__init__()
        self._batches = batches
        self._times: list[float] = []
        self.logs: dict[str, Any] = {}

    @property
    def begun(self) -> float:
        """Return the time at which the first batch ended."""
        return self._times[0] if self._times else time.monotonic()

    @property
    def per_epoch(self) -> float | None:
        if len(self._times) < 2:
            return None
        steps = (self.params or {}).get("steps") or len(self._times)
        return (self._times[-1] - self._times[0]) / (len(self._times) - 1) * steps

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        self._times.append(time.monotonic())
        if self._batches is not None and len(self._times) >= self._batches:
            self.model.stop_training = True

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self.logs = dict(logs or {})


def _shapes(part: Any) -> Any:
    if part is None:
        return None
    return keras.tree.map_structure(lambda leaf: (None, *leaf.shape[1:]), part)


def _tensors(part: Any) -> Any:
    return keras.tree.map_structure(keras.ops.convert_to_tensor, part)


def _bytes(dtype: str) -> int:
    with contextlib.suppress(TypeError):
        return np.dtype(dtype).itemsize
    return 2  # a 16-bit float unknown to NumPy


def _megabytes(count: int) -> str:
    return f"{count / 2**20:.3g} MB"
