"""Distributions that training data tell: of censoring, and of survival by Cox's model. Runs in
driver and worker.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import keras
import numpy as np
from keras import ops

from glimr_keras.survival.targets import checked


@keras.saving.register_keras_serializable(package="glimr_keras")
@dataclasses.dataclass(frozen=True)
class CensoringDistribution:
    """The probability that a sample is not censored until a time, as Kaplan and Meier (1958)
    estimate it, with the roles of events and censoring exchanged.

    `CensoringDistribution.of(time, event)` makes it from training data. Where a sample has the
    event and another is censored at one time, the event was first.

    Attributes:
        times: Ascending times of the training data.
        probabilities: Of not being censored until each of them, and at it.
    """

    times: tuple[float, ...]
    probabilities: tuple[float, ...]

    @classmethod
    def of(cls, time: Any, event: Any) -> CensoringDistribution:
        """Returns the distribution of training data.

        Args:
            time: Shape (samples,).
            event: 1 where the event happened, 0 where the sample is censored; shape (samples,).

        Raises:
            ValueError: If shapes differ, or a value is not allowed.
        """
        times, events = checked(time, event)
        knots, place = np.unique(times, return_inverse=True)
        died = np.bincount(place, weights=events)
        left = np.bincount(place) - died
        at_risk = len(times) - np.cumsum(died + left) + left
        share = np.divide(left, at_risk, out=np.zeros(len(knots)), where=at_risk > 0)
        return cls(tuple(knots.tolist()), tuple(np.cumprod(1 - share).tolist()))

    def at(self, time: Any) -> np.ndarray:
        """Returns the probabilities at `time`, an array of any shape. Behind the last time they are
        0 if the last sample is censored, and nan else, since nobody knows.
        """
        knots, at = np.array(self.times), np.asarray(time, "float64")
        found = np.concatenate([[1.0], self.probabilities])[np.searchsorted(knots, at, "right")]
        return np.where(at > knots[-1], self._behind, found)

    def in_graph(self, time: Any) -> Any:
        """Returns the same for a tensor, in its precision."""
        knots = ops.convert_to_tensor(np.array(self.times), dtype=time.dtype)
        values = ops.convert_to_tensor(np.array([1.0, *self.probabilities]), dtype=time.dtype)
        found = ops.take(values, ops.searchsorted(knots, time, side="right"), axis=0)
        return ops.where(time > knots[-1], ops.full_like(time, self._behind), found)

    @property
    def _behind(self) -> float:
        return float("nan") if self.probabilities[-1] > 0 else 0.0

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor, JSON types only."""
        return {"times": list(self.times), "probabilities": list(self.probabilities)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> CensoringDistribution:
        """Returns the distribution that `get_config` describes."""
        return cls(tuple(config["times"]), tuple(config["probabilities"]))


def breslow_survival(
    time: Any, event: Any, log_hazard: Any, new_log_hazard: Any, times: Any
) -> np.ndarray:
    """Returns the survival functions of Cox's model, with the baseline that Breslow (1974)
    estimates of the training data.

    Args:
        time: Of the training data, shape (samples,).
        event: 1 where the event happened, shape (samples,).
        log_hazard: The model's outputs for the training data, shape (samples,) or (samples, 1).
        new_log_hazard: Its outputs for others, shape (others,) or (others, 1).
        times: Where the functions are asked for, shape (times,).

    Returns:
        Probabilities, shape (others, times).

    Raises:
        ValueError: If shapes differ, or a value is not allowed.
    """
    moments, events = checked(time, event)
    known, new = np.ravel(_float(log_hazard)), np.ravel(_float(new_log_hazard))
    if known.shape != moments.shape:
        raise ValueError(
            "`log_hazard` must have one value for each sample of the training data. Received: "
            f"{len(known)} for {len(moments)}"
        )
    if not (np.isfinite(known).all() and np.isfinite(new).all()):
        raise ValueError("`log_hazard` and `new_log_hazard` must be finite.")
    level = known.max()
    order = np.argsort(moments)
    at_risk = np.cumsum(np.exp(known[order] - level)[::-1])[::-1]
    happened, counts = np.unique(moments[events], return_counts=True)
    with np.errstate(divide="ignore", over="ignore"):
        jumps = counts / at_risk[np.searchsorted(moments[order], happened)]
        cumulative = np.concatenate([[0.0], np.cumsum(jumps)])
        baseline = cumulative[np.searchsorted(happened, np.asarray(times, "float64"), "right")]
        exponent = np.log(baseline)[None, :] + (new - level)[:, None]
        return np.exp(-np.exp(exponent))


def _float(values: Any) -> np.ndarray:
    return np.asarray(ops.convert_to_numpy(values), "float64")
