"""Build a compiled model from a configuration. Runs in driver and worker."""

from __future__ import annotations

from typing import Any

import keras

from glimr_keras.errors import ModelError, NoModelError
from glimr_keras.models import tasks
from glimr_keras.models.compile_overrides import CompileOverrides
from glimr_keras.models.hypermodel import HyperModel, method_name, overrides
from glimr_keras.space.hyperparameters import HyperParameters


def build(
    hypermodel: HyperModel, config: HyperParameters, compile_overrides: CompileOverrides
) -> Any:
    """Build the model of a configuration, compile it if needed, and check it.

    It is compiled here if it is not compiled yet and the configuration describes how.

    Raises:
        NoModelError: If `build` returns no Keras model.
        ModelError: If it returns one that cannot be compiled.
    """
    try:
        return _built(hypermodel, config, compile_overrides)
    except RuntimeError as error:
        if not compile_overrides.gives_way(error):
            raise
        return _built(hypermodel, config, compile_overrides)


def _built(
    hypermodel: HyperModel, config: HyperParameters, compile_overrides: CompileOverrides
) -> Any:
    with compile_overrides.scope():
        built = hypermodel.build(config)
        model, *parts = built if isinstance(built, tuple) else (built,)
        name = method_name(hypermodel, "build")
        if len(parts) not in (0, 3):
            raise ModelError(
                f"{name} must return a model, or (model, losses, loss_weights, metrics). Received: "
                f"a tuple of {len(built)}"
            )
        _check_is_model(model, name)
        if parts or (not model.compiled and tasks.can_compile(config.declared)):
            if "optimization" not in config.declared:
                raise ModelError(
                    f"{name} returned losses and metrics, and the space has no `optimization` "
                    "section that says with which "
                    "optimizer the model is to be compiled. Add "
                    '`"optimization": glimr_keras.optimization_space()` to it.'
                )
            tasks.compile_tasks(model, config.declared, *parts)
        compile_overrides.apply(model)
    if not model.compiled and not overrides(hypermodel, "fit"):
        raise ModelError(
            f"{name} returned a model that is not compiled, and its configuration has no "
            "sections `tasks` and `optimization`. Call `model.compile(optimizer, loss, "
            "metrics=…)` before returning it."
        )
    return model


def _check_is_model(model: Any, name: str) -> None:
    wanted = (
        f"Expected the model-building function to return a model: {name} must return a compiled "
        "Keras model."
    )
    if model is None:
        raise NoModelError(f"{wanted} Received: None. Is its `return model` missing?")
    if not isinstance(model, keras.Model):
        raise NoModelError(f"{wanted} Received: {model!r} of type {type(model).__name__}")
