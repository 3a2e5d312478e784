"""A model's weights, written as a checkpoint and read into a rebuilt model. Keras; runs in
driver and worker.
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
    """Write the model's weights and their description into `directory`, replacing an existing
    checkpoint.

    Args:
        model: A built Keras model.
        directory: The checkpoint's directory, created if missing.
        checkpoint: The description. Its `has_optimizer` decides whether to write the whole training
            state too, with all optimizers; for Adam that triples the file's size.

    Raises:
        StorageError: If it cannot be written, as on a full disk. The old checkpoint remains then.
    """
    place = pathlib.Path(directory)
    is_state, optimizer = checkpoint.has_optimizer, getattr(model, "optimizer", None)
    if not getattr(optimizer, "built", False):  # as when custom steps use other optimizers
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
    """Write a state of a training into the directory of its states; remove earlier ones when it is
    complete.

    Args:
        model: As for `save`.
        directory: The directory of all states of this training.
        checkpoint: The description of this state.
        best: The directory of the training's best checkpoint so far. Defaults to `None`, which
            means there is none.

    Raises:
        StorageError: If it cannot be written.
    """
    with new_state(pathlib.Path(directory), checkpoint.epoch) as place:
        if best is not None and exists(best):
            link(pathlib.Path(best), place / BEST)
        save(model, place, checkpoint)  # last, since its description makes the state valid


def load(
    model: Any,
    directory: str | os.PathLike[str],
    values: Mapping[str, Any] | None = None,
    late: dict[str, Any] | None = None,
) -> Checkpoint:
    """Load a checkpoint's weights into `model`.

    If the checkpoint has the state of the training, such as the optimizers', and the model is
    compiled, load that too. A model that is not built yet is built from the recorded structure of
    its inputs.

    Args:
        model: A model built like the saved one.
        directory: The directory of the checkpoint.
        values: The configuration of `model`. If it differs from the saved one, as after a change by
            a population-based scheduler, the model keeps its own learning rates. Defaults to
            `None`: it counts as unchanged.
        late: Receives the state for variables that the model does not have yet, for `load_late`.
            Defaults to `None`, which means a warning about them.

    Returns:
        The description of the checkpoint.

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
    """Assign the state that `load` collected in `late` to variables created at the start of the
    training.

    Warn about any that the model still lacks.
    """
    missing = model_state.assigned(model, late, is_changed=True)
    late.clear()
    model_state.warn_of_missing(missing)


def load_weights(model: Any, weights: pathlib.Path, build_config: Any = None) -> None:
    """Load weights that Keras saved into `model`, without the optimizer's state.

    Args:
        model: A model built like the saved one.
        weights: A `.weights.h5` file.
        build_config: Keras' build config of the saved model; required if `model` is not built yet.
            Defaults to `None`.

    Raises:
        CheckpointError: If the file refers to other files, or is damaged.
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
    """Hide the model's own optimizer, whose state Keras would otherwise save and load with the
    weights.

    Yield all other optimizers, which Keras must skip.

    Args:
        is_kept: Whether to keep the model's own optimizer visible.
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
