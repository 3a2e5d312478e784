"""`HyperImageAugment`: random changes to images in training.

Models are built in the worker, the hypermodel in the driver.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import layers

from glimr_keras.applications.images import ImageHyperModel, image_input
from glimr_keras.space.hyperparameters import HyperParameters

FACTOR_STEP = 0.05
"""The step of the factors if each transform is tuned separately."""

_TRANSFORMS = {
    "rotate": layers.RandomRotation,
    "translate_x": lambda factor: layers.RandomTranslation(height_factor=0.0, width_factor=factor),
    "translate_y": lambda factor: layers.RandomTranslation(height_factor=factor, width_factor=0.0),
    "contrast": layers.RandomContrast,
}


@keras.saving.register_keras_serializable(package="glimr_keras")
class RandomTransform(layers.Layer):
    """In training, apply one of several random transforms to each image, all equally likely.

    At inference, images are unchanged. Takes and returns images of shape `(batch, height, width,
    channels)`; the output has the layer's compute dtype.

    Args:
        factors: The strength of each transform, from 0 to 1, by name: `"rotate"`, `"translate_x"`,
            `"translate_y"` or `"contrast"`. A transform with strength 0 leaves the image unchanged.
        **kwargs: Arguments of every Keras layer.
    """

    def __init__(self, factors: Mapping[str, float], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.factors = dict(factors)
        self.transforms = [
            _TRANSFORMS[name](factor) if factor else layers.Identity()
            for name, factor in factors.items()
        ]
        self.seed_generator = keras.random.SeedGenerator()
        self.built = True

    def call(self, images: Any, training: bool = False) -> Any:
        """Return the images, transformed if `training`."""
        images = keras.ops.cast(images, self.compute_dtype)
        if not training:
            return images
        shape = (keras.ops.shape(images)[0], 1, 1, 1)
        chosen = keras.random.randint(
            shape, 0, max(len(self.transforms), 1), seed=self.seed_generator
        )
        changed = images
        for number, transform in enumerate(self.transforms):
            changed = keras.ops.where(chosen == number, transform(images, training=True), changed)
        return changed

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Return `input_shape`."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor, as JSON types only."""
        return {**super().get_config(), "factors": dict(self.factors)}


