"""Survival targets: time and event in one array. Runs in driver and worker."""

from __future__ import annotations

import warnings
from typing import Any

import keras
import numpy as np
from keras import ops

_HALF = ("float16", "bfloat16")


def survival_target(time: Any, event: Any, missing: bool = False) -> np.ndarray:
    """Return targets for this package's survival losses and metrics.

    Args:
        time: When the event happened, or when the sample was last seen without it. Shape
            (samples,), numbers of at least 0, in any unit.
        event: Whether the event happened, shape (samples,): booleans, or 1 and 0.
        missing: Whether to allow nan, in either, for unknown values. Losses and metrics ignore
            such samples, as if they were not in the batch. Defaults to `False`.

    Returns:
        Time and event, shape (samples, 2), float32.

    Raises:
        ValueError: If the shapes differ, or a value is not allowed.

    Warns:
        UserWarning: If different times become ties in float32, which holds 7 digits.
    """
    times, events = _columns(time, event)
    unknown = np.isnan(times) | np.isnan(events)
    if unknown.any() and not missing:
        raise ValueError(
            f"`time` and `event` must not be nan. Received: {int(unknown.sum())} nan. With "
            "`missing=True` these samples are left out by losses and metrics."
        )
    _check(times[~unknown], events[~unknown])
    rounded = times.astype("float32")
    tied = len(np.unique(times[~unknown])) - len(np.unique(rounded[~unknown]))
    if tied:
        warnings.warn(
            f"{tied} different times are the same as others in float32, and so are ties. Give "
            "times in whole units, such as days.",
            stacklevel=2,
        )
    target = np.stack([rounded, events.astype("float32")], axis=1)
    target[unknown] = np.nan
    return target


def checked(time: Any, event: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return times as float64 and events as booleans, both of shape (samples,).

    Raises:
        ValueError: If the shapes differ, there are no samples, or a value is not allowed.
    """
    times, events = _columns(time, event)
    if not len(times):
        raise ValueError("`time` and `event` must have at least one sample. Received: none")
    _check(times, events)
    return times, events > 0


def parts(y_true: Any) -> tuple[Any, Any, Any]:
    """Split targets into time, event and a mask of known samples, each of shape (samples,).

    Args:
        y_true: Targets, shape (samples, 2); any further columns are ignored. Where time or event
            is not finite, both are set to 0, and the sample is not known.

    Raises:
        ValueError: If it has another shape.
    """
    shape = tuple(y_true.shape)
    if len(shape) != 2 or shape[1] is None or shape[1] < 2:
        raise ValueError(
            "Targets must have shape (samples, 2), time and event, as `survival_target(time, "
            f"event)` makes them. Received: targets of shape {shape}"
        )
    time, event = y_true[:, 0], y_true[:, 1]
    known = ops.logical_and(ops.isfinite(time), ops.isfinite(event))
    zero = ops.zeros_like(time)
    return ops.where(known, time, zero), ops.where(known, event, zero), known


def one_column(y_pred: Any) -> Any:
    """Return outputs of shape (samples, 1) or (samples,) as a tensor of shape (samples,).

    Raises:
        ValueError: If they have another shape.
    """
    shape = tuple(y_pred.shape)
    if len(shape) == 1:
        return y_pred
    if len(shape) != 2 or shape[1] != 1:
        raise ValueError(
            "The model must have one output for each sample, its log hazard, shape (samples, 1). "
            f"Received: outputs of shape {shape}"
        )
    return y_pred[:, 0]


def weights_of(sample_weight: Any, like: Any) -> Any:
    """Return sample weights as a tensor of shape (samples,), all 1 for `None`."""
    if sample_weight is None:
        return ops.ones_like(like)
    return ops.reshape(ops.convert_to_tensor(sample_weight, dtype=like.dtype), (-1,))


def weighted_parts(y_true: Any, sample_weight: Any) -> tuple[Any, Any, Any, Any]:
    """Split targets as `parts` does, and add the weight of each sample.

    Samples of weight 0 are not known, and unknown samples have the weight 0.
    """
    time, event, known = parts(y_true)
    weight = weights_of(sample_weight, time)
    known = ops.logical_and(known, weight > 0)
    return time, event, known, ops.where(known, weight, ops.zeros_like(weight))


def precise(dtype: Any) -> Any:
    """Return the dtype of a computation, at least float32: half precision cannot count samples."""
    given = keras.dtype_policies.get(dtype or keras.config.floatx()).compute_dtype
    return "float32" if given in _HALF else dtype


def _columns(time: Any, event: Any) -> tuple[np.ndarray, np.ndarray]:
    times, events = np.asarray(time, "float64"), np.asarray(event, "float64")
    if times.ndim != 1 or times.shape != events.shape:
        raise ValueError(
            "`time` and `event` must have one shape, (samples,). Received: shapes "
            f"{times.shape} and {events.shape}"
        )
    return times, events


def _check(times: np.ndarray, events: np.ndarray) -> None:
    wrong = times[~(np.isfinite(times) & (times >= 0))]
    if len(wrong):
        raise ValueError(f"`time` must be finite and at least 0. Received: {wrong[:5].tolist()}")
    wrong = events[~np.isin(events, (0, 1))]
    if len(wrong):
        raise ValueError(
            "`event` must be 1 where the event happened and 0 where the sample is censored. "
            f"Received: {wrong[:5].tolist()}"
        )
