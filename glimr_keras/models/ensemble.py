"""An ensemble: one model that averages the outputs of several. Keras; runs in the driver."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Sequence
from typing import Any

import keras

from glimr_keras.errors import ModelError


def ensemble(models: Sequence[keras.Model]) -> Ensemble:
    """Return one model that averages the outputs of several models.

    They may be the fold models of a cross validation.

    Args:
        models: Keras models with the same inputs and outputs, such as those from
            `tuner.get_best_models()`. They are shared, not copied.

    Returns:
        A Keras model that predicts and evaluates. It is compiled like the first model, if Keras can
        restore the loss and metrics from their names. After `import glimr_keras`,
        `keras.saving.load_model` loads it.

    Raises:
        ModelError: If there are no models, or if one of them is not a Keras model.

    Example:
        model = ensemble(tuner.get_best_models())
        model.save("ensemble.keras")
    """
    members = list(models)
    wrong = next((member for member in members if not isinstance(member, keras.Model)), None)
    if not members or wrong is not None:
        raise ModelError(f"`ensemble` needs Keras models. Received: {models!r}")
    made = Ensemble(members)
    if members[0].compiled:
        with (
            contextlib.suppress(ValueError, TypeError),
            warnings.catch_warnings(),
        ):  # from a loss that is not registered
            warnings.simplefilter("ignore", UserWarning)
            made.compile_from_config(members[0].get_compile_config())
    return made


@keras.saving.register_keras_serializable("glimr_keras")
class Ensemble(keras.Model):
    """The mean of the outputs of several models; see `ensemble`.

    Args:
        models: Keras models with the same inputs and outputs.
        **kwargs: Arguments of `keras.Model`, such as `name`.

    Attributes:
        models: The models.
    """

    def __init__(self, models: Sequence[keras.Model], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.models = list(models)
        self.built = all(model.built for model in self.models)

    def build(self, input_shape: Any) -> None:
        """Build the models that are not built."""
        for model in self.models:
            if not model.built:
                model.build(input_shape)
        self.built = True

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Return the mean of the models' outputs, in their structure."""
        outputs = [model(inputs, training=training) for model in self.models]
        return keras.tree.map_structure(
            lambda *parts: keras.ops.mean(keras.ops.stack(parts), axis=0), *outputs
        )

    def get_config(self) -> dict[str, Any]:
        """Return the configuration with the serialized models.

        Their compilation is left out, because the state of their optimizers is not saved.
        """
        members = [keras.saving.serialize_keras_object(model) for model in self.models]
        members = [
            {key: value for key, value in member.items() if key != "compile_config"}
            for member in members
        ]
        return {**super().get_config(), "models": members}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Ensemble:
        """Return the ensemble on which `get_config` was called, without its weights."""
        models = [
            keras.saving.deserialize_keras_object(model, custom_objects)
            for model in config["models"]
        ]
        return cls(models, **{name: value for name, value in config.items() if name != "models"})
