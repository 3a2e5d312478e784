"""A model's weights, written as a checkpoint, and read into a model that was built anew. Keras;
runs in driver and worker.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

import keras

from glimr_keras._utils.input_spec import build_from
from glimr_keras.errors import ModelError
from glimr_keras.project import model_state, weights_file
from glimr_keras.project.checkpoints import (
    BEST,
    Checkpoint,
    describe,
    digest_of,
    exists,
    intact,
    link,
    place_for_new,
    settle,
    storing,
)
from glimr_keras.project.training_states import new_state


def save(model: Any, directory: str | os.PathLike[str], checkpoint: Checkpoint) -> None:
    """Writes the model's weights, and what `checkpoint` says of them, into `directory`, replacing
    what is there.

    Args:
        model: A built Keras model.
        directory: Created if missing.
        checkpoint: `has_optimizer` decides whether the whole state of the training is written too,
            that of all its optimizers with it; for Adam that makes the file three times as large.

    Raises:
        StorageError: If it cannot be written, as on a full disk; what was there is still there
            then.
    """
    place = pathlib.Path(directory)
    is_state, optimizer = checkpoint.has_optimizer, getattr(model, "optimizer", None)
    if not getattr(optimizer, "built", False):  # as of a model whose own steps train it by others
        checkpoint = dataclasses.replace(checkpoint, has_optimizer=False)
    with storing(place):
        place.mkdir(parents=True, exist_ok=True)
        new = place_for_new(place)
        with _own_optimizer_only(model, checkpoint.has_optimizer) as others:
            if others:
                keras.saving.save_weights(model, new, objects_to_skip=others)
            else:
                model.save_weights(new)
        if is_state:
            model_state.write(model, new)
        described = dataclasses.replace(
            checkpoint, build_config=model.get_build_config(), digest=digest_of(new)
        )
        settle(place, json.dumps(dataclasses.asdict(described), default=str).encode())


def save_state(
    model: Any,
    directory: str | os.PathLike[str],
    checkpoint: Checkpoint,
    best: str | os.PathLike[str] | None = None,
) -> None:
    """Writes a state of a training into the directory of its states; earlier ones are removed when
    it is whole.

    Args:
        model: As for `save`.
        directory: Of all states of this training.
        checkpoint: Of this one.
        best: Directory of the checkpoint that is the training's best now, if there is one.

    Raises:
        StorageError: If it cannot be written.
    """
    with new_state(pathlib.Path(directory), checkpoint.epoch) as place:
        if best is not None and exists(best):
            link(pathlib.Path(best), place / BEST)
        save(model, place, checkpoint)  # last, since what it writes says that there is a state


def load(
    model: Any,
    directory: str | os.PathLike[str],
    values: Mapping[str, Any] | None = None,
    late: dict[str, Any] | None = None,
) -> Checkpoint:
    """Reads a checkpoint's weights into `model`, and the state of the training, such as that of its
    optimizers, if it is there and the model is compiled.

    A model that is not built yet is built from the checkpoint's record of its inputs.

    Args:
        model: Built as the saved one was.
        directory: With the checkpoint.
        values: The configuration of `model`. If it differs from the saved one, as when a
            population-based scheduler changed it, learning rates are the model's own, and not those
            that the optimizers had.
        late: Takes in what the model has no variables for yet, for `load_late`. By default that is
            warned of.

    Raises:
        CheckpointError: If there is no checkpoint in `directory`, or it is damaged.
        ModelError: If the model cannot be built, or has other layers than the saved one.
    """
    place = pathlib.Path(directory)
    checkpoint, weights = describe(place), intact(place)
    weights_file.check(weights)
    build_from(model, checkpoint.inputs, checkpoint.build_config)
    is_changed = any(
        (checkpoint.values or {}).get(name, value) != value
        for name, value in (values or {}).items()
    )
    rates = model_state.learning_rates(model) if is_changed else []
    missing: dict[str, Any] = {} if late is None else late
    with model_state.reading(model, weights, is_changed, missing):
        optimizer = getattr(model, "optimizer", None) if checkpoint.has_optimizer else None
        if optimizer is not None and not optimizer.built:
            optimizer.build(model.trainable_variables)
        _read_into(model, weights, with_optimizer=optimizer is not None)
    for changed, rate in rates:
        changed.learning_rate = rate
    if late is None:
        model_state.warn_of_missing(missing)
    return checkpoint


def load_late(model: Any, late: dict[str, Any]) -> None:
    """Gives variables that were made when a training began what `load` took in for them, and warns
    of what the model still does not have.
    """
    missing = model_state.assigned(model, late, is_changed=True)
    late.clear()
    model_state.warn_of_missing(missing)


def load_weights(model: Any, weights: pathlib.Path, build_config: Any = None) -> None:
    """Reads weights that Keras wrote into `model`, without the optimizer's state.

    Args:
        model: Built as the saved one was.
        weights: A `.weights.h5` file.
        build_config: What Keras knows of how the saved model was built; needed where `model` is not
            built yet.

    Raises:
        CheckpointError: If the file leads out of itself, or is damaged.
        ModelError: If the model cannot be built, or has other layers than the saved one.
    """
    weights_file.check(weights)
    build_from(model, None, build_config)
    _read_into(model, weights, with_optimizer=False)


def _read_into(model: Any, weights: pathlib.Path, with_optimizer: bool) -> None:
    try:
        with _own_optimizer_only(model, with_optimizer) as others:
            if others:
                keras.saving.load_weights(model, weights, objects_to_skip=others)
            else:
                model.load_weights(weights)
    except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
        raise ModelError(
            f"The weights in {weights.parent} do not fit the model that was built. Does `build` "
            "depend on anything but its configuration, or was it changed since? Keras says: "
            f"{type(error).__name__}: {error}"
        ) from error


@contextlib.contextmanager
def _own_optimizer_only(model: Any, is_kept: bool) -> Iterator[list[Any]]:
    """Hides the model's own optimizer, whose state Keras would otherwise save and load with the
    weights; and yields all others, which Keras is to skip.

    Args:
        is_kept: Whether the own one is not to be hidden.
    """
    optimizer = getattr(model, "optimizer", None)
    found = model_state.optimizers_of(model, is_deep=False)
    others = [each for each in found.values() if each is not optimizer]
    if optimizer is None or is_kept:
        yield others
        return
    model.optimizer = None
    try:
        yield others
    finally:
        model.optimizer = optimizer
