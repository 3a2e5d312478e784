"""Intervals of time, and survival functions from hazards in them. Runs in driver and worker."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import ops

from glimr_keras._utils.checks import checked_count
from glimr_keras.survival.targets import checked


def time_cuts(time: Any, event: Any, num: int) -> list[float]:
    """Returns the ends of `num` intervals of time that have about the same number of events each.

    Args:
        time: Of the training data, shape (samples,).
        event: 1 where the event happened, shape (samples,).
        num: How many intervals; at least 1.

    Returns:
        Ascending times of events; the last is that of the last event.

    Raises:
        ValueError: If the events have fewer than `num` different times above 0.
    """
    num = checked_count("num", num)
    times, events = checked(time, event)
    happened = np.sort(times[events & (times > 0)])
    different = np.unique(happened)
    if len(different) < num:
        raise ValueError(
            f"There must be an event at `num` different times above 0. Received: num={num}, "
            f"events at {len(different)} times"
        )
    ranks = np.ceil(np.arange(1, num + 1) / num * len(happened)).astype(int) - 1
    places = np.searchsorted(different, happened[ranks])
    for index in range(1, num):  # frequent times may be several quantiles
        places[index] = max(places[index], places[index - 1] + 1)
    for index in range(num):
        places[index] = min(places[index], len(different) - num + index)
    return [float(cut) for cut in different[places]]


def checked_cuts(cuts: Sequence[float]) -> list[float]:
    """Ascending numbers above 0, also in float32.

    Raises:
        ValueError: If they are not.
    """
    found = np.asarray(cuts, "float64")
    if found.ndim != 1 or not len(found) or not np.isfinite(found).all():
        raise ValueError(f"`cuts` must be a list of finite numbers. Received: cuts={cuts!r}")
    if not (np.diff(found.astype("float32"), prepend=0) > 0).all():
        raise ValueError(f"`cuts` must ascend from above 0. Received: cuts={cuts!r}")
    return [float(cut) for cut in found]


def log_survival(logits: Any) -> Any:
    """The logarithm of the survival function at the end of each interval, from the logits of
    hazards; shape (samples, intervals).
    """
    return -ops.cumsum(ops.softplus(logits), axis=1)


class Interpolation:
    """The survival function between the ends of intervals: its logarithm is linear there, as if the
    hazard did not change within an interval.

    Args:
        cuts: The ends of the intervals.
        times: Where the function is asked for, from 0 to the last cut.

    Raises:
        ValueError: If a time is outside.
    """

    def __init__(self, cuts: Sequence[float], times: Sequence[float]) -> None:
        ends, at = np.array([0.0, *cuts]), np.asarray(times, "float64")
        if at.min() < 0 or at.max() > ends[-1]:
            raise ValueError(
                f"`times` must be from 0 to the last cut, {ends[-1]}. Received: times from "
                f"{at.min()} to {at.max()}"
            )
        self._after = np.clip(np.searchsorted(ends, at), 1, len(ends) - 1)
        width = ends[self._after] - ends[self._after - 1]
        self._share = (at - ends[self._after - 1]) / width

    def survival(self, logits: Any) -> Any:
        """Returns the survival function at the times, shape (samples, times), a tensor."""
        ends = log_survival(logits)
        ends = ops.concatenate([ops.zeros_like(ends[:, :1]), ends], axis=1)
        share = ops.convert_to_tensor(self._share, dtype=ends.dtype)[None, :]
        before = ops.take(ends, self._after - 1, axis=1)
        return ops.exp(before + share * (ops.take(ends, self._after, axis=1) - before))


def discrete_survival(logits: Any, cuts: Sequence[float], times: Sequence[float]) -> np.ndarray:
    """Returns the survival function of a model that was trained with `DiscreteHazard`.

    Args:
        logits: The model's outputs, shape (samples, intervals).
        cuts: Those of the loss.
        times: Where the function is asked for, from 0 to the last cut. Between cuts its logarithm
            is interpolated, as if the hazard did not change within an interval.

    Returns:
        Probabilities, shape (samples, times).

    Raises:
        ValueError: If a time is outside of the intervals, or shapes do not fit.
    """
    cuts = checked_cuts(cuts)
    given = ops.convert_to_tensor(logits)
    if len(given.shape) != 2 or given.shape[1] != len(cuts):
        raise ValueError(
            f"`logits` must have a column for each of {len(cuts)} cuts. Received: shape "
            f"{tuple(given.shape)}"
        )
    return np.asarray(ops.convert_to_numpy(Interpolation(cuts, times).survival(given)))
