"""Survival metrics over all samples. Runs in the worker; constructors, in the driver.

Keras computes a metric's value after each batch, in the compiled graph, from a state of fixed
size. A concordance is over pairs, so the metric stores the samples it has seen, up to its
`capacity`. It compares each batch with the stored samples and with itself. So its value covers
all pairs so far after each batch, and a batch costs no more than its own pairs.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from glimr_keras._utils.checks import checked_count
from glimr_keras.survival.curves import CensoringDistribution
from glimr_keras.survival.intervals import Interpolation, checked_cuts, log_survival
from glimr_keras.survival.scores import TIED, checked_times, inverse, trapezoid
from glimr_keras.survival.targets import one_column, precise, weighted_parts

OUTPUTS = ("log_hazard", "discrete_hazard")

_CHUNK = 1024
"""The number of stored samples that a batch is compared with at a time."""

_MOST = 2**24
"""The largest count that is exact in float32."""

_NOT_NOW = (TypeError, ValueError, AttributeError, NotImplementedError, RuntimeError)
"""The errors that backends raise when a value is requested while a graph is traced."""


@keras.saving.register_keras_serializable(package="glimr_keras")
class ConcordanceIndex(keras.metrics.Metric):
    """Harrell's concordance index over all samples (Harrell et al. 1996).

    It is the share of comparable pairs in which the sample with the earlier event has the higher
    risk. A pair is comparable if the earlier sample has the event. At equal times, a pair is
    comparable if one has the event and the other is censored. A pair with equal risks, within 1e-8,
    counts half. The value equals `concordance_index_censored` of scikit-survival; higher is better.

    Targets come from `survival_target`: shape (samples, 2), time and event. Samples without a time
    or event (nan), or of weight 0, are ignored. With other weights, a pair is weighted by the
    product of its samples' weights. (Keras passes weights only to `weighted_metrics`.)

    The value is nan while no pair is comparable, and after a non-finite output. It is also nan,
    with a warning, when there were more samples than `capacity`. Each sample of the capacity takes
    28 bytes.

    Args:
        output: The meaning of the model's outputs. `"log_hazard"`: one risk for each sample, shape
            (samples, 1). `"discrete_hazard"`: logits of hazards as for `DiscreteHazard`, shape
            (samples, intervals). Their risk is the expected number of intervals that end after
            the event. Defaults to `"log_hazard"`.
        capacity: The largest number of samples in one validation, or in one epoch of training,
            from 2 to 2**24, both included. Defaults to `16384`.
        name: The name of the metric. Defaults to `"concordance_index"`.
        dtype: The dtype of the computation, at least float32. Defaults to `None`, which means
            Keras' default float type.

    Raises:
        ValueError: If `output` is neither of the two, or `capacity` is not an integer in its range.
            Also, when called, if targets or outputs have another shape, or if `tf.distribute` has
            several devices, since each sees only its own samples.
    """

    def __init__(
        self,
        output: str = "log_hazard",
        capacity: int = 16384,
        name: str = "concordance_index",
        dtype: Any = None,
    ) -> None:
        if output not in OUTPUTS:
            raise ValueError(f"`output` must be one of {OUTPUTS}. Received: output={output!r}")
        capacity = checked_count("capacity", capacity, 2)
        if capacity > _MOST:
            raise ValueError(f"`capacity` must be at most {_MOST}. Received: capacity={capacity}")
        super().__init__(name=name, dtype=precise(dtype))
        self._direction = "up"
        self.output, self.capacity = output, capacity
        # with at least one row for samples that do not count
        self._size = -(-(self.capacity + 1) // _CHUNK) * _CHUNK
        self._stored = self.add_variable((self._size, 5), "zeros", dtype=self.dtype, name="stored")
        self._pairs = self.add_variable((self._size, 2), "zeros", dtype=self.dtype, name="pairs")
        self._seen = self.add_variable((), "zeros", dtype=self.dtype, name="seen")
        self._broken = self.add_variable((), "zeros", dtype=self.dtype, name="broken")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Add a batch: targets of shape (samples, 2), the model's outputs, and weights."""
        _check_one_device(self)
        y_true = ops.convert_to_tensor(y_true, dtype=self.dtype)
        time, event, known, weight = weighted_parts(y_true, sample_weight)
        risk = self._risk(ops.convert_to_tensor(y_pred, dtype=self.dtype))
        finite = ops.isfinite(risk)
        is_broken = ops.any(ops.logical_and(known, ops.logical_not(finite)))
        risk = ops.where(finite, risk, ops.zeros_like(risk))

        before = self._seen + 0.0
        place = before + ops.cumsum(ops.cast(known, self.dtype)) - 1
        fits = ops.logical_and(known, place < self.capacity)
        place = ops.where(fits, place, ops.full_like(place, self.capacity))
        place = ops.cast(place, "int32")[:, None]
        counts = weight * self._pair_weights(time, event > 0)
        batch = ops.stack([time, event, risk, weight, counts], axis=1)
        stored = ops.scatter_update(ops.convert_to_tensor(self._stored), place, batch)
        after = before + ops.sum(ops.cast(known, self.dtype))

        found, pairs = self._compared(batch, fits, stored, before, after)
        pairs = ops.scatter_update(pairs, place, found)
        self._stored.assign(stored)
        self._pairs.assign(pairs)
        self._seen.assign(after)
        self._broken.assign(ops.maximum(self._broken, ops.cast(is_broken, self.dtype)))

    def result(self) -> Any:
        """Return the concordance of all samples so far, a scalar."""
        self._warn_if_full()
        is_filled = ops.arange(self._size, dtype="int32") < ops.cast(self._seen, "int32")
        counts = ops.where(is_filled, self._stored[:, 4], ops.zeros_like(self._stored[:, 4]))
        # in two steps, since one long sum loses digits
        weighted = ops.reshape(counts[:, None] * self._pairs, (-1, 128, 2))
        concordant, comparable = ops.unstack(ops.sum(ops.sum(weighted, axis=1), axis=0), 2)
        is_void = ops.logical_or(self._broken > 0, self._seen > self.capacity)
        is_void = ops.logical_or(is_void, comparable <= 0)
        nan = ops.full_like(comparable, float("nan"))
        comparable = ops.where(comparable > 0, comparable, ops.ones_like(comparable))
        is_void = ops.logical_or(is_void, ops.isnan(concordant))
        return ops.where(is_void, nan, concordant / comparable)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments, as JSON types only."""
        return {**super().get_config(), "output": self.output, "capacity": self.capacity}

    def _pair_weights(self, time: Any, died: Any) -> Any:
        """Return the weight of the pairs in which a sample is the earlier one, shape (samples,)."""
        return ops.ones_like(time)

    def _risk(self, y_pred: Any) -> Any:
        if self.output == "log_hazard":
            return one_column(y_pred)
        if len(y_pred.shape) != 2:
            raise ValueError(
                "The model must have an output for each interval. Received: outputs of shape "
                f"{tuple(y_pred.shape)}"
            )
        return -ops.sum(ops.exp(log_survival(y_pred)), axis=1)

    def _compared(
        self, batch: Any, fits: Any, stored: Any, before: Any, after: Any
    ) -> tuple[Any, Any]:
        """Compare a batch with all stored samples, including itself.

        Returns:
            The numbers of concordant and comparable pairs in which a sample is the earlier one.
            First for the batch, shape (samples, 2), then for the stored samples, with new pairs.
        """
        end = ops.minimum(after, self.capacity)
        new = ops.concatenate([batch, ops.cast(fits, self.dtype)[:, None]], axis=1)

        def goes_on(begin: Any, found: Any, pairs: Any) -> Any:
            return ops.cast(begin, self.dtype) < end

        def step(begin: Any, found: Any, pairs: Any) -> tuple[Any, Any, Any]:
            index = ops.cast(begin + ops.arange(_CHUNK, dtype="int32"), self.dtype)
            chunk = ops.slice(stored, (begin, 0), (_CHUNK, 5))
            is_old, is_there = (ops.cast(index < at, self.dtype)[:, None] for at in (before, end))
            old = ops.concatenate([chunk, is_old], axis=1)
            everyone = ops.concatenate([chunk, is_there], axis=1)
            found = found + _pairs_between(new, everyone)
            counted = ops.slice(pairs, (begin, 0), (_CHUNK, 2)) + _pairs_between(old, new)
            return begin + _CHUNK, found, ops.slice_update(pairs, (begin, 0), counted)

        found, pairs = ops.zeros_like(batch[:, :2]), ops.convert_to_tensor(self._pairs)
        known_end = _value_of(end)
        if known_end is None:
            begin = ops.convert_to_tensor(0, dtype="int32")
            _, found, pairs = ops.while_loop(goes_on, step, (begin, found, pairs))
            return found, pairs
        for start in range(0, int(known_end), _CHUNK):  # JAX would recompile each loop
            _, found, pairs = step(start, found, pairs)
        return found, pairs

    def _warn_if_full(self) -> None:
        seen = _value_of(self._seen)
        if seen is not None and seen > self.capacity:
            warnings.warn(
                f"The metric {self.name!r} holds {self.capacity} samples and got {seen:.0f}, so "
                "its value is nan. Give it a larger `capacity`.",
                stacklevel=3,
            )


@keras.saving.register_keras_serializable(package="glimr_keras")
class UnoConcordanceIndex(ConcordanceIndex):
    """Uno's concordance index over all samples, independent of the censoring (Uno et al. 2011).

    It is `ConcordanceIndex` with weighted pairs. The weights depend on the probability, in the
    training data, that the earlier event was not censored. The value equals
    `concordance_index_ipcw` of scikit-survival; higher is better. It is also nan if an event before
    `tau` is at a time when all training samples are censored, or after the last of them.

    Args:
        censoring: `CensoringDistribution.of(time, event)` of the training data.
        tau: Ignore events at or after this time. Defaults to `None`, which means all events count.
        output: As for `ConcordanceIndex`. Defaults to `"log_hazard"`.
        capacity: As for `ConcordanceIndex`. Defaults to `16384`.
        name: The name of the metric. Defaults to `"uno_concordance_index"`.
        dtype: As for `ConcordanceIndex`. Defaults to `None`.

    Raises:
        TypeError: If `censoring` is not a `CensoringDistribution`.
        ValueError: As for `ConcordanceIndex`.
    """

    def __init__(
        self,
        censoring: CensoringDistribution,
        tau: float | None = None,
        output: str = "log_hazard",
        capacity: int = 16384,
        name: str = "uno_concordance_index",
        dtype: Any = None,
    ) -> None:
        super().__init__(output=output, capacity=capacity, name=name, dtype=dtype)
        self.censoring = _checked_censoring(censoring)
        self.tau = None if tau is None else float(tau)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments, as JSON types only."""
        censoring = keras.saving.serialize_keras_object(self.censoring)
        return {**super().get_config(), "censoring": censoring, "tau": self.tau}

    def _pair_weights(self, time: Any, died: Any) -> Any:
        seen = self.censoring.in_graph(time)
        is_known = seen > 0
        nan = ops.full_like(seen, float("nan"))
        weights = ops.where(is_known, 1 / ops.where(is_known, ops.square(seen), nan), nan)
        counts = died if self.tau is None else ops.logical_and(died, time < self.tau)
        return ops.where(counts, weights, ops.zeros_like(weights))


