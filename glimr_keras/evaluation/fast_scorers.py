"""Scorers of metrics and losses that are sums over samples or pairs, chosen by what they are, and
never by their values: many metrics agree on perfect or on constant predictions. Keras; runs in the
driver.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import keras
import numpy as np

from glimr_keras.evaluation.scorers import (
    MeanOfSamples,
    RocAuc,
    Scorer,
    SharedPairs,
    survival_pairs,
)
from glimr_keras.models.missing_labels import MaskedLoss, MaskedMetric
from glimr_keras.survival import ConcordanceIndex

_MOST_PAIRS = 25_000_000
"""Of samples in a fold: their matrix has so many entries."""
_MOST_COMPARED = 50_000_000
"""Predictions times thresholds, in a fold."""


class _Measured(NamedTuple):
    """A metric or a loss, and the output that it measures.

    Attributes:
        output: Its name; `None` of a model with one output.
        measure: The metric or the loss.
        is_weighted: Whether sample weights count.
    """

    output: str | None
    measure: Any
    is_weighted: bool


def fast_scorer(
    model: keras.Model, name: str, labelled: tuple[Any, Any], predictions: Any
) -> Scorer | None:
    """Return a scorer that finds what Keras does, for all resamples at once; `None` if there is
    none.

    Args:
        model: Compiled, and its metrics have seen samples.
        name: Under which Keras logs the metric or loss, without `val_`.
        labelled: Labels and sample weights.
        predictions: The model's outputs.
    """
    measured = _measured(model, name)
    if measured is None:
        return None
    output, measure, is_weighted = measured
    outputs = _part(predictions, output)
    if not isinstance(outputs, np.ndarray) or not isinstance(
        _part(labelled[0], output), np.ndarray
    ):
        return None
    has_weights = is_weighted and _part(labelled[1], output) is not None
    if isinstance(measure, keras.losses.Loss):
        return _of_loss(measure, output, has_weights)
    if has_weights:
        return None
    return _of_metric(measure, output, outputs)


def is_defined(model: keras.Model, name: str, labelled: tuple[Any, Any]) -> bool:
    """Return whether a metric or loss has a value for some samples, where Keras would say 0.

    Args:
        model: Compiled, and its metrics have seen samples.
        name: Under which Keras logs it, without `val_`.
        labelled: Labels and sample weights.
    """
    measured = _measured(model, name)
    if measured is None:  # such as the sum of several losses
        return True
    output, measure, is_weighted = measured
    labels, weights = _part(labelled[0], output), _part(labelled[1], output)
    if not isinstance(labels, np.ndarray):
        return True
    counts = np.ones(len(labels), bool)
    if is_weighted and weights is not None:
        counts &= np.asarray(weights).reshape(len(labels), -1).any(axis=1)
    if isinstance(measure, MaskedLoss | MaskedMetric):
        counts &= _known(labels, measure.missing)
        measure = getattr(measure, "metric", measure)
    if isinstance(measure, keras.metrics.AUC):
        return len(np.unique(labels[counts])) > 1
    return bool(counts.any())


def _measured(model: keras.Model, name: str) -> _Measured | None:
    """Return the metric or loss that Keras logs under a name."""
    loss = model.loss
    if name == "loss":
        is_one = isinstance(loss, str) or callable(loss)
        return _Measured(None, _as_loss(loss), True) if is_one else None
    if isinstance(loss, dict):
        for output, each in loss.items():
            if name == f"{output}_loss" and each is not None:
                return _Measured(output, _as_loss(each), True)
    found = [each for each in _metrics(model) if name == _log_name(each)]
    return found[0] if len(found) == 1 else None


def _as_loss(loss: Any) -> Any:
    """Return a loss as an object, where it is one of Keras or of ours."""
    found = keras.losses.get(loss)
    return found if isinstance(found, keras.losses.Loss) else _Function(found)


class _Function(keras.losses.Loss):
    """A loss that is a function of labels and outputs."""

    def __init__(self, function: Callable[[Any, Any], Any]) -> None:
        super().__init__()
        self.function = function

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return self.function(y_true, y_pred)


def _metrics(model: keras.Model) -> Iterator[_Measured]:
    """Yield the metrics that a model is compiled with."""
    for compiled in model.metrics:
        for kind, is_weighted in (("_flat_metrics", False), ("_flat_weighted_metrics", True)):
            for part in getattr(compiled, kind, ()):  # a list for each output
                output = getattr(part, "output_name", None)
                for metric in getattr(part, "metrics", ()):
                    yield _Measured(output, metric, is_weighted)


def _log_name(measured: _Measured) -> str:
    name: str = measured.measure.name
    return name if measured.output is None else f"{measured.output}_{name}"


def _part(structure: Any, output: str | None) -> Any:
    """Return the array of an output."""
    if output is None or structure is None:
        return structure
    return structure.get(output) if isinstance(structure, dict) else None


def _of_loss(loss: keras.losses.Loss, output: str | None, has_weights: bool) -> Scorer | None:
    """Return the scorer of a loss that is a mean over samples."""
    inner = loss.loss if isinstance(loss, MaskedLoss) else loss
    function = getattr(inner, "function", getattr(inner, "_function", inner))
    is_of_keras = getattr(function, "__module__", "").startswith("keras.src.losses")
    is_mean = loss.reduction in ("sum_over_batch_size", "mean")
    is_plain = type(inner).__call__ is keras.losses.Loss.__call__
    if not (is_of_keras or type(function).__module__.startswith("keras.src.losses")):
        return None
    if not is_mean or not is_plain:
        return None

    def values(labelled: tuple[Any, Any], predictions: Any) -> np.ndarray:
        labels, outputs = _tensors(labelled[0], predictions, output)
        found = _by_sample(loss.call(labels, outputs))
        if not has_weights:
            return found
        weights = np.asarray(_part(labelled[1], output), np.float64).reshape(len(found), -1)
        return found * weights.mean(axis=1)

    return MeanOfSamples(values, _mask(loss, output))


def _of_metric(metric: Any, output: str | None, outputs: np.ndarray) -> Scorer | None:
    """Return the scorer of a metric that is a mean over samples or over pairs, or an area."""
    masked, inner = metric, getattr(metric, "metric", metric)
    if type(metric) is not MaskedMetric and inner is not metric:
        return None
    if _is_mean(inner):
        function, kwargs = inner._fn, inner._fn_kwargs

        mask = _mask(masked, output)

        def values(labelled: tuple[Any, Any], predictions: Any) -> np.ndarray:
            labels = _part(labelled[0], output)
            if mask is not None:  # what is missing must be a label to be computed with
                known = mask(labelled).reshape(-1, *[1] * (labels.ndim - 1)) > 0
                labels = np.where(known, labels, np.zeros_like(labels))
            outputs = keras.ops.convert_to_tensor(_part(predictions, output))
            return _by_sample(function(keras.ops.convert_to_tensor(labels), outputs, **kwargs))

        return MeanOfSamples(values, mask)
    if masked is not inner:
        return None
    if type(inner) is ConcordanceIndex and len(outputs) ** 2 <= _MOST_PAIRS:

        def pairs(labelled: tuple[Any, Any], predictions: Any) -> tuple[np.ndarray, np.ndarray]:
            risk = inner._risk(keras.ops.convert_to_tensor(_part(predictions, output)))
            return survival_pairs(_part(labelled[0], output), keras.ops.convert_to_numpy(risk))

        return SharedPairs(pairs)
    if _is_roc(inner) and outputs.size * len(inner.thresholds) <= _MOST_COMPARED:
        return RocAuc(
            np.asarray(inner.thresholds),
            lambda labelled, predictions: (_part(labelled[0], output), _part(predictions, output)),
        )
    return None


def _is_mean(metric: Any) -> bool:
    """Return whether a metric is a mean over samples, as a class of Keras itself computes it."""
    kind, base = type(metric), keras.metrics.MeanMetricWrapper
    return (
        isinstance(metric, base)
        and kind.update_state is base.update_state
        and kind.result is base.result
    )


def _is_roc(metric: Any) -> bool:
    """Return whether a metric is the area under a curve of rates, as `RocAuc` computes it."""
    if type(metric) is not keras.metrics.AUC:
        return False
    config = metric.get_config()
    expected = {"curve": "ROC", "summation_method": "interpolation", "multi_label": False}
    others = ("label_weights", "from_logits")
    return all(config.get(name) == value for name, value in expected.items()) and not any(
        config.get(name) for name in others
    )


def _mask(measure: Any, output: str | None) -> Callable[[Any], np.ndarray] | None:
    """Return which samples count: those with a label, of what is masked; `None` for all."""
    if not isinstance(measure, MaskedLoss | MaskedMetric):
        return None
    return lambda labelled: _known(_part(labelled[0], output), measure.missing).astype(float)


def _known(labels: np.ndarray, missing: float | None) -> np.ndarray:
    """Return whether each sample has its label, as `MaskedLoss` has it. Shape (samples,)."""
    gone = np.isnan(labels) if labels.dtype.kind == "f" else np.zeros(labels.shape, bool)
    if missing is not None:
        gone |= labels == missing
    return np.asarray(~gone.reshape(len(labels), -1).any(axis=1))


def _tensors(labels: Any, predictions: Any, output: str | None) -> tuple[Any, Any]:
    return (
        keras.ops.convert_to_tensor(_part(labels, output)),
        keras.ops.convert_to_tensor(_part(predictions, output)),
    )


def _by_sample(values: Any) -> np.ndarray:
    """Return the mean of each sample's values, shape (samples,)."""
    found = keras.ops.convert_to_numpy(values)
    return np.asarray(found.reshape(len(found), -1).mean(axis=1), np.float64)
