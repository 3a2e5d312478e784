"""Scores of survival models on whole arrays, in NumPy. Runs in driver and worker."""

from __future__ import annotations

from typing import Any

import numpy as np

from glimr_keras.survival.curves import CensoringDistribution
from glimr_keras.survival.targets import checked

TIED = 1e-8
"""Risks that differ by no more are tied, as in scikit-survival."""

_PAIRS = 4_000_000
"""The number of pairs to compare at a time."""


def concordance_index(time: Any, event: Any, risk: Any, tied_tol: float = TIED) -> float:
    """Return Harrell's concordance index.

    It is the share of comparable pairs in which the sample with the earlier event has the higher
    risk. A pair is comparable if the earlier sample has the event. At equal times, a pair is
    comparable if one has the event and the other is censored. A pair with equal risks counts half.

    Args:
        time: The time of each sample, shape (samples,), numbers of at least 0.
        event: 1 where the event happened, 0 where the sample is censored; shape (samples,).
        risk: The risk of each sample, such as a log hazard; higher means an earlier event. Shape
            (samples,) or (samples, 1).
        tied_tol: Risks that differ by no more than this are equal. Defaults to `1e-8`.

    Returns:
        A number from 0 to 1, both included; 0.5 is no better than chance.

    Raises:
        ValueError: If the shapes differ, a value is not allowed, or no pair is comparable.

    References: Harrell, Lee and Mark 1996,
    doi:10.1002/(SICI)1097-0258(19960229)15:4<361::AID-SIM168>3.0.CO;2-4.
    """
    times, events = checked(time, event)
    return _concordance(times, events, _risks(risk, times), np.ones(len(times)), tied_tol)


def uno_concordance_index(
    time: Any,
    event: Any,
    risk: Any,
    censoring: CensoringDistribution,
    tau: float | None = None,
    tied_tol: float = TIED,
) -> float:
    """Return Uno's concordance index, which does not depend on the censoring.

    Pairs are weighted with the probability that the earlier event was not censored.

    Args:
        time: The time of each sample, shape (samples,), numbers of at least 0.
        event: 1 where the event happened, 0 where the sample is censored; shape (samples,).
        risk: The risk of each sample; higher means an earlier event. Shape (samples,) or
            (samples, 1).
        censoring: The censoring distribution of the training data.
        tau: Ignore events at or after this time. Defaults to `None`, which means all events count.
        tied_tol: Risks that differ by no more than this are equal. Defaults to `1e-8`.

    Returns:
        A number from 0 to 1, both included.

    Raises:
        ValueError: If the shapes differ, a value is not allowed, or no pair is comparable. Also if
            an event is at a time at which all training samples are censored, or after the last of
            them. Choose a `tau` before it.

    References: Uno et al. 2011, doi:10.1002/sim.4154.
    """
    times, events = checked(time, event)
    counts = events if tau is None else events & (times < tau)
    weights = np.zeros(len(times))
    seen = censoring.at(times[counts])
    if not (seen > 0).all():
        raise ValueError(
            "An event is at a time at which, in the training data, all are censored or none was "
            "seen. Give a `tau` before it."
        )
    weights[counts] = 1 / seen**2
    return _concordance(times, events, _risks(risk, times), weights, tied_tol)


def brier_score(
    time: Any, event: Any, survival: Any, times: Any, censoring: CensoringDistribution
) -> np.ndarray:
    """Return the Brier score at each time.

    It is a mean squared difference, weighted to account for censoring. The difference is between
    being event-free, as 0 or 1, and the predicted probability of it.

    Args:
        time: The time of each sample, shape (samples,), numbers of at least 0.
        event: 1 where the event happened, 0 where the sample is censored; shape (samples,).
        survival: The predicted probability of no event until each of `times`, shape
            (samples, times).
        times: Ascending times, shape (times,), within the times of the training data.
        censoring: The censoring distribution of the training data.

    Returns:
        Scores, shape (times,); 0 is perfect.

    Raises:
        ValueError: If the shapes differ, or a value is not allowed.

    References: Graf et al. 1999,
    doi:10.1002/(SICI)1097-0258(19990915/30)18:17/18<2529::AID-SIM274>3.0.CO;2-5.
    """
    moments, events = checked(time, event)
    at = checked_times(times, censoring)
    predicted = np.asarray(survival, "float64")
    if predicted.shape != (len(moments), len(at)) or not np.isfinite(predicted).all():
        raise ValueError(
            f"`survival` must be finite and have shape {(len(moments), len(at))}, samples and "
            f"times. Received: shape {predicted.shape}"
        )
    died = events[:, None] & (moments[:, None] <= at)
    lived = moments[:, None] > at
    of_dead = died * inverse(censoring.at(np.minimum(moments, at[-1])))[:, None]
    of_living = lived * inverse(censoring.at(at))
    found: np.ndarray = (predicted**2 * of_dead + (1 - predicted) ** 2 * of_living).mean(axis=0)
    return found


