"""Losses and metrics of the samples whose label is known, for several tasks of which each has its
own gaps. Runs in the worker; constructors, driver.
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

    A label is missing where it is nan, or with `missing=-1` also where it is -1; of several numbers
    a sample has, where one of them is. The inner loss gets 0 in its place and the weight 0. So a
    loss of samples together, such as `survival.CoxPartialLikelihood`, leaves these samples out.

    The mean is over the samples of the batch that have a label: with `n` of them, it is the sum of
    their losses, each times its weight, divided by `n`. A batch without any has the loss 0 and
    gradients of 0. What Keras logs for an epoch is the mean over its batches, as always.

    Args:
        loss: The inner loss: one of Keras or of `glimr_keras.survival`, its name, or a function
            `(y_true, y_pred)` with a loss for each sample. Its own reduction counts for nothing.
        missing: Another number that stands for a missing label, such as -1. Defaults to none.
        reduction: `"sum_over_batch_size"` or `"mean"`, the mean described above;
            `"mean_with_sample_weight"`, divided by the sum of weights instead; `"sum"`; or `None`
            for one loss a sample. Defaults to `"sum_over_batch_size"`.
        name: Defaults to the inner loss's.
        dtype: Of the computation. Defaults to Keras' float.

    Raises:
        TypeError: If `loss` is none.
        ValueError: If there is no loss of this name.

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
        """Returns the reduced loss."""
        with keras.name_scope(self.name):
            y_true = ops.convert_to_tensor(y_true, dtype=self.dtype)
            y_true, known = _known(y_true, self.missing)
            weight = _weights(known, sample_weight, self.dtype)
            losses = self._weighted(y_true, y_pred, weight)
            return self._reduced(losses, ops.cast(known, self.dtype), weight)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Returns the loss of each sample, 0 of those without a label."""
        y_true, known = _known(ops.convert_to_tensor(y_true, dtype=self.dtype), self.missing)
        return self._weighted(y_true, y_pred, ops.cast(known, self.dtype))

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor, JSON types only."""
        return {
            "name": self.name,
            "reduction": self.reduction,
            "loss": _serialized(self._given),
            "missing": self.missing,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> MaskedLoss:
        """The loss that `get_config` was called on."""
        return cls(**{**config, "loss": keras.saving.deserialize_keras_object(config["loss"])})

    def _weighted(self, y_true: Any, y_pred: Any, weight: Any) -> Any:
        """The loss of each sample, times its weight; one whose class has a way of its own with
        weights is given them.
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
        # of each sample there may be several, such as one for each step of a sequence
        each = ops.size(losses) / ops.maximum(ops.shape(losses)[0], 1)
        return ops.divide_no_nan(total, ops.sum(counts) * ops.cast(each, self.dtype))


@keras.saving.register_keras_serializable(package="glimr_keras")
class MaskedMetric(keras.metrics.Metric):
    """A metric of the samples whose label is known, over a whole epoch or validation.

    What is missing is as for `MaskedLoss`; the inner metric gets such samples with the weight 0.

    Args:
        metric: The inner metric: one of Keras or of `glimr_keras.survival`, its name, or a function
            `(y_true, y_pred)` of each sample whose mean is taken. `"accuracy"` is not enough, since
            Keras chooses by the shapes which one that is.
        missing: Another number that stands for a missing label, such as -1. Defaults to none.
        name: Defaults to the inner metric's.
        dtype: Of the computation. Defaults to the inner metric's.

    Raises:
        TypeError: If `metric` is none.
        ValueError: If there is no metric of this name, or several.
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
        else:  # its own, since it holds state
            found = type(found).from_config(found.get_config())
        super().__init__(name=name or found.name, dtype=dtype or found.dtype)
        self._given = metric
        self.metric = found
        self.missing = _checked_missing(missing)
        self._direction = getattr(found, "_direction", None)

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Takes in a batch."""
        y_true = ops.convert_to_tensor(y_true, dtype=self.dtype)
        y_true, known = _known(y_true, self.missing)
        self.metric.update_state(y_true, y_pred, _weights(known, sample_weight, self.dtype))

    def result(self) -> Any:
        """Returns the inner metric's value of all samples so far."""
        return self.metric.result()

    def reset_state(self) -> None:
        """Forgets all samples."""
        self.metric.reset_state()

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor, JSON types only."""
        is_made = isinstance(self._given, keras.metrics.Metric)
        given = self.metric if is_made else self._given
        return {"name": self.name, "metric": _serialized(given), "missing": self.missing}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> MaskedMetric:
        """The metric that `get_config` was called on."""
        return cls(**{**config, "metric": keras.saving.deserialize_keras_object(config["metric"])})


def _known(y_true: Any, missing: float | None) -> tuple[Any, Any]:
    """Labels with 0 for those that are missing, and which samples have theirs, shape (batch,)."""
    gone = ops.isnan(y_true)
    if missing is not None:
        gone = ops.logical_or(gone, y_true == missing)
    if len(gone.shape) > 1:
        gone = ops.any(gone, axis=tuple(range(1, len(gone.shape))))
    shape = (-1, *(1 for _ in y_true.shape[1:]))
    y_true = ops.where(ops.reshape(gone, shape), ops.zeros_like(y_true), y_true)
    return y_true, ops.logical_not(gone)


def _weights(known: Any, sample_weight: Any, dtype: Any) -> Any:
    """The weight of each sample, 0 without a label."""
    weight = ops.cast(known, dtype)
    if sample_weight is None:
        return weight
    given = ops.reshape(ops.convert_to_tensor(sample_weight, dtype=dtype), (-1,))
    return ops.where(known, given, ops.zeros_like(given))


def _by_sample(loss: Any) -> Any:
    """A copy of a loss that returns that of each sample."""
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
    """An instance of Keras' class, or a function."""
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
    """What Keras takes as a name: that of a lambda it does not."""
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
