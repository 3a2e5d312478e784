"""`HyperXception`: separable convolutions with residual connections.

Models are built in the worker, the hypermodel in the driver.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import layers

from glimr_keras.applications.images import ImageClassifier, channel_axis, image_input, pooled
from glimr_keras.space.hyperparameters import HyperParameters


class HyperXception(ImageClassifier):
    """A network of separable convolutions, after Xception, with batch normalisation or SELU.

    Models take float images of shape `(batch, *input_shape)` and return class probabilities of
    shape `(batch, classes)`. They are compiled for one-hot labels and start from random weights.

    Hyperparameters: `activation`, `conv2d_num_filters`, `kernel_size` and `initial_strides` (the
    first convolution), `sep_num_filters`, `num_residual_blocks`, `pooling`, and with `include_top`
    also `num_dense_layers`, `dropout_rate`, `dense_use_bn` and `learning_rate`.

    Args:
        include_top: Whether models end in `Dense` layers with the class probabilities and are
            compiled. If `False`, they return the pooled features, of shape `(batch, features)`.
            Defaults to `True`.
        input_shape: The shape of one image without the batch axis, such as `(256, 256, 3)`.
            Defaults to `None`, which requires `input_tensor`.
        input_tensor: A Keras tensor, the output of `keras.Input()` or of layers after it; it takes
            precedence over `input_shape`. Every model has its own copy of these layers, with their
            weights. Defaults to `None`.
        classes: The number of classes; required with `include_top`. Defaults to `None`.
        **kwargs: `name` and `tunable`; see `glimr_keras.HyperModel`.

    Raises:
        ValueError: If `classes` is missing, or both `input_shape` and `input_tensor` are.

    References:
        Chollet, arXiv:1610.02357.
        Klambauer et al., arXiv:1706.02515.
    """

    def build(self, hp: HyperParameters) -> Any:
        """Return a network, compiled if it has its top."""
        activation = hp.Choice("activation", ["relu", "selu"])
        inputs, images = image_input(self)
        x = _convolution(
            images,
            activation,
            filters=hp.Choice("conv2d_num_filters", [32, 64, 128], default=64),
            kernel_size=hp.Choice("kernel_size", [3, 5]),
            strides=hp.Choice("initial_strides", [2]),
        )
        filters = hp.Int("sep_num_filters", 128, 768, step=128, default=256)
        for _ in range(hp.Int("num_residual_blocks", 2, 8, default=4)):
            x = _residual_block(x, activation, filters)
        x = _reducing_block(x, activation, 2 * filters)
        x = pooled(x, hp.Choice("pooling", ["avg", "flatten", "max"]))
        if not self.include_top:
            return keras.Model(inputs, x, name="Xception")
        model = keras.Model(inputs, self._top(x, activation, hp), name="Xception")
        optimizer = keras.optimizers.Adam(hp.Choice("learning_rate", [1e-3, 1e-4, 1e-5]))
        model.compile(optimizer, "categorical_crossentropy", metrics=["accuracy"])
        return model

    def _top(self, x: Any, activation: str, hp: HyperParameters) -> Any:
        num_layers = hp.Int("num_dense_layers", 1, 3)
        dropout_rate = hp.Float("dropout_rate", 0.0, 0.6, step=0.1, default=0.5)
        normalizes = hp.Choice("dense_use_bn", [True, False])
        for _ in range(num_layers):
            initializer = "lecun_normal" if activation == "selu" else "glorot_uniform"
            x = layers.Dense(self.classes, activation=activation, kernel_initializer=initializer)(x)
            if normalizes and activation == "relu":
                x = layers.BatchNormalization()(x)
            if dropout_rate:
                x = layers.Dropout(dropout_rate)(x)
        return layers.Dense(self.classes, activation="softmax")(x)


def _convolution(x: Any, activation: str, filters: int, kernel_size: int, strides: int) -> Any:
    if activation == "selu":
        own = {"activation": "selu", "kernel_initializer": "lecun_normal"}
        return layers.Conv2D(filters, kernel_size, strides=strides, padding="same", **own)(x)
    return _activated(
        layers.Conv2D(filters, kernel_size, strides=strides, padding="same", use_bias=False)(x)
    )


def _separable_convolution(x: Any, activation: str, filters: int) -> Any:
    if activation == "selu":
        initializers = {
            "depthwise_initializer": "lecun_normal",
            "pointwise_initializer": "lecun_normal",
        }
        return layers.SeparableConv2D(
            filters, 3, activation="selu", padding="same", **initializers
        )(x)
    return _activated(layers.SeparableConv2D(filters, 3, padding="same", use_bias=False)(x))


def _residual_block(x: Any, activation: str, filters: int) -> Any:
    """Add two separable convolutions with a shortcut.

    The shortcut has a convolution if the number of channels changes.
    """
    shortcut = x
    if x.shape[channel_axis()] != filters:
        shortcut = layers.Conv2D(filters, 1, padding="same")(x)
    for _ in range(2):
        x = _separable_convolution(x, activation, filters)
    return layers.Add()([x, shortcut])


def _reducing_block(x: Any, activation: str, filters: int) -> Any:
    """Add a block as `_residual_block` that halves height and width."""
    shortcut = layers.Conv2D(filters, 1, strides=2, padding="same")(x)
    for _ in range(2):
        x = _separable_convolution(x, activation, filters)
    return layers.Add()([layers.MaxPooling2D(3, strides=2, padding="same")(x), shortcut])


def _activated(x: Any) -> Any:
    return layers.Activation("relu")(layers.BatchNormalization(axis=channel_axis())(x))
