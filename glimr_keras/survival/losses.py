"""Losses of survival analysis. Runs in the worker; constructors, driver."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from glimr_keras.survival.intervals import checked_cuts
from glimr_keras.survival.targets import one_column, parts, precise, weights_of

TIES = ("efron", "breslow")

_NOTHING = -1e30
"""The logarithm of what is left out of a sum; finite, so that gradients are."""


@keras.saving.register_keras_serializable(package="glimr_keras")
class CoxPartialLikelihood(keras.losses.Loss):
    """The negative log partial likelihood of Cox's model (Cox 1972).

    The model has one output for each sample, its log hazard, shape (samples, 1), without
    activation. Targets are those of `survival_target`: shape (samples, 2), time and event. Samples
    without a time or event (nan) are left out.

    A sample is compared with those of its batch that are still at risk, so batches are to be large,
    and with `tf.distribute` these are the samples of one device. A batch without an event has the
    loss 0. Each sum is relative to its largest term, so that any log hazards may occur in float32.
    Time and memory grow with the square of the batch: 4,096 samples take half a gigabyte.

    A sample weight is a case weight, as in R's `coxph`: a sample of weight 2 counts as two, both as
    an event and as one at risk (with Efron's ties, deaths of a time have their mean weight). One of
    weight 0 is left out.

    Args:
        ties: How events at the same time are taken: `"efron"` (Efron 1977), which is closer to the
            exact likelihood, or `"breslow"` (Breslow 1974). Defaults to `"efron"`.
        reduction: As of every Keras loss. The loss of an event is at its sample, and 0 at those
            that are censored or left out; these count in `"sum_over_batch_size"`. Defaults to that.
        name: Defaults to `"cox_partial_likelihood"`.
        dtype: Of the computation, at least float32. Defaults to Keras' float.

    Raises:
        ValueError: If `ties` is neither; when called, if targets or outputs have another shape.

    References: Cox 1972, doi:10.1111/j.2517-6161.1972.tb00899.x; Breslow 1974,
    doi:10.2307/2529620; Efron 1977, doi:10.1080/01621459.1977.10480613.
    """

    def __init__(
        self,
        ties: str = "efron",
        reduction: str | None = "sum_over_batch_size",
        name: str = "cox_partial_likelihood",
        dtype: Any = None,
    ) -> None:
        if ties not in TIES:
            raise ValueError(f"`ties` must be one of {TIES}. Received: ties={ties!r}")
        super().__init__(name=name, reduction=reduction, dtype=precise(dtype))
        self.ties = ties

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """Returns the reduced loss; weights count among those at risk too."""
        if sample_weight is None:
            return super().__call__(y_true, y_pred)
        y_true = ops.convert_to_tensor(y_true, dtype=self.dtype)
        weight = weights_of(sample_weight, y_true[:, 0])
        loss = super().__call__(ops.concatenate([y_true, weight[:, None]], axis=1), y_pred)
        if self.reduction != "mean_with_sample_weight":
            return loss
        count = ops.cast(ops.shape(weight)[0], loss.dtype)
        return loss * ops.divide_no_nan(count, ops.sum(weight))

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Returns the loss of each sample, shape (samples,); a third column of `y_true` has case
        weights.
        """
        time, event, known = parts(y_true)
        one, zero = ops.ones_like(time), ops.zeros_like(time)
        weight = y_true[:, 2] if y_true.shape[1] > 2 else one
        known = ops.logical_and(known, weight > 0)
        weight = ops.where(known, weight, one)
        hazard = ops.where(known, one_column(y_pred), zero)
        died = ops.logical_and(known, event > 0)
        member = hazard + ops.log(weight)
        # of a row, those of the columns
        at_risk = ops.logical_and(known[None, :], time[None, :] >= time[:, None])
        largest, of_sum = _log_sums(member, at_risk)
        of_time = weight
        if self.ties == "efron":
            is_tied = ops.logical_and(died[None, :], time[None, :] == time[:, None])
            tied = ops.cast(is_tied, time.dtype)
            total = ops.maximum(ops.sum(tied, axis=1), one)
            of_time = ops.sum(tied * weight[None, :], axis=1) / total
            # only of events, since that of others may be all, whose logarithm has no gradient
            share = ops.where(died, ops.sum(ops.tril(tied, -1), axis=1) / total, zero)
            largest_tied, of_tied = _log_sums(member, is_tied)
            excess = (largest_tied - largest) + (of_tied - of_sum)
            # a part is not more than the whole, and rounding must not make it so
            excess = excess - ops.stop_gradient(ops.maximum(excess, zero))
            of_sum = of_sum + ops.log1p(-share * ops.exp(excess))
        # first what is large and nearly the same, so that no digits of the rest are lost
        losses = of_time * (largest - hazard) + (of_time - weight) * hazard + of_time * of_sum
        return ops.where(died, losses, zero)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor, JSON types only."""
        return {**super().get_config(), "ties": self.ties}


@keras.saving.register_keras_serializable(package="glimr_keras")
class DiscreteHazard(keras.losses.Loss):
    """The negative log likelihood of hazards in intervals of time (Gensheimer & Narasimhan 2019).

    The model has an output for each interval, the logit of its hazard: of the probability that the
    event happens in it if it has not happened before. Shape (samples, intervals), without
    activation. Interval k is from `cuts[k - 1]` to `cuts[k]`, the first from 0; its end belongs to
    it and its begin does not. Targets are those of `survival_target`: shape (samples, 2), time and
    event. Samples without a time or event (nan) have the loss 0.

    A sample with the event has survived the intervals before its own; an event behind the last cut
    is survival of all. One that is censored has survived those whose middle it has reached.

    The loss is a sum over samples: batches may have any size, and a sample weight multiplies the
    sample's loss.

    Args:
        cuts: The ends of the intervals, ascending numbers above 0, in the unit of the times; see
            `time_cuts`.
        reduction: As of every Keras loss. Defaults to `"sum_over_batch_size"`.
        name: Defaults to `"discrete_hazard"`.
        dtype: Of the computation, at least float32. Defaults to Keras' float.

    Raises:
        ValueError: If `cuts` do not ascend from above 0; when called, if targets or outputs have
            another shape.

    References: Gensheimer and Narasimhan 2019, doi:10.7717/peerj.6257.
    """

    def __init__(
        self,
        cuts: Sequence[float],
        reduction: str | None = "sum_over_batch_size",
        name: str = "discrete_hazard",
        dtype: Any = None,
    ) -> None:
        super().__init__(name=name, reduction=reduction, dtype=precise(dtype))
        self.cuts = checked_cuts(cuts)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Returns the loss of each sample, shape (samples,)."""
        if len(y_pred.shape) != 2 or y_pred.shape[1] != len(self.cuts):
            raise ValueError(
                f"The model must have an output for each of {len(self.cuts)} intervals. Received: "
                f"outputs of shape {tuple(y_pred.shape)}"
            )
        time, event, known = parts(y_true)
        ends = ops.convert_to_tensor(self.cuts, dtype=self.dtype)[None, :]
        begins = ops.convert_to_tensor([0.0, *self.cuts[:-1]], dtype=self.dtype)[None, :]
        time, event, known = time[:, None], event[:, None] > 0, known[:, None]
        behind = time > ends
        in_first = ops.logical_and(time <= 0, begins <= 0)
        inside = ops.logical_or(ops.logical_and(time > begins, ops.logical_not(behind)), in_first)
        failed = ops.logical_and(event, inside)
        reached = ops.logical_and(ops.logical_not(event), time >= (begins + ends) / 2)
        survived = ops.logical_or(behind, reached)
        # each logit once, without a difference of large numbers
        losses = ops.where(survived, ops.softplus(y_pred), ops.zeros_like(y_pred))
        losses = losses + ops.where(failed, ops.softplus(-y_pred), ops.zeros_like(y_pred))
        return ops.sum(ops.where(known, losses, ops.zeros_like(losses)), axis=1)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor, JSON types only."""
        return {**super().get_config(), "cuts": list(self.cuts)}


def _log_sums(values: Any, mask: Any) -> tuple[Any, Any]:
    """For each row of `mask`, the logarithm of the sum of `exp(values)` over the samples in it: the
    largest of the values, and what is to be added.
    """
    chosen = ops.where(mask, values[None, :], _NOTHING)
    largest = ops.stop_gradient(ops.max(chosen, axis=1))
    return largest, ops.log(ops.sum(ops.exp(chosen - largest[:, None]), axis=1))