@keras.saving.register_keras_serializable(package="glimr_keras")
class IntegratedBrierScore(keras.metrics.Metric):
    """The Brier score over all samples, averaged over a range of times (Graf et al. 1999).

    The Brier score at a time is a mean squared difference, weighted to account for censoring. It is
    between being event-free, as 0 or 1, and the predicted probability of it. The value equals
    `integrated_brier_score` of scikit-survival; lower is better.

    Targets come from `survival_target`: shape (samples, 2), time and event. Samples without a time
    or event (nan), or of weight 0, are ignored. With other weights, the mean over samples is
    weighted. As the censoring distribution is given, the score is a mean over samples and needs no
    capacity. It is nan without samples.

    Args:
        times: At least two ascending times, within the times of the training data. The mean uses
            the trapezoidal rule.
        censoring: `CensoringDistribution.of(time, event)` of the training data.
        cuts: The `cuts` of `DiscreteHazard`, for a model with its outputs, shape (samples,
            intervals). Between cuts, the logarithm of the survival function is interpolated.
            Defaults to `None`, which means that the outputs are probabilities of no event until
            each of `times`, shape (samples, times). (Cox's model needs a baseline first: see
            `breslow_survival`.)
        name: The name of the metric. Defaults to `"integrated_brier_score"`.
        dtype: The dtype of the computation, at least float32. Defaults to `None`, which means
            Keras' default float type.

    Raises:
        TypeError: If `censoring` is not a `CensoringDistribution`.
        ValueError: If there are fewer than two `times`, they do not ascend, or they exceed the
            training data or the last cut. Also, when called, if targets or outputs have another
            shape, or if `tf.distribute` has several devices.
    """

    def __init__(
        self,
        times: Sequence[float],
        censoring: CensoringDistribution,
        cuts: Sequence[float] | None = None,
        name: str = "integrated_brier_score",
        dtype: Any = None,
    ) -> None:
        super().__init__(name=name, dtype=precise(dtype))
        self._direction = "down"
        self.censoring = _checked_censoring(censoring)
        at = checked_times(times, self.censoring, at_least=2)
        self.times = [float(time) for time in at]
        self.cuts = None if cuts is None else checked_cuts(cuts)
        self._between = None if self.cuts is None else Interpolation(self.cuts, self.times)
        self._share = trapezoid(at)
        self._of_living = inverse(self.censoring.at(at))
        # sums, with the rounding error of each
        self._sums = self.add_variable((2, 2), "zeros", dtype=self.dtype, name="sums")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Add a batch: targets of shape (samples, 2), the model's outputs, and weights."""
        _check_one_device(self)
        y_true = ops.convert_to_tensor(y_true, dtype=self.dtype)
        time, event, known, weight = weighted_parts(y_true, sample_weight)
        scores = self._scores(time, event > 0, ops.convert_to_tensor(y_pred, dtype=self.dtype))
        scores = ops.where(known, scores * weight, ops.zeros_like(scores))
        added = ops.stack([ops.sum(scores), ops.sum(weight)])
        total, lost = ops.convert_to_tensor(self._sums[0]), ops.convert_to_tensor(self._sums[1])
        added = added - lost  # Kahan summation
        new = total + added
        self._sums.assign(ops.stack([new, (new - total) - added]))

    def result(self) -> Any:
        """Return the score of all samples so far, a scalar."""
        scores, weight = ops.unstack(self._sums[0] - self._sums[1], 2)
        nan = ops.full_like(weight, float("nan"))
        return ops.where(weight > 0, scores / ops.where(weight > 0, weight, nan), nan)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments, as JSON types only."""
        own = {"times": list(self.times), "cuts": None if self.cuts is None else list(self.cuts)}
        censoring = keras.saving.serialize_keras_object(self.censoring)
        return {**super().get_config(), **own, "censoring": censoring}

    def _scores(self, time: Any, died: Any, y_pred: Any) -> Any:
        """Return the score of each sample, averaged over the times; shape (samples,)."""
        columns = len(self.times if self.cuts is None else self.cuts)
        if len(y_pred.shape) != 2 or y_pred.shape[1] != columns:
            raise ValueError(
                f"The model must have {columns} outputs for each sample, one for each of "
                f"`{'times' if self.cuts is None else 'cuts'}`. Received: outputs of shape "
                f"{tuple(y_pred.shape)}"
            )
        survival = y_pred if self._between is None else self._between.survival(y_pred)
        at = ops.convert_to_tensor(self.times, dtype=self.dtype)[None, :]
        share, of_living = (
            ops.convert_to_tensor(np.asarray(each), dtype=self.dtype)[None, :]
            for each in (self._share, self._of_living)
        )
        seen = self.censoring.in_graph(ops.minimum(time, at[0, -1]))
        of_dead = ops.where(seen > 0, 1 / ops.where(seen > 0, seen, ops.ones_like(seen)), 0.0)
        is_over = time[:, None] <= at
        dead = ops.logical_and(died[:, None], is_over)
        zero = ops.zeros_like(survival)
        squares = ops.where(dead, ops.square(survival) * of_dead[:, None], zero)
        living = ops.square(1 - survival) * of_living
        return ops.sum(share * (squares + ops.where(is_over, zero, living)), axis=1)


def _pairs_between(earlier: Any, later: Any) -> Any:
    """Return the weights of pairs in which each of `earlier` has the event first.

    The columns are concordant and comparable pairs, shape (earlier, 2).

    Args:
        earlier: Samples, shape (…, 6), with the columns time, event, risk, weight, an unused one,
            and whether the row is a sample.
        later: Samples in the same form.
    """
    time, event, risk, _, _, counts = (
        column[:, None] for column in ops.unstack(earlier, 6, axis=1)
    )
    times, events, risks, weights, _, count = (
        column[None, :] for column in ops.unstack(later, 6, axis=1)
    )
    is_later = ops.logical_or(times > time, ops.logical_and(times == time, events <= 0))
    has_first = ops.logical_and(event * counts > 0, is_later)
    weight = ops.where(has_first, weights * count, ops.zeros_like(weights * count))
    is_tied = ops.abs(risk - risks) <= TIED
    right = ops.where(is_tied, 0.5, ops.cast(risk > risks, weight.dtype))
    return ops.stack([ops.sum(weight * right, axis=1), ops.sum(weight, axis=1)], axis=1)


def _value_of(scalar: Any) -> float | None:
    """Return a scalar as a float, or `None` while a graph is traced."""
    try:
        return float(ops.convert_to_numpy(ops.convert_to_tensor(scalar)))
    except _NOT_NOW:
        return None


def _checked_censoring(given: Any) -> CensoringDistribution:
    """Return a distribution, deserialized where it comes from a configuration."""
    if isinstance(given, dict):
        given = keras.saving.deserialize_keras_object(given)
    if not isinstance(given, CensoringDistribution):
        raise TypeError(
            "`censoring` must be a `CensoringDistribution.of(time, event)` of the training data. "
            f"Received: {type(given).__name__}"
        )
    return given


def _check_one_device(metric: keras.metrics.Metric) -> None:
    if keras.backend.backend() != "tensorflow":
        return
    import tensorflow as tf

    if tf.distribute.get_strategy().num_replicas_in_sync > 1:
        raise ValueError(
            f"With `tf.distribute`, each device sees its own samples, of which {metric.name!r} is "
            "not the value of all. Train on one device, or evaluate afterwards."
        )
