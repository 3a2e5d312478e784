"""Distributions estimated from training data: of censoring, and of survival under Cox's model.
Runs in driver and worker.
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
    """The Kaplan-Meier estimate of the censoring distribution (Kaplan & Meier 1958).

    It is the probability that a sample is not yet censored, estimated with the roles of events and
    censoring exchanged. `CensoringDistribution.of(time, event)` estimates it from training data.
    Where an event and a censoring have the same time, the event counts as earlier.

    Attributes:
        times: The distinct times of the training data, ascending.
        probabilities: For each time, the probability of not being censored up to and including it.
    """

    times: tuple[float, ...]
    probabilities: tuple[float, ...]

    @classmethod
    def of(cls, time: Any, event: Any) -> CensoringDistribution:
        """Estimate the distribution from training data.

        Args:
            time: The time of each sample, shape (samples,), numbers of at least 0.
            event: 1 where the event happened, 0 where the sample is censored; shape (samples,).

        Returns:
            The estimated distribution.

        Raises:
            ValueError: If the shapes differ, or a value is not allowed.
        """
        times, events = checked(time, event)
        knots, place = np.unique(times, return_inverse=True)
        died = np.bincount(place, weights=events)
        left = np.bincount(place) - died
        at_risk = len(times) - np.cumsum(died + left) + left
        share = np.divide(left, at_risk, out=np.zeros(len(knots)), where=at_risk > 0)
        return cls(tuple(knots.tolist()), tuple(np.cumprod(1 - share).tolist()))

    def at(self, time: Any) -> np.ndarray:
        """Return the probabilities at `time`, an array of any shape.

        After the last time, the probability is 0 if the last sample is censored, and otherwise nan,
        since it is unknown.
        """
        knots, at = np.array(self.times), np.asarray(time, "float64")
        found = np.concatenate([[1.0], self.probabilities])[np.searchsorted(knots, at, "right")]
        return np.where(at > knots[-1], self._behind, found)

    def in_graph(self, time: Any) -> Any:
        """Return the same probabilities for a tensor, in the tensor's dtype."""
        knots = ops.convert_to_tensor(np.array(self.times), dtype=time.dtype)
        values = ops.convert_to_tensor(np.array([1.0, *self.probabilities]), dtype=time.dtype)
        found = ops.take(values, ops.searchsorted(knots, time, side="right"), axis=0)
        return ops.where(time > knots[-1], ops.full_like(time, self._behind), found)

    @property
    def _behind(self) -> float:
        return float("nan") if self.probabilities[-1] > 0 else 0.0

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments, as JSON types only."""
        return {"times": list(self.times), "probabilities": list(self.probabilities)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> CensoringDistribution:
        """Return the distribution that `get_config` describes."""
        return cls(tuple(config["times"]), tuple(config["probabilities"]))


def breslow_survival(
    time: Any, event: Any, log_hazard: Any, new_log_hazard: Any, times: Any
) -> np.ndarray:
    """Return survival functions under Cox's model, with Breslow's baseline (Breslow 1974).

    The baseline is estimated from the training data.

    Args:
        time: The times of the training data, shape (samples,), numbers of at least 0.
        event: 1 where the event happened, 0 where the sample is censored; shape (samples,).
        log_hazard: The model's outputs for the training data, shape (samples,) or (samples, 1).
        new_log_hazard: The model's outputs for other samples, shape (others,) or (others, 1).
        times: The times at which to evaluate the functions, shape (times,).

    Returns:
        Probabilities, shape (others, times).

    Raises:
        ValueError: If the shapes differ, or a value is not allowed.
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