class HyperImageAugment(ImageHyperModel):
    """Search for the random image transforms that make a network generalise best.

    Models take images of shape `(batch, *input_shape)`, with values from 0 to 255, and return
    images of the same shape. They transform images only in training, and are not compiled. They are
    part of another model, such as the `augmentation_model` of `HyperEfficientNet` or the
    `input_tensor` of `HyperResNet`.

    Hyperparameters: `augment_layers`, unless it is off, and `factor_…` for each transform, its
    strength.

    Args:
        input_shape: The shape of one image without the batch axis, such as `(256, 256, 3)`.
            Defaults to `None`, which requires `input_tensor`.
        input_tensor: A Keras tensor, the output of `keras.Input()` or of layers after it; it takes
            precedence over `input_shape`. Every model has its own copy of these layers, with their
            weights. Defaults to `None`.
        rotate: The range of `factor_rotate`, numbers from 0 to 1: `high`, which means from 0, or
            `[low, high]`. `None` or 0 turns the transform off. Images are rotated by up to this
            fraction of a full turn, either way. Defaults to `0.5`.
        translate_x: The range of `factor_translate_x`, as for `rotate`. Images are shifted
            horizontally by up to this fraction of their width. Defaults to `0.4`.
        translate_y: The range of `factor_translate_y`, as for `rotate`. Images are shifted
            vertically by up to this fraction of their height. Defaults to `0.4`.
        contrast: The range of `factor_contrast`, as for `rotate`. The contrast is multiplied by up
            to one plus or minus this number. Defaults to `0.3`.
        augment_layers: The range of `augment_layers`, integers: `high`, which means from 1, or
            `[low, high]`. A model has this many steps, and each applies one transform, chosen at
            random, to an image. With `None` or 0, images go through all transforms, one after the
            other, and factors are multiples of 0.05. Defaults to `3`.
        **kwargs: `name` and `tunable`; see `glimr_keras.HyperModel`.

    Attributes:
        transforms: `(name, (low, high))` of each transform that is not off.
        model_name: The name of the models: `"image_rand_augment"`, or `"image_augment"` without
            `augment_layers`.

    Raises:
        ValueError: If both `input_shape` and `input_tensor` are missing, or a range is invalid.

    Example:
        augment = HyperImageAugment(
            input_shape=(32, 32, 3), rotate=[0.1, 0.2], translate_x=0.1, contrast=None
        )
        HyperEfficientNet(input_shape=(32, 32, 3), classes=10, augmentation_model=augment)

    References:
        Cubuk et al., arXiv:1909.13719 (RandAugment).
    """

    def __init__(
        self,
        input_shape: tuple[int | None, ...] | None = None,
        input_tensor: Any = None,
        rotate: float | Sequence[float] | None = 0.5,
        translate_x: float | Sequence[float] | None = 0.4,
        translate_y: float | Sequence[float] | None = 0.4,
        contrast: float | Sequence[float] | None = 0.3,
        augment_layers: int | Sequence[int] | None = 3,
        **kwargs: Any,
    ) -> None:
        super().__init__(input_shape, input_tensor, **kwargs)
        given = {
            "rotate": rotate,
            "translate_x": translate_x,
            "translate_y": translate_y,
            "contrast": contrast,
        }
        self.transforms = [(name, _factors(name, value)) for name, value in given.items() if value]
        self.model_name = "image_rand_augment" if augment_layers else "image_augment"
        if augment_layers:
            self.augment_layers_min, self.augment_layers_max = _range(
                "augment_layers", augment_layers, 1, int
            )

    def build(self, hp: HyperParameters) -> Any:
        """Return a model that augments images; it is not compiled."""
        inputs, images = image_input(self)
        augment = (
            self._one_at_random if self.model_name == "image_rand_augment" else self._all_in_turn
        )
        return keras.Model(inputs, augment(images, hp), name=self.model_name)

    def _one_at_random(self, images: Any, hp: HyperParameters) -> Any:
        low, high = self.augment_layers_min, self.augment_layers_max
        for _ in range(hp.Int("augment_layers", low, high, default=low)):
            images = RandomTransform({name: self._factor(hp, name) for name, _ in self.transforms})(
                images
            )
        return images

    def _all_in_turn(self, images: Any, hp: HyperParameters) -> Any:
        for name, _ in self.transforms:
            factor = self._factor(hp, name, FACTOR_STEP)
            if factor:
                images = RandomTransform({name: factor})(images)
        return images

    def _factor(self, hp: HyperParameters, name: str, step: float | None = None) -> float:
        low, high = dict(self.transforms)[name]
        is_narrow = step is not None and 0 < high - low < step - 1e-9
        return float(
            hp.Float(f"factor_{name}", low, high, step=None if is_narrow else step, default=low)
        )


def _factors(name: str, value: Any) -> tuple[float, float]:
    low, high = _range(name, value, 0, (int, float))
    if high > 1:
        raise ValueError(f"`{name}` must be from 0 to 1. Received: {name}={value!r}")
    return low, high


def _range(name: str, value: Any, lowest: Any, kinds: Any) -> tuple[Any, Any]:
    """Return `(low, high)` from `high`, which means from `lowest`, or from `[low, high]`."""
    pair = tuple(value) if isinstance(value, Sequence) else (lowest, value)
    if (
        len(pair) != 2
        or not all(isinstance(number, kinds) and number >= 0 for number in pair)
        or pair[0] > pair[1]
    ):
        kind = "int" if kinds is int else "int or float"
        raise ValueError(
            f"`{name}` must be {kind}, not below 0, or a list `[low, high]` of those, whose length "
            f"must not exceed 2, with low not above high. Received: {name}={value!r}"
        )
    return pair[0], pair[1]
