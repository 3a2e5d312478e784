"""`HyperResNet`: residual networks of three versions and several depths.

Models are built in the worker, the hypermodel in the driver.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import keras
from keras import layers

from glimr_keras.applications.images import ImageClassifier, channel_axis, image_input, pooled
from glimr_keras.space.hyperparameters import HyperParameters

GROUPS = 32
"""The number of groups into which ResNeXt divides the channels of its 3x3 convolutions."""


class HyperResNet(ImageClassifier):
    """A residual network: ResNet (`"v1"`), pre-activation ResNet (`"v2"`) or ResNeXt (`"next"`).

    Models take float images of shape `(batch, *input_shape)` and return class probabilities of
    shape `(batch, classes)`. They are compiled for one-hot labels and start from random weights.

    Hyperparameters: `version`, `conv3_depth`, `conv4_depth` (residual blocks in two of the four
    stages), `pooling`, and with `include_top` also `optimizer` and `learning_rate`.

    Args:
        include_top: Whether models end in a `Dense` layer with the class probabilities and are
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

    Example:
        hypermodel = HyperResNet(input_shape=(32, 32, 3), classes=10)
        tuner = glimr_keras.RandomSearch(hypermodel, "val_accuracy", max_trials=10)

    References:
        He et al., arXiv:1512.03385 and arXiv:1603.05027.
        Xie et al., arXiv:1611.05431.
    """

    def build(self, hp: HyperParameters) -> Any:
        """Return a network, compiled if it has its top."""
        name = hp.Choice("version", ["v1", "v2", "next"], default="v2")
        version = _VERSIONS[name]
        depths = (3, hp.Choice("conv3_depth", [4, 8]), hp.Choice("conv4_depth", [6, 23, 36]), 3)
        inputs, images = image_input(self)
        x = _stem(images, version)
        for number, (filters, depth, stride) in enumerate(
            zip(version.filters, depths, version.strides, strict=True), start=2
        ):
            x = _stage(x, version, filters, depth, stride, f"conv{number}")
        if version.activates_first:
            x = _activated(x, "post")
        x = pooled(x, hp.Choice("pooling", ["avg", "max"], default="avg"))
        if not self.include_top:
            return keras.Model(inputs, x, name="ResNet")
        model = keras.Model(
            inputs, layers.Dense(self.classes, activation="softmax", name="probs")(x), name="ResNet"
        )
        model.compile(_optimizer(hp), "categorical_crossentropy", metrics=["accuracy"])
        return model


def _optimizer(hp: HyperParameters) -> Any:
    optimizer = keras.optimizers.get(
        hp.Choice("optimizer", ["adam", "rmsprop", "sgd"], default="adam")
    )
    optimizer.learning_rate = hp.Choice("learning_rate", [0.1, 0.01, 0.001], default=0.01)
    return optimizer


def _block_v1(x: Any, filters: int, stride: int, is_first: bool, name: str) -> Any:
    """Add 1x1, 3x3 and 1x1 convolutions, each normalised, with a shortcut.

    The output has four times as many channels as `filters`.
    """
    shortcut = x
    if is_first:
        shortcut = layers.Conv2D(4 * filters, 1, strides=stride, name=f"{name}_0_conv")(x)
        shortcut = _normalized(shortcut, f"{name}_0")
    x = _activated(layers.Conv2D(filters, 1, strides=stride, name=f"{name}_1_conv")(x), f"{name}_1")
    x = _activated(layers.Conv2D(filters, 3, padding="same", name=f"{name}_2_conv")(x), f"{name}_2")
    x = _normalized(layers.Conv2D(4 * filters, 1, name=f"{name}_3_conv")(x), f"{name}_3")
    x = layers.Add(name=f"{name}_add")([shortcut, x])
    return layers.Activation("relu", name=f"{name}_out")(x)


def _block_v2(x: Any, filters: int, stride: int, is_first: bool, name: str) -> Any:
    """Add a block as `_block_v1`, but normalise and activate its input, not its sum."""
    active = _activated(x, f"{name}_preact")
    shortcut = x
    if is_first:
        shortcut = layers.Conv2D(4 * filters, 1, strides=stride, name=f"{name}_0_conv")(active)
    elif stride > 1:
        shortcut = layers.MaxPooling2D(1, strides=stride, name=f"{name}_0_pool")(x)
    x = layers.Conv2D(filters, 1, use_bias=False, name=f"{name}_1_conv")(active)
    x = layers.ZeroPadding2D(1, name=f"{name}_2_pad")(_activated(x, f"{name}_1"))
    x = layers.Conv2D(filters, 3, strides=stride, use_bias=False, name=f"{name}_2_conv")(x)
    x = layers.Conv2D(4 * filters, 1, name=f"{name}_3_conv")(_activated(x, f"{name}_2"))
    return layers.Add(name=f"{name}_out")([shortcut, x])


def _block_next(x: Any, filters: int, stride: int, is_first: bool, name: str) -> Any:
    """Add a block as `_block_v1`, with a grouped 3x3 convolution and `2 * filters` channels."""
    shortcut = x
    if is_first:
        shortcut = layers.Conv2D(
            2 * filters, 1, strides=stride, use_bias=False, name=f"{name}_0_conv"
        )(x)
        shortcut = _normalized(shortcut, f"{name}_0")
    x = _activated(layers.Conv2D(filters, 1, use_bias=False, name=f"{name}_1_conv")(x), f"{name}_1")
    x = layers.ZeroPadding2D(1, name=f"{name}_2_pad")(x)
    x = _activated(_grouped_convolution(x, filters, stride, f"{name}_2"), f"{name}_2")
    x = _normalized(
        layers.Conv2D(2 * filters, 1, use_bias=False, name=f"{name}_3_conv")(x), f"{name}_3"
    )
    x = layers.Add(name=f"{name}_add")([shortcut, x])
    return layers.Activation("relu", name=f"{name}_out")(x)


def _grouped_convolution(x: Any, filters: int, stride: int, name: str) -> Any:
    """Add a 3x3 convolution of `filters` channels in `GROUPS` groups, without bias or padding.

    It is a depthwise convolution whose results are summed in each group. `Conv2D(groups=...)` is
    equivalent, but takes TensorFlow 15 to 100 times as long on CPUs.
    """
    size = filters // GROUPS
    x = layers.DepthwiseConv2D(
        3, strides=stride, depth_multiplier=size, use_bias=False, name=f"{name}_conv"
    )(x)
    if channel_axis() == 1:
        height_and_width = x.shape[2:]
        grouped, into, flat = (
            (GROUPS, size, size, *height_and_width),
            2,
            (filters, *height_and_width),
        )
    else:
        height_and_width = x.shape[1:3]
        grouped, into, flat = (
            (*height_and_width, GROUPS, size, size),
            4,
            (*height_and_width, filters),
        )
    return layers.Reshape(flat)(keras.ops.sum(layers.Reshape(grouped)(x), axis=into))


@dataclasses.dataclass(frozen=True)
class _Version:
    """The parts of a version.

    Attributes:
        block: A function that adds a residual block.
        filters: The channels inside the blocks of each stage.
        strides: The factor by which each stage divides height and width.
        activates_first: Whether a block begins with its activation; its stages then reduce in their
            last block.
        uses_bias: Whether the first convolution has a bias.
    """

    block: Callable[[Any, int, int, bool, str], Any]
    filters: tuple[int, int, int, int]
    strides: tuple[int, int, int, int]
    activates_first: bool = False
    uses_bias: bool = True


_VERSIONS = {
    "v1": _Version(_block_v1, (64, 128, 256, 512), (1, 2, 2, 2)),
    "v2": _Version(_block_v2, (64, 128, 256, 512), (2, 2, 2, 1), activates_first=True),
    "next": _Version(_block_next, (64, 256, 512, 1024), (2, 2, 2, 1), uses_bias=False),
}


def _stem(images: Any, version: _Version) -> Any:
    """Add a wide convolution and a pooling; each halves height and width."""
    x = layers.ZeroPadding2D(3, name="conv1_pad")(images)
    x = layers.Conv2D(64, 7, strides=2, use_bias=version.uses_bias, name="conv1_conv")(x)
    if not version.activates_first:
        x = _activated(x, "conv1")
    x = layers.ZeroPadding2D(1, name="pool1_pad")(x)
    return layers.MaxPooling2D(3, strides=2, name="pool1_pool")(x)


def _stage(x: Any, version: _Version, filters: int, depth: int, stride: int, name: str) -> Any:
    """Add `depth` consecutive blocks; one of them reduces height and width."""
    reducing = depth if version.activates_first else 1
    for number in range(1, depth + 1):
        x = version.block(
            x, filters, stride if number == reducing else 1, number == 1, f"{name}_block{number}"
        )
    return x


def _normalized(x: Any, name: str) -> Any:
    return layers.BatchNormalization(axis=channel_axis(), epsilon=1.001e-5, name=f"{name}_bn")(x)


def _activated(x: Any, name: str) -> Any:
    return layers.Activation("relu", name=f"{name}_relu")(_normalized(x, name))