def integrated_brier_score(
    time: Any, event: Any, survival: Any, times: Any, censoring: CensoringDistribution
) -> float:
    """Return the mean of the Brier score over `times`, from first to last, by the trapezoidal rule.

    Args:
        time: As for `brier_score`.
        event: As for `brier_score`.
        survival: As for `brier_score`.
        times: As for `brier_score`, but at least two times.
        censoring: As for `brier_score`.

    Returns:
        The mean; 0 is perfect.

    Raises:
        ValueError: As for `brier_score`, or if there are fewer than two times.
    """
    at = checked_times(times, censoring, at_least=2)
    return float(brier_score(time, event, survival, at, censoring) @ trapezoid(at))


def checked_times(times: Any, censoring: CensoringDistribution, at_least: int = 1) -> np.ndarray:
    """Return times at which a Brier score exists, as float64.

    Raises:
        ValueError: If they do not ascend, are too few, or are after the training data.
    """
    at = np.asarray(times, "float64")
    if at.ndim != 1 or len(at) < at_least or not (np.isfinite(at) & (at >= 0)).all():
        raise ValueError(
            f"`times` must be at least {at_least} finite numbers, not below 0. Received: "
            f"times={times!r}"
        )
    if not (np.diff(at) > 0).all():
        raise ValueError(f"`times` must ascend. Received: times={times!r}")
    if np.isnan(censoring.at(at)).any():
        raise ValueError(
            "`times` must not be behind the last time of the training data, "
            f"{censoring.times[-1]}. Received: up to {at[-1]}"
        )
    return at


def trapezoid(at: np.ndarray) -> np.ndarray:
    """Return the weights of values at ascending times in a trapezoidal mean."""
    width = np.diff(at)
    return (np.append(width, 0) + np.insert(width, 0, 0)) / 2 / (at[-1] - at[0])


def inverse(probability: np.ndarray) -> np.ndarray:
    """Return 1 / probability, and 0 where the probability is 0, as scikit-survival does."""
    return np.divide(1.0, probability, out=np.zeros(len(probability)), where=probability > 0)


def _risks(risk: Any, times: np.ndarray) -> np.ndarray:
    risks = np.asarray(risk, "float64")
    if risks.shape not in ((len(times),), (len(times), 1)):
        raise ValueError(
            f"`risk` must have one value for each of {len(times)} samples. Received: shape "
            f"{risks.shape}"
        )
    if not np.isfinite(risks).all():
        raise ValueError("`risk` must be finite.")
    return risks.reshape(-1)


def _concordance(
    times: np.ndarray,
    events: np.ndarray,
    risks: np.ndarray,
    weights: np.ndarray,
    tied_tol: float,
) -> float:
    concordant, comparable = 0.0, 0.0
    chosen = np.flatnonzero(events & (weights > 0))
    step = max(1, _PAIRS // len(times))
    for begin in range(0, len(chosen), step):
        rows = chosen[begin : begin + step]
        time, risk = times[rows, None], risks[rows, None]
        later = (times > time) | ((times == time) & ~events)
        tied = later & (np.abs(risks - risk) <= tied_tol)
        right = later & (risks < risk) & ~tied
        concordant += weights[rows] @ (right.sum(axis=1) + 0.5 * tied.sum(axis=1))
        comparable += weights[rows] @ later.sum(axis=1)
    if not comparable:
        raise ValueError(
            "No pair is comparable: an event must be before another sample's time, or at the time "
            "at which one is censored."
        )
    return float(concordant / comparable)
