"""Time intervals, and survival functions from the hazards in them. Runs in driver and worker."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import ops

from glimr_keras._utils.checks import checked_count
from glimr_keras.survival.targets import checked


def time_cuts(time: Any, event: Any, num: int) -> list[float]:
    """Return the ends of `num` time intervals with about the same number of events each.

    Args:
        time: The times of the training data, shape (samples,), numbers of at least 0.
        event: 1 where the event happened, 0 where the sample is censored; shape (samples,).
        num: The number of intervals, at least 1.

    Returns:
        Ascending times of events; the last is the time of the last event.

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
    for index in range(1, num):  # a frequent time may be several quantiles
        places[index] = max(places[index], places[index - 1] + 1)
    for index in range(num):
        places[index] = min(places[index], len(different) - num + index)
    return [float(cut) for cut in different[places]]


def checked_cuts(cuts: Sequence[float]) -> list[float]:
    """Return the cuts as floats, checked to ascend from above 0, also in float32.

    Raises:
        ValueError: If they do not.
    """
    found = np.asarray(cuts, "float64")
    if found.ndim != 1 or not len(found) or not np.isfinite(found).all():
        raise ValueError(f"`cuts` must be a list of finite numbers. Received: cuts={cuts!r}")
    if not (np.diff(found.astype("float32"), prepend=0) > 0).all():
        raise ValueError(f"`cuts` must ascend from above 0. Received: cuts={cuts!r}")
    return [float(cut) for cut in found]


def log_survival(logits: Any) -> Any:
    """Return the log of the survival function at the end of each interval.

    The argument is the logits of the hazards, shape (samples, intervals).
    """
    return -ops.cumsum(ops.softplus(logits), axis=1)


class Interpolation:
    """The survival function between the ends of intervals.

    Its logarithm is interpolated linearly, as if the hazard were constant within an interval.

    Args:
        cuts: The ends of the intervals.
        times: The times at which to evaluate the function, from 0 to the last cut, both included.

    Raises:
        ValueError: If a time is outside that range.
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
        """Return the survival function at the times, a tensor of shape (samples, times)."""
        ends = log_survival(logits)
        ends = ops.concatenate([ops.zeros_like(ends[:, :1]), ends], axis=1)
        share = ops.convert_to_tensor(self._share, dtype=ends.dtype)[None, :]
        before = ops.take(ends, self._after - 1, axis=1)
        return ops.exp(before + share * (ops.take(ends, self._after, axis=1) - before))


def discrete_survival(logits: Any, cuts: Sequence[float], times: Sequence[float]) -> np.ndarray:
    """Return the survival function of a model trained with `DiscreteHazard`.

    Args:
        logits: The model's outputs, shape (samples, intervals).
        cuts: The `cuts` of the loss.
        times: The times at which to evaluate the function, from 0 to the last cut, both included.
            Between cuts, its logarithm is interpolated, as if the hazard were constant within an
            interval.

    Returns:
        Probabilities, shape (samples, times).

    Raises:
        ValueError: If a time is outside the intervals, or the shapes do not match.
    """
    cuts = checked_cuts(cuts)
    given = ops.convert_to_tensor(logits)
    if len(given.shape) != 2 or given.shape[1] != len(cuts):
        raise ValueError(
            f"`logits` must have a column for each of {len(cuts)} cuts. Received: shape "
            f"{tuple(given.shape)}"
        )
    return np.asarray(ops.convert_to_numpy(Interpolation(cuts, times).survival(given)))
