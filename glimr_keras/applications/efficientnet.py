"""`HyperEfficientNet`: the EfficientNets of `keras.applications`.

Models are built in the worker, the hypermodel in the driver.
"""

from __future__ import annotations

import os
from typing import Any

import keras
from keras import layers

from glimr_keras.applications.images import ImageHyperModel, copy_of, image_input, pooled
from glimr_keras.models.hypermodel import HyperModel
from glimr_keras.space.hyperparameters import HyperParameters

IMAGE_SIZES = {
    "B0": 224,
    "B1": 240,
    "B2": 260,
    "B3": 300,
    "B4": 380,
    "B5": 456,
    "B6": 528,
    "B7": 600,
}
"""The height and width, in pixels, to which images are resized for each version."""


class HyperEfficientNet(ImageHyperModel):
    """An EfficientNet, B0 to B7, with a new top.

    Models take images of shape `(batch, *input_shape)`, with values from 0 to 255, and resize them
    for the version. They return class probabilities of shape `(batch, classes)` and are compiled
    for one-hot labels.

    Hyperparameters: those of `augmentation_model`, `version`, `pooling`, `top_dropout_rate` and
    `learning_rate`.

    Weights start at random unless `weights` is given. In KerasTuner, every model starts from
    downloaded weights; to get its models, pass `weights="imagenet"`.

    Args:
        input_shape: The shape of one image without the batch axis, such as `(256, 256, 3)`.
            Defaults to `None`, which requires `input_tensor`.
        input_tensor: A Keras tensor, the output of `keras.Input()` or of layers after it; it takes
            precedence over `input_shape`. Every model has its own copy of these layers, with their
            weights. Defaults to `None`.
        classes: The number of classes, which is required. Defaults to `None`, which is an error.
        augmentation_model: A model that images go through first. A Keras model is copied for every
            network. The hyperparameters of a `HyperModel`, such as `HyperImageAugment`, are tuned
            as well. Defaults to `None`: no augmentation.
        weights: `"imagenet"`, or the path of a file with the weights of the same network without
            its top. Keras downloads ImageNet weights once per machine; they need images with three
            channels. Defaults to `None`: random weights.
        **kwargs: `name` and `tunable`; see `glimr_keras.HyperModel`.

    Raises:
        ValueError: If `classes` is missing, or both `input_shape` and `input_tensor` are; or if
            `augmentation_model` is neither a model nor a `HyperModel`.

    References:
        Tan and Le, arXiv:1905.11946.
    """

    def __init__(
        self,
        input_shape: tuple[int | None, ...] | None = None,
        input_tensor: Any = None,
        classes: int | None = None,
        augmentation_model: HyperModel | keras.Model | None = None,
        weights: str | os.PathLike[str] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(input_shape, input_tensor, **kwargs)
        if not isinstance(augmentation_model, (HyperModel, keras.Model, type(None))):
            raise ValueError(
                "`augmentation_model` must be a `HyperModel`, a Keras model or `None`. "
                f"Received: augmentation_model={augmentation_model!r}"
            )
        if not classes:
            raise ValueError(
                f"The number of `classes` must be given. Received: classes={classes!r}"
            )
        self.classes = classes
        self.augmentation_model = augmentation_model
        self.weights = None if weights is None else os.fspath(weights)

    def build(self, hp: HyperParameters) -> Any:
        """Return a compiled network."""
        inputs, images = image_input(self)
        images = self._augmented(images, hp)
        version = hp.Choice("version", list(IMAGE_SIZES), default="B0")
        images = layers.Resizing(IMAGE_SIZES[version], IMAGE_SIZES[version])(images)
        network = getattr(keras.applications, f"EfficientNet{version}")
        x = network(include_top=False, weights=self.weights, input_tensor=images).output
        x = pooled(x, hp.Choice("pooling", ["avg", "max"], default="avg"))
        x = layers.Dropout(
            hp.Float("top_dropout_rate", 0.2, 0.8, step=0.2, default=0.2), name="top_dropout"
        )(x)
        probabilities = layers.Dense(self.classes, activation="softmax", name="probs")(x)
        model = keras.Model(inputs, probabilities, name="EfficientNet")
        self._compile(model, hp)
        return model

    def _compile(self, model: Any, hp: HyperParameters) -> None:
        """Compile a network.

        Override it to choose another optimizer, loss or metrics; it may request values from `hp`.
        """
        learning_rate = hp.Choice("learning_rate", [0.1, 0.01, 0.001], default=0.01)
        optimizer = keras.optimizers.SGD(learning_rate, momentum=0.1)
        model.compile(optimizer, "categorical_crossentropy", metrics=["accuracy"])

    def _augmented(self, images: Any, hp: HyperParameters) -> Any:
        if self.augmentation_model is None:
            return images
        if isinstance(self.augmentation_model, HyperModel):
            own = (
                hp
                if self.augmentation_model.tunable
                else HyperParameters(hp.values, space=hp.space)
            )
            return self.augmentation_model.build(own)(images)
        return copy_of(self.augmentation_model)(images)
