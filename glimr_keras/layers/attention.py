"""Attention pooling of bags. Keras; runs in the worker."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from glimr_keras._utils.checks import checked_count

_SUM_FROM = "float32"
"""The lowest precision of the attention: half precision cannot sum ten thousand weights."""


@keras.saving.register_keras_serializable(package="glimr_keras")
class GatedAttentionPooling(keras.layers.Layer):
    """Pool each bag with learned attention weights (Ilse, Tomczak & Welling 2018).

    The output is the weighted mean of a bag's instances.

    Bags are padded to a common size, shape (batch, instances, features). The `mask`, shape (batch,
    instances), is `True` where there is an instance. On TensorFlow, a ragged tensor works too.
    Masked entries have the weight 0, whatever their values, and the weights of a bag sum to 1. For
    a bag without instances, the weights and the mean are 0. The mean is computed in float32 at
    least.

    Args:
        units: The number of units in the hidden layer of the attention, at least 1. Defaults to
            `128`.
        gated: Whether to multiply the hidden layer by a gate. `True` is equation 9 of the paper,
            `False` is equation 8. Defaults to `True`.
        return_attention: Whether to return `(mean, weights)`. Defaults to `False`.
        kwargs: Keyword arguments of `keras.layers.Layer`.

    Returns:
        The mean, shape (batch, features). With `return_attention`, also the weights, shape (batch,
        instances), which are 0 for padding.

    Raises:
        ValueError: If `units` is not a positive integer, or, when the layer is built, if the inputs
            have another rank.

    Example:
        bag = keras.Input((None, 1024), name="bag")
        mask = keras.Input((None,), dtype="bool", name="mask")
        hidden = keras.layers.Dense(256, activation="relu")(bag)
        pooled, attention = gk.layers.GatedAttentionPooling(return_attention=True)(
            hidden, mask=mask
        )

    References: Ilse, Tomczak and Welling 2018, https://arxiv.org/abs/1802.04712.
    """

    def __init__(
        self,
        units: int = 128,
        gated: bool = True,
        return_attention: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.units = checked_count("units", units)
        self.gated, self.return_attention = bool(gated), bool(return_attention)
        self.supports_masking = True
        self._hidden = self._layer(self.units, "tanh", "hidden")
        self._gate = self._layer(self.units, "sigmoid", "gate") if self.gated else None
        self._score = self._layer(1, None, "score", use_bias=False)

    def build(self, input_shape: Any) -> None:
        """Create the weights."""
        if len(input_shape) != 3 or input_shape[2] is None:
            raise ValueError(
                "Bags must have shape (batch, instances, features), with a known number of "
                f"features. Received: inputs of shape {tuple(input_shape)}"
            )
        for layer in (self._hidden, self._gate):
            if layer is not None:
                layer.build(input_shape)
        self._score.build((*input_shape[:2], self.units))
        self.built = True

    def call(self, inputs: Any, mask: Any = None) -> Any:
        """Return the mean of each bag, with `return_attention` also the attention weights."""
        inputs, mask = _dense(inputs, mask)
        hidden = self._hidden(inputs)
        if self._gate is not None:
            hidden = hidden * self._gate(inputs)
        scores = self._score(hidden)[..., 0]
        dtype = keras.backend.result_type(scores.dtype, _SUM_FROM)
        scores, values = ops.cast(scores, dtype), ops.cast(inputs, dtype)
        if mask is None:
            weights = ops.softmax(scores, axis=1)
        else:
            mask = ops.cast(mask, "bool")
            weights = _softmax(scores, mask)
            values = ops.where(mask[..., None], values, ops.zeros_like(values))
        mean = ops.cast(ops.matmul(weights[:, None, :], values)[:, 0], self.compute_dtype)
        return (mean, weights) if self.return_attention else mean

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        """Return no mask: the mean has no instances, and padding already has the weight 0."""
        return (None, None) if self.return_attention else None

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Return the shape of each output."""
        mean = (input_shape[0], input_shape[2])
        return (mean, tuple(input_shape[:2])) if self.return_attention else mean

    def compute_output_spec(self, inputs: Any, mask: Any = None) -> Any:
        """Return symbolic outputs, with their shapes and dtypes."""
        dtypes = (self.compute_dtype, keras.backend.result_type(self.compute_dtype, _SUM_FROM))
        shapes = self.compute_output_shape(inputs.shape)
        if not self.return_attention:
            return keras.KerasTensor(shapes, dtype=dtypes[0])
        return tuple(
            keras.KerasTensor(shape, dtype=dtype)
            for shape, dtype in zip(shapes, dtypes, strict=True)
        )

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments, as JSON types only."""
        own = {"units": self.units, "gated": self.gated}
        return {**super().get_config(), **own, "return_attention": self.return_attention}

    def _layer(self, units: int, activation: str | None, name: str, **kwargs: Any) -> Any:
        kwargs["dtype"] = self.dtype_policy
        return keras.layers.Dense(units, activation=activation, name=name, **kwargs)


def _softmax(scores: Any, mask: Any) -> Any:
    """Return the softmax over unmasked instances, 0 for others; finite also for an empty bag."""
    lowest = ops.full_like(scores, -1e30)
    scores = ops.where(mask, scores, lowest)
    largest = ops.stop_gradient(ops.max(scores, axis=1, keepdims=True))
    shares = ops.where(mask, ops.exp(scores - largest), ops.zeros_like(scores))
    return ops.divide_no_nan(shares, ops.sum(shares, axis=1, keepdims=True))


def _dense(inputs: Any, mask: Any) -> tuple[Any, Any]:
    """Convert a ragged TensorFlow tensor to a padded tensor and its mask."""
    if type(inputs).__name__ != "RaggedTensor":
        return inputs, mask
    padded = inputs.to_tensor()
    lengths = inputs.row_lengths()
    found = ops.arange(ops.shape(padded)[1], dtype="int32") < ops.cast(lengths, "int32")[:, None]
    return padded, found if mask is None else ops.logical_and(found, mask)
