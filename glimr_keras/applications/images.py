"""Shared parts of the image hypermodels: their input, and layers that several use.

Models are built in the worker, hypermodels in the driver.
"""

from __future__ import annotations

from typing import Any

import keras

from glimr_keras.models.hypermodel import HyperModel


class ImageHyperModel(HyperModel):
    """A hypermodel whose models take images of `input_shape`, or the inputs of `input_tensor`.

    Abstract. It can be pickled and copied with its `input_tensor`. Keras tensors alone cannot,
    because they lose their layers.

    Args:
        input_shape: The shape of one image without the batch axis, such as `(256, 256, 3)`.
            Defaults to `None`, which requires `input_tensor`.
        input_tensor: A Keras tensor, the output of `keras.Input()` or of layers after it; it takes
            precedence over `input_shape`. Every model has its own copy of these layers, with their
            weights. Defaults to `None`.
        **kwargs: `name` and `tunable`; see `glimr_keras.HyperModel`.

    Raises:
        ValueError: If both inputs are missing, or if `input_tensor` is not a Keras tensor.
    """

    def __init__(
        self,
        input_shape: tuple[int | None, ...] | None = None,
        input_tensor: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if input_shape is None and input_tensor is None:
            raise ValueError(
                "You must specify one of `input_shape` and `input_tensor`. Received: "
                "input_shape=None, input_tensor=None. Pass the shape of one image, such as "
                "`input_shape=(256, 256, 3)`."
            )
        if input_tensor is not None and not keras.utils.is_keras_tensor(input_tensor):
            raise ValueError(
                "`input_tensor` must be a Keras tensor, as `keras.Input()` returns it. "
                f"Received: input_tensor of type {type(input_tensor).__name__}"
            )
        self.input_shape = input_shape
        self.input_tensor = input_tensor

    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__.copy()
        if self.input_tensor is not None:
            state["input_tensor"] = _model_of(self.input_tensor)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if self.input_tensor is not None:
            self.input_tensor = self.input_tensor.output


class ImageClassifier(ImageHyperModel):
    """A hypermodel that classifies images, or without its top returns a vector for each image.

    Abstract.

    Args:
        include_top: Whether models end in a `Dense` layer with the class probabilities and are
            compiled. Defaults to `True`.
        input_shape: See `ImageHyperModel`. Defaults to `None`.
        input_tensor: See `ImageHyperModel`. Defaults to `None`.
        classes: The number of classes; required with `include_top`, otherwise it has no effect.
            Defaults to `None`.
        **kwargs: `name` and `tunable`; see `glimr_keras.HyperModel`.

    Raises:
        ValueError: If `classes` or the input is missing.
    """

    def __init__(
        self,
        include_top: bool = True,
        input_shape: tuple[int | None, ...] | None = None,
        input_tensor: Any = None,
        classes: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(input_shape, input_tensor, **kwargs)
        if include_top and classes is None:
            raise ValueError(
                "With `include_top=True` the number of `classes` must be given. Received: "
                "classes=None"
            )
        self.include_top = include_top
        self.classes = classes


def image_input(hypermodel: ImageHyperModel) -> tuple[Any, Any]:
    """Return the input of one new model, and its images.

    The images are a symbolic tensor of shape `(batch, *input_shape)`. They differ from the input if
    `input_tensor` has layers before it. These layers are copied, so that no model trains another's
    layers.
    """
    if hypermodel.input_tensor is None:
        images = keras.Input(shape=hypermodel.input_shape)
        return images, images
    tensor = hypermodel.input_tensor
    if any(each is tensor for each in keras.utils.get_source_inputs(tensor)):
        return tensor, tensor  # without layers to train
    front = copy_of(_model_of(tensor))
    return front.inputs[0] if len(front.inputs) == 1 else front.inputs, front.output


def copy_of(model: Any) -> Any:
    """Return an independent copy of a model, with the same layers and weights.

    A model of a class that Keras cannot copy stays shared.
    """
    try:
        copied = keras.models.clone_model(model)
        copied.set_weights(model.get_weights())
    except (
        NotImplementedError,
        TypeError,
        ValueError,
    ):  # what Keras raises for classes without `get_config`
        return model
    return copied


def channel_axis() -> int:
    """Return the channel axis of a batch of images."""
    return 1 if keras.config.image_data_format() == "channels_first" else -1


def pooled(images: Any, pooling: str) -> Any:
    """Return a vector for each image, of shape `(batch, features)`.

    The pooling is `"avg"`, `"max"` or `"flatten"`.
    """
    layers = {
        "avg": keras.layers.GlobalAveragePooling2D,
        "max": keras.layers.GlobalMaxPooling2D,
        "flatten": keras.layers.Flatten,
    }
    return layers[pooling](name=f"{pooling}_pool")(images)


def _model_of(tensor: Any) -> Any:
    """Return a model of everything that leads to a Keras tensor."""
    return keras.Model(keras.utils.get_source_inputs(tensor), tensor)
