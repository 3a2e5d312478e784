"""Interprets what the user's `fit`, `run` or `run_trial` returned. Runs in the worker."""

from __future__ import annotations

import numbers
import statistics
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from glimr_keras.errors import MissingObjectiveError, NoMetricsError, did_you_mean
from glimr_keras.training.tune_callback import scalars
from glimr_keras.trials.objective import DEFAULT, Objective

KINDS = "Keras' History, a dict of metrics, the objective's value, or a list of those"


def metrics_of(
    returned: Any, objective: Objective, name: str
) -> tuple[dict[str, float], int | None]:
    """Return the metrics in what a user's method returned, and their epoch.

    Args:
        returned: One of `KINDS`. A list counts as its mean.
        objective: The objective.
        name: The name of the method, for messages.

    Returns:
        The values by name, including the objective; and the epoch, counted from 1, or `None` if no
        `History` says it.

    Raises:
        MissingObjectiveError: If the objective is missing.
        NoMetricsError: If it is of another kind.
    """
    if isinstance(returned, list) and returned:
        return _mean([metrics_of(each, objective, name) for each in returned])
    is_number = isinstance(returned, numbers.Real)
    names_it = isinstance(returned, Mapping) and DEFAULT.name in returned
    if objective == DEFAULT and returned is not None and not (is_number or names_it):
        raise NoMetricsError(
            f"Expected what is returned by {_method(name)} to be a single float, to be minimised, "
            f"where no objective is named. {name} returned: {returned!r}"
        )
    if isinstance(returned, keras.callbacks.History):
        return _best_epoch(returned, objective)
    if is_number:
        return {objective.name: float(returned)}, None
    if isinstance(returned, Mapping):
        metrics = scalars(returned)
        _check(metrics, objective, name)
        return metrics, None
    if returned is None:
        raise NoMetricsError(
            f"{name} returned None. Did you forget to return the metrics? Expected: {KINDS}."
        )
    raise NoMetricsError(
        f"Expected what is returned by {_method(name)} to be one of float, dict, "
        f"keras.callbacks.History, or a list of those. {name} returned: {returned!r} of type "
        f"{type(returned).__name__}"
    )


def _method(name: str) -> str:
    """Return the method that the user's one overrides, as KerasTuner calls it."""
    if name.endswith("()"):
        return name
    if "run_trial" in name:
        return "Tuner.run_trial()"
    return "HyperModel.run()" if ".run(" in name else "HyperModel.fit()"


def are_histories(returned: Any) -> bool:
    """Return whether a value is a `History`, or a list of them."""
    return all(
        isinstance(each, keras.callbacks.History)
        for each in (returned if isinstance(returned, list) else [returned])
    )


def last_epoch(history: keras.callbacks.History) -> dict[str, float]:
    """Return the metrics of the last epoch."""
    return scalars(
        {
            name: values[-1]
            for name, values in history.history.items()
            if _are_numbers(values) and len(values)
        }
    )


def added(
    history: keras.callbacks.History, objective: Objective, logged: Mapping[str, float]
) -> dict[str, float]:
    """Return what the user added to a `History` beside what Keras logged, at the best epoch."""
    metrics, _ = _best_epoch(history, objective) if history.history.keys() - logged else ({}, 0)
    return {name: value for name, value in metrics.items() if name not in logged}


def _check(metrics: Mapping[str, float], objective: Objective, name: str) -> None:
    missing = objective.missing(metrics)
    if missing is not None:
        raise MissingObjectiveError(
            f"The metrics that {name} returned must have the specified objective "
            f"{missing!r}.{did_you_mean(missing, metrics)} Received: {sorted(metrics)}"
        )


def _best_epoch(
    history: keras.callbacks.History, objective: Objective
) -> tuple[dict[str, float], int]:
    """Return the metrics of the best epoch, and its number, counted from 1."""
    logs = {name: values for name, values in history.history.items() if _are_numbers(values)}
    epochs = [
        scalars({name: values[index] for name, values in logs.items() if index < len(values)})
        for index in range(max(map(len, logs.values()), default=0))
    ]
    best = objective.best_step(dict(enumerate(epochs)))
    if best is None:
        raise ValueError(
            f"No epoch of the returned History has the objective {objective.name!r}: "
            f"{sorted(history.history)}"
        )
    numbers = getattr(history, "epoch", [])  # a user-made History does not have it
    return epochs[best], (numbers[best] if best < len(numbers) else best) + 1


def _are_numbers(values: Any) -> bool:
    """Return whether values are of epochs, and not something else that the user put into a
    `History`.
    """
    return isinstance(values, (list, tuple, np.ndarray)) and all(
        hasattr(value, "__float__") for value in values
    )


def _mean(
    several: list[tuple[dict[str, float], int | None]],
) -> tuple[dict[str, float], int | None]:
    names = [name for name in several[0][0] if all(name in metrics for metrics, _ in several)]
    epochs = [epoch for _, epoch in several if epoch is not None]
    mean = {name: statistics.fmean(metrics[name] for metrics, _ in several) for name in names}
    return mean, int(statistics.fmean(epochs)) if epochs else None
