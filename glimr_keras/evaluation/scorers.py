"""Scores of many resamples at once. NumPy only; runs anywhere.

A resample says how often each sample counts. Most metrics are sums over samples or over pairs of
them, so one matrix product scores all resamples; any other is computed for one after another.
"""

from __future__ import annotations

import abc
from collections.abc import Callable
from typing import Any

import numpy as np

from glimr_keras.survival.scores import TIED

Metric = Callable[[Any, Any], float]
"""`metric(labels, predictions)`, of NumPy arrays, or of dicts or tuples of them."""


class Scorer(abc.ABC):
    """Scores predictions for samples that count more than once, or not at all."""

    @abc.abstractmethod
    def scores(self, labels: Any, predictions: Any, counts: np.ndarray) -> np.ndarray:
        """Return the score of each resample.

        Args:
            labels: Of each sample, shape (samples, …).
            predictions: Likewise.
            counts: How often each sample counts, shape (resamples, samples).

        Returns:
            Shape (resamples,), float; nan where the score is not defined.
        """


class MeanOfSamples(Scorer):
    """A metric that is the mean of a value of each sample, such as accuracy or a squared error.

    Args:
        values: `values(labels, predictions)`, shape (samples,).
        weights: `weights(labels)`, how much each sample counts, shape (samples,). Defaults to
            `None`: all count alike.
    """

    def __init__(
        self,
        values: Callable[[Any, Any], np.ndarray],
        weights: Callable[[Any], np.ndarray] | None = None,
    ) -> None:
        self._values, self._weights = values, weights

    def scores(self, labels: Any, predictions: Any, counts: np.ndarray) -> np.ndarray:
        """Return a weighted mean for each resample."""
        values = np.asarray(self._values(labels, predictions), np.float64)
        weights = np.ones(len(values)) if self._weights is None else self._weights(labels)
        return _ratio(counts @ (values * weights), counts @ weights)


class SharedPairs(Scorer):
    """A concordance: the share of comparable pairs of samples that are in the right order.

    Args:
        pairs: `pairs(labels, predictions)` returns what each pair counts and what of it is in the
            right order, each of shape (samples, samples).
    """

    def __init__(self, pairs: Callable[[Any, Any], tuple[np.ndarray, np.ndarray]]) -> None:
        self._pairs = pairs

    def scores(self, labels: Any, predictions: Any, counts: np.ndarray) -> np.ndarray:
        """Return a quotient of two sums over pairs for each resample."""
        comparable, concordant = self._pairs(labels, predictions)
        return _ratio(
            ((counts @ concordant) * counts).sum(axis=1),
            ((counts @ comparable) * counts).sum(axis=1),
        )


class RocAuc(Scorer):
    """The area under the curve of true and false positive rates, by trapezoids between thresholds,
    as `keras.metrics.AUC` computes it by default.

    Args:
        thresholds: Ascending, shape (thresholds,). Predictions above one are positive.
        arrays: `arrays(labels, predictions)` returns the arrays of both.
    """

    def __init__(
        self, thresholds: np.ndarray, arrays: Callable[[Any, Any], tuple[np.ndarray, np.ndarray]]
    ) -> None:
        self._thresholds, self._arrays = thresholds, arrays

    def scores(self, labels: Any, predictions: Any, counts: np.ndarray) -> np.ndarray:
        """Return an area for each resample."""
        labels, predictions = self._arrays(labels, predictions)
        truth = np.asarray(labels, np.float64).reshape(len(labels), -1)
        above = predictions.reshape(truth.shape)[:, None, :] > self._thresholds[:, None]
        rates = [
            _ratio(
                counts @ np.einsum("ntk,nk->nt", above, each),
                (counts @ each.sum(axis=1))[:, None],
            )
            for each in (truth, 1 - truth)
        ]
        true, false = rates
        heights = (true[:, :-1] + true[:, 1:]) / 2
        return np.asarray(((false[:, :-1] - false[:, 1:]) * heights).sum(axis=1))


class OneByOne(Scorer):
    """Any metric, computed for one resample after another.

    Args:
        metric: `metric(labels, predictions)`. Where it raises a `ValueError` or an
            `ArithmeticError`, such as for samples of one class only, the score is not defined.
    """

    def __init__(self, metric: Metric) -> None:
        self._metric = metric

    def scores(self, labels: Any, predictions: Any, counts: np.ndarray) -> np.ndarray:
        """Call the metric for each resample."""
        return np.array([self._score(labels, predictions, each) for each in counts])

    def _score(self, labels: Any, predictions: Any, counts: np.ndarray) -> float:
        rows = np.repeat(np.arange(len(counts)), counts.astype(int))
        if not len(rows):  # no sample, or no group, was left out
            return np.nan
        try:
            return float(self._metric(taken(labels, rows), taken(predictions, rows)))
        except (ValueError, ArithmeticError):
            return np.nan


def taken(values: Any, rows: np.ndarray) -> Any:
    """Return some samples of an array, or of a dict, list or tuple of arrays.

    Args:
        values: Each array of shape (samples, …).
        rows: Positions, shape (chosen,).
    """
    if isinstance(values, dict):
        return {name: taken(each, rows) for name, each in values.items()}
    if isinstance(values, list | tuple):
        return type(values)(taken(each, rows) for each in values)
    return None if values is None else values[rows]


def survival_pairs(labels: Any, risks: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return the pairs of Harrell's concordance; see `survival.concordance_index`.

    Args:
        labels: Time and event, shape (samples, 2); rows with nan do not count.
        risks: The higher, the sooner the event; shape (samples,) or (samples, 1).

    Returns:
        Comparable pairs and, of them, those in the right order, where a tie counts half; each of
        shape (samples, samples), the earlier sample of a pair first.
    """
    time, event = np.asarray(labels, np.float64).T
    risk = np.asarray(risks, np.float64).reshape(len(time))
    has_event = event > 0
    later = (time > time[:, None]) | ((time == time[:, None]) & ~has_event & ~np.isnan(time))
    comparable = has_event[:, None] & later & ~np.isnan(event)
    difference = risk[:, None] - risk
    tied = np.abs(difference) <= TIED
    concordant = comparable * np.where(tied, 0.5, difference > 0)
    return comparable.astype(np.float64), concordant


def _ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    found = np.full(above.shape, np.nan)
    np.divide(above, below, out=found, where=below > 0)
    return found
