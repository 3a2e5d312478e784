"""Losses for survival analysis. Runs in the worker; constructors, in the driver."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from glimr_keras.survival.intervals import checked_cuts
from glimr_keras.survival.targets import one_column, parts, precise, weights_of

TIES = ("efron", "breslow")

_NOTHING = -1e30
"""The logarithm of terms left out of a sum; finite, so that gradients are finite."""


@keras.saving.register_keras_serializable(package="glimr_keras")
class CoxPartialLikelihood(keras.losses.Loss):
    """The negative log partial likelihood of Cox's model (Cox 1972).

    The model has one output for each sample, its log hazard, shape (samples, 1), without
    activation. Targets come from `survival_target`: shape (samples, 2), time and event. Samples
    without a time or event (nan) are ignored.

    Each sample is compared with the samples of its batch that are still at risk, so use large
    batches. With `tf.distribute`, only samples on the same device are compared. A batch without an
    event has the loss 0. Each sum is relative to its largest term, so any log hazards work in
    float32. Time and memory grow with the square of the batch size: 4,096 samples take half a
    gigabyte.

    A sample weight is a case weight, as in R's `coxph`. A sample of weight 2 counts as two, both as
    an event and as one at risk. With Efron's ties, events at the same time have their mean weight.
    Samples of weight 0 are ignored.

    Args:
        ties: How to handle events at the same time: `"efron"` (Efron 1977), which is closer to the
            exact likelihood, or `"breslow"` (Breslow 1974). Defaults to `"efron"`.
        reduction: The reduction, as for every Keras loss. Censored and ignored samples have the
            loss 0 and count in `"sum_over_batch_size"`. Defaults to `"sum_over_batch_size"`.
        name: The name of the loss. Defaults to `"cox_partial_likelihood"`.
        dtype: The dtype of the computation, at least float32. Defaults to `None`, which means
            Keras' default float type.

    Raises:
        ValueError: If `ties` is neither of the two, or, when called, if targets or outputs have
            another shape.

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
        """Return the reduced loss; the weights also apply to samples at risk."""
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
        """Return the loss of each sample, shape (samples,).

        A third column of `y_true` holds case weights.
        """
        time, event, known = parts(y_true)
        one, zero = ops.ones_like(time), ops.zeros_like(time)
        weight = y_true[:, 2] if y_true.shape[1] > 2 else one
        known = ops.logical_and(known, weight > 0)
        weight = ops.where(known, weight, one)
        hazard = ops.where(known, one_column(y_pred), zero)
        died = ops.logical_and(known, event > 0)
        member = hazard + ops.log(weight)
        # each row marks the columns that are at risk
        at_risk = ops.logical_and(known[None, :], time[None, :] >= time[:, None])
        largest, of_sum = _log_sums(member, at_risk)
        of_time = weight
        if self.ties == "efron":
            is_tied = ops.logical_and(died[None, :], time[None, :] == time[:, None])
            tied = ops.cast(is_tied, time.dtype)
            total = ops.maximum(ops.sum(tied, axis=1), one)
            of_time = ops.sum(tied * weight[None, :], axis=1) / total
            # events only: for others the share may be 1, where the logarithm has no gradient
            share = ops.where(died, ops.sum(ops.tril(tied, -1), axis=1) / total, zero)
            largest_tied, of_tied = _log_sums(member, is_tied)
            excess = (largest_tied - largest) + (of_tied - of_sum)
            # a part never exceeds the whole, and rounding must not change that
            excess = excess - ops.stop_gradient(ops.maximum(excess, zero))
            of_sum = of_sum + ops.log1p(-share * ops.exp(excess))
        # first the large, nearly equal terms, so that the rest loses no digits
        losses = of_time * (largest - hazard) + (of_time - weight) * hazard + of_time * of_sum
        return ops.where(died, losses, zero)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments, as JSON types only."""
        return {**super().get_config(), "ties": self.ties}


@keras.saving.register_keras_serializable(package="glimr_keras")
class DiscreteHazard(keras.losses.Loss):
    """The negative log likelihood of hazards in time intervals (Gensheimer & Narasimhan 2019).

    The model has one output for each interval, shape (samples, intervals), without activation. It
    is the logit of the hazard: the probability that the event happens in this interval, given that
    it has not happened before. Interval k goes from `cuts[k - 1]` to `cuts[k]`, the first from 0.
    It includes its end but not its start. Targets come from `survival_target`: shape (samples, 2),
    time and event. Samples without a time or event (nan) have the loss 0.

    A sample with the event has survived the intervals before its own. An event after the last cut
    counts as survival of all intervals. A censored sample has survived the intervals whose midpoint
    it has reached.

    The loss is a sum over samples: batches may have any size, and a sample weight multiplies the
    sample's loss.

    Args:
        cuts: The ends of the intervals, ascending numbers above 0, in the unit of the times; see
            `time_cuts`.
        reduction: The reduction, as for every Keras loss. Defaults to `"sum_over_batch_size"`.
        name: The name of the loss. Defaults to `"discrete_hazard"`.
        dtype: The dtype of the computation, at least float32. Defaults to `None`, which means
            Keras' default float type.

    Raises:
        ValueError: If `cuts` do not ascend from above 0, or, when called, if targets or outputs
            have another shape.

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
        """Return the loss of each sample, shape (samples,)."""
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
        # each logit is used once, without differences of large numbers
        losses = ops.where(survived, ops.softplus(y_pred), ops.zeros_like(y_pred))
        losses = losses + ops.where(failed, ops.softplus(-y_pred), ops.zeros_like(y_pred))
        return ops.sum(ops.where(known, losses, ops.zeros_like(losses)), axis=1)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments, as JSON types only."""
        return {**super().get_config(), "cuts": list(self.cuts)}


def _log_sums(values: Any, mask: Any) -> tuple[Any, Any]:
    """Return the log of the sum of `exp(values)` over each row of `mask`, in two parts.

    The parts are the largest of the values and the term to add to it.
    """
    chosen = ops.where(mask, values[None, :], _NOTHING)
    largest = ops.stop_gradient(ops.max(chosen, axis=1))
    return largest, ops.log(ops.sum(ops.exp(chosen - largest[:, None]), axis=1))
