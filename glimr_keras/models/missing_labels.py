"""Losses and metrics of samples with a known label, if several tasks each lack some labels.

Runs in the worker; constructors, in the driver.
"""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from glimr_keras.errors import did_you_mean

_AMBIGUOUS = ("accuracy", "acc", "crossentropy", "ce")


@keras.saving.register_keras_serializable(package="glimr_keras")
class MaskedLoss(keras.losses.Loss):
    """A loss of the samples whose label is known.

    A label is missing if it is nan, or with `missing=-1` also if it is -1. If a sample has several
    numbers, it is missing if one of them is. The inner loss receives 0 in its place and the weight
    0. So a loss over samples together, such as `survival.CoxPartialLikelihood`, leaves these
    samples out.

    The mean is over the samples of the batch that have a label. With `n` of them, it is the sum of
    their losses, each times its weight, divided by `n`. A batch without any labels has the loss 0
    and gradients of 0. Keras' log for an epoch is the mean over its batches, as always.

    Args:
        loss: The inner loss: a loss of Keras or of `glimr_keras.survival`, its name, or a function
            `(y_true, y_pred)` that returns a loss for each sample. Its own reduction is ignored.
        missing: Another finite number that marks a missing label, such as -1. Defaults to `None`:
            only nan does.
        reduction: `"sum_over_batch_size"` or `"mean"`, the mean described above;
            `"mean_with_sample_weight"`, divided by the sum of weights instead; `"sum"`; or `None`
            for one loss per sample. Defaults to `"sum_over_batch_size"`.
        name: The loss's name. Defaults to `None`, which means the inner loss's name.
        dtype: The dtype of the computation. Defaults to `None`, which means Keras' float type.

    Raises:
        TypeError: If `loss` is not a loss.
        ValueError: If there is no loss with this name, or `missing` is not a finite number.

    Example:
        model.compile("adam", {
            "grade": gk.MaskedLoss("sparse_categorical_crossentropy", missing=-1),
            "survival": gk.MaskedLoss(survival.CoxPartialLikelihood()),
        })
    """

    def __init__(
        self,
        loss: Any,
        missing: float | None = None,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        self._given = loss
        self.loss = _by_sample(_of_keras("loss", loss, keras.losses, keras.losses.Loss))
        super().__init__(name=name or self.loss.name, reduction=reduction, dtype=dtype)
        self.missing = _checked_missing(missing)

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """Return the reduced loss."""
        with keras.name_scope(self.name):
            y_true = ops.convert_to_tensor(y_true, dtype=self.dtype)
            y_true, known = _known(y_true, self.missing)
            weight = _weights(known, sample_weight, self.dtype)
            losses = self._weighted(y_true, y_pred, weight)
            return self._reduced(losses, ops.cast(known, self.dtype), weight)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Return the loss of each sample, 0 for those without a label."""
        y_true, known = _known(ops.convert_to_tensor(y_true, dtype=self.dtype), self.missing)
        return self._weighted(y_true, y_pred, ops.cast(known, self.dtype))

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor, as JSON types only."""
        return {
            "name": self.name,
            "reduction": self.reduction,
            "loss": _serialized(self._given),
            "missing": self.missing,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> MaskedLoss:
        """Return the loss on which `get_config` was called."""
        return cls(**{**config, "loss": keras.saving.deserialize_keras_object(config["loss"])})

    def _weighted(self, y_true: Any, y_pred: Any, weight: Any) -> Any:
        """Return the loss of each sample, times its weight.

        A loss whose class handles weights itself receives them.
        """
        if type(self.loss).__call__ is not keras.losses.Loss.__call__:
            return ops.cast(self.loss(y_true, y_pred, weight), self.dtype)
        losses = ops.cast(self.loss(y_true, y_pred), self.dtype)
        weight = ops.reshape(weight, (-1, *(1 for _ in losses.shape[1:])))
        return ops.where(weight > 0, losses * weight, ops.zeros_like(losses))

    def _reduced(self, losses: Any, known: Any, weight: Any) -> Any:
        if self.reduction in (None, "none"):
            return losses
        total = ops.sum(losses)
        if self.reduction == "sum":
            return total
        counts = weight if self.reduction == "mean_with_sample_weight" else known
        # a sample may have several, such as one for each step of a sequence
        each = ops.size(losses) / ops.maximum(ops.shape(losses)[0], 1)
        return ops.divide_no_nan(total, ops.sum(counts) * ops.cast(each, self.dtype))


@keras.saving.register_keras_serializable(package="glimr_keras")
class MaskedMetric(keras.metrics.Metric):
    """A metric of the samples whose label is known, over a whole epoch or validation.

    Missing labels are as for `MaskedLoss`; the inner metric receives such samples with the weight
    0.

    Args:
        metric: The inner metric: a metric of Keras or of `glimr_keras.survival`, its name, or a
            function `(y_true, y_pred)` of each sample whose mean is taken. `"accuracy"` is
            ambiguous, since Keras chooses the metric by the shapes.
        missing: Another finite number that marks a missing label, such as -1. Defaults to `None`:
            only nan does.
        name: The metric's name. Defaults to `None`, which means the inner metric's name.
        dtype: The dtype of the computation. Defaults to `None`, which means the inner metric's
            dtype.

    Raises:
        TypeError: If `metric` is not a metric.
        ValueError: If there is no metric with this name, if there are several, or if `missing` is
            not a finite number.
    """

    def __init__(
        self, metric: Any, missing: float | None = None, name: str | None = None, dtype: Any = None
    ) -> None:
        if isinstance(metric, str) and metric in _AMBIGUOUS:
            raise ValueError(
                f"Keras chooses by shapes what {metric!r} is. Give the metric itself, such as "
                f"keras.metrics.SparseCategoricalAccuracy(). Received: metric={metric!r}"
            )
        found = _of_keras("metric", metric, keras.metrics, keras.metrics.Metric)
        if not isinstance(found, keras.metrics.Metric):
            found = keras.metrics.MeanMetricWrapper(found, name=_name(found))
        else:  # a separate copy, since it holds state
            found = type(found).from_config(found.get_config())
        super().__init__(name=name or found.name, dtype=dtype or found.dtype)
        self._given = metric
        self.metric = found
        self.missing = _checked_missing(missing)
        self._direction = getattr(found, "_direction", None)

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Add a batch."""
        y_true = ops.convert_to_tensor(y_true, dtype=self.dtype)
        y_true, known = _known(y_true, self.missing)
        self.metric.update_state(y_true, y_pred, _weights(known, sample_weight, self.dtype))

    def result(self) -> Any:
        """Return the inner metric's value for all samples so far."""
        return self.metric.result()

    def reset_state(self) -> None:
        """Forget all samples."""
        self.metric.reset_state()

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor, as JSON types only."""
        is_made = isinstance(self._given, keras.metrics.Metric)
        given = self.metric if is_made else self._given
        return {"name": self.name, "metric": _serialized(given), "missing": self.missing}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> MaskedMetric:
        """Return the metric on which `get_config` was called."""
        return cls(**{**config, "metric": keras.saving.deserialize_keras_object(config["metric"])})


def _known(y_true: Any, missing: float | None) -> tuple[Any, Any]:
    """Return labels with 0 for missing ones, and whether each is known, shape (batch,)."""
    gone = ops.isnan(y_true)
    if missing is not None:
        gone = ops.logical_or(gone, y_true == missing)
    if len(gone.shape) > 1:
        gone = ops.any(gone, axis=tuple(range(1, len(gone.shape))))
    shape = (-1, *(1 for _ in y_true.shape[1:]))
    y_true = ops.where(ops.reshape(gone, shape), ops.zeros_like(y_true), y_true)
    return y_true, ops.logical_not(gone)


def _weights(known: Any, sample_weight: Any, dtype: Any) -> Any:
    """Return the weight of each sample, 0 without a label."""
    weight = ops.cast(known, dtype)
    if sample_weight is None:
        return weight
    given = ops.reshape(ops.convert_to_tensor(sample_weight, dtype=dtype), (-1,))
    return ops.where(known, given, ops.zeros_like(given))


def _by_sample(loss: Any) -> Any:
    """Return a copy of a loss that returns the loss of each sample."""
    if not isinstance(loss, keras.losses.Loss):
        return _FunctionLoss(loss)
    copied = copy.copy(loss)
    copied.reduction = None
    return copied


class _FunctionLoss(keras.losses.Loss):
    """A function of labels and outputs as a loss of each sample."""

    def __init__(self, function: Callable[[Any, Any], Any]) -> None:
        super().__init__(name=_name(function), reduction=None)
        self._function = function

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return self._function(y_true, y_pred)


def _of_keras(what: str, given: Any, module: Any, base: type) -> Any:
    """Return an instance of Keras' class, or a function."""
    found = given
    if isinstance(given, str):
        try:
            found = getattr(module, given, None) or module.get(given)
        except (ValueError, TypeError):
            known = [name for name in dir(module) if callable(getattr(module, name))]
            raise ValueError(
                f"`{what}` must be one of Keras by its name. Received: {given!r}."
                f"{did_you_mean(given, known)}"
            ) from None
    if isinstance(found, type) and issubclass(found, base):
        found = found()
    if isinstance(found, base) or (callable(found) and not isinstance(found, type)):
        return found
    raise TypeError(
        f"`{what}` must be a {what} of Keras, its name or a function. Received: {given!r}"
    )


def _name(function: Any) -> str:
    """Return a name that Keras accepts; a lambda's own is not."""
    return re.sub(r"\W", "", getattr(function, "__name__", type(function).__name__))


def _serialized(given: Any) -> Any:
    return given if isinstance(given, str) else keras.saving.serialize_keras_object(given)


def _checked_missing(missing: Any) -> float | None:
    is_number = isinstance(missing, (int, float)) and not isinstance(missing, bool)
    if missing is not None and not (is_number and math.isfinite(missing)):
        raise ValueError(
            "`missing` must be a number that stands for a missing label; nan always does. "
            f"Received: missing={missing!r}"
        )
    return missing
