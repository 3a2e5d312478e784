"""Evaluates one batch before the search, to learn the names that Keras will log and to find data
that does not fit the model. Runs in the worker.

The batch is evaluated or, if that fails, trained on. If only callbacks make that work, or if
batches differ, nothing is learnt, and the first trial decides.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from typing import Any

import keras

from glimr_keras.errors import DataError, FatalError, ModelError, user_traceback
from glimr_keras.models import data, samples, tf_datasets
from glimr_keras.models.data import FitArguments
from glimr_keras.training.time_box import ends_within
from glimr_keras.training.unseen import unseen

_Batch = tuple[Any, Any, Any]
_Shape = tuple[int | None, ...]

_MAX_SECONDS = 5.0
"""The time limit in seconds for a batch of a model whose class overrides Keras' steps."""
_STEPS = ("test_step", "train_step", "test_on_batch", "make_test_function", "make_train_function")


@dataclasses.dataclass(frozen=True)
class DryBatch:
    """The results of one batch.

    Attributes:
        names: The names that Keras will log; `None` if unknown.
        remark: Why something is unknown, for the user; `None` if there is nothing to say.
    """

    names: list[str] | None = None
    remark: str | None = None


def look(model: Any, arguments: FitArguments, reads_once: bool) -> DryBatch:
    """Evaluate a batch of the training data, and one of the validation data if that is of another
    kind.

    Args:
        model: A compiled model, which is not used for anything else afterwards.
        arguments: The arguments of its `fit`.
        reads_once: Whether to read from an iterator too.

    Raises:
        DataError: If the data cannot be what the user means.
        ModelError: If the model is made for other data.
    """
    _check_even(arguments)
    model.run_eagerly = True  # for one batch, tracing would cost more
    names = None
    with unseen():
        try:
            with _unseen("reading a first batch"):
                batch = data.first_batch(arguments, reads_once)
            if batch is not None:
                names = _names(model, arguments, batch)
                names += [f"val_{name}" for name in names if arguments.has_validation]
                _check_validation(model, arguments, batch)
        except _UnseenError as error:
            return DryBatch(names, str(error))
    return DryBatch(names)


def _names(model: Any, arguments: FitArguments, batch: _Batch) -> list[str]:
    """Return the names that are logged.

    Raises:
        _UnseenError: If they cannot be found, or not within the time limit.
    """
    own = [name for name in (*_STEPS, "fit") if _is_own(model, name)]
    if not own:
        return _seen_names(model, arguments, batch)
    found: list[list[str]] = []
    errors: list[Exception] = []

    def task() -> None:
        try:
            found.append(_seen_names(model, arguments, batch))
        except Exception as error:
            errors.append(error)

    is_over = ends_within(_MAX_SECONDS, task)
    if is_over and errors:
        raise errors[0]
    if not is_over or not found:
        raise _UnseenError(
            f"Before the search, a first batch was not over after {_MAX_SECONDS:g} s, so it is not "
            f"known what Keras will log. {type(model).__name__} has its own {', '.join(own)}. "
            "The first trial decides whether the model can be trained, and logs the objective."
        )
    return found[0]


def _is_own(model: Any, name: str) -> bool:
    """Return whether a model's class overrides a method of Keras."""
    return getattr(type(model), name, None) is not getattr(keras.Model, name, None)


def _seen_names(model: Any, arguments: FitArguments, batch: _Batch) -> list[str]:
    x, y, sample_weight = batch
    try:
        return list(model.test_on_batch(x, y, sample_weight, return_dict=True))
    except Exception:  # a model with a custom `train_step`, or a batch for `fit` only
        if _is_own(model, "fit"):  # it may train for as long as it wants
            with _unseen("evaluating a first batch"):
                raise
    try:
        return _names_of_training(model, arguments, batch)
    except Exception as error:
        _check_fits(model, batch, error)
        with _unseen("training on a first batch"):
            raise


def _names_of_training(model: Any, arguments: FitArguments, batch: _Batch) -> list[str]:
    if tf_datasets.is_dataset(arguments.x):
        return list(model.fit(arguments.x.take(1), verbose=0).history)
    x, y, sample_weight = batch
    size = samples.count(samples.leaves(x)[0])
    history = model.fit(x, y, sample_weight=sample_weight, batch_size=size, verbose=0)
    return list(history.history)


class _UnseenError(Exception):
    """A batch could not be evaluated, though the model was built. The text is for the user."""


@contextlib.contextmanager
def _unseen(what: str) -> Iterator[None]:
    """Turn an error in the block into one that leaves the decision to the first trial."""
    try:
        yield
    except FatalError:
        raise
    except Exception as error:
        raise _UnseenError(
            f"Before the search, {what} failed, though the model was built. The first trial "
            f"decides whether it can be trained. The error was:\n\n{user_traceback(error)}"
        ) from error


def _check_even(arguments: FitArguments) -> None:
    """Check that JAX can split each batch evenly among several GPUs.

    Raises:
        DataError: If the size of a training or validation batch is not a multiple of their number.
    """
    distribution = keras.distribution.distribution()
    if keras.backend.backend() != "jax" or distribution is None:
        return
    mesh, name = distribution.device_mesh, distribution.batch_dim_name
    devices = int(dict(zip(mesh.axis_names, mesh.shape, strict=True)).get(name, 1))
    for name, count, size in data.batch_sizes(arguments):
        if size % devices or count % size % devices:
            raise DataError(
                f"JAX spreads each batch evenly over the {devices} devices of a trial. Received: "
                f"{name} of {count} samples in batches of {size}, the last of "
                f"{count % size or size}. "
                f"Choose a `batch_size`, and as many samples, that are multiples of {devices}."
            )


def _check_fits(model: Any, batch: _Batch, error: Exception) -> None:
    """Check for a batch that certainly does not fit the model.

    Raises:
        ModelError: If a `Sequential` without an input cannot be built from it, or the model's input
            has another shape.
    """
    if isinstance(model, keras.Sequential) and not model.built:
        raise ModelError(
            "A Sequential without `keras.Input` is built from the first batch, and this one could "
            f"not be. Received: inputs of shape {_shapes(batch[0])}, and layers "
            f"{', '.join(type(layer).__name__ for layer in model.layers) or 'none'}. Put a "
            f"`keras.Input(shape)` first, to see it in `build`. The error was: {error}"
        ) from error
    pairs = _pairs(model, batch[0])
    if any(_differ(*pair) for pair in pairs):
        received, wanted = (", ".join(map(str, shapes)) for shapes in zip(*pairs, strict=True))
        raise ModelError(
            "The model must take the data that it is trained on. Received: inputs of shape "
            f"{received}, and a model with inputs of shape {wanted}. Make the input in `build` of "
            "the data's shape, such as `keras.Input(x.shape[1:])`; where it has a fixed batch "
            "size, give that as `batch_size`."
        ) from error


def _pairs(model: Any, x: Any) -> list[tuple[_Shape, _Shape]]:
    """Return pairs of the shape of each given input and the model's shape for it, matched by name
    if there are names. Unknown ones are left out.
    """
    structure: Any = None
    with contextlib.suppress(Exception):  # a Sequential has one only once it is built
        structure = model.input
    with contextlib.suppress(Exception):  # a model that was not made from inputs
        inputs = model.inputs
        if isinstance(x, dict):
            by_place = {tensor.name: tensor for tensor in inputs}
            named = structure if isinstance(structure, dict) else by_place
            return [(tuple(x[name].shape), tuple(named[name].shape)) for name in x if name in named]
        given = _leaf_shapes(x)
        if len(given) == len(inputs) and not isinstance(structure, dict):
            return [(mine, tuple(each.shape)) for mine, each in zip(given, inputs, strict=True)]
    return []


def _differ(left: _Shape, right: _Shape) -> bool:
    """Return whether two shapes have an axis of different sizes."""
    return len(left) == len(right) and any(
        None not in (one, other) and one != other for one, other in zip(left, right, strict=True)
    )


def _check_validation(model: Any, arguments: FitArguments, batch: _Batch) -> None:
    """Evaluate a batch of the validation data, if that is of another kind than the training data.

    Raises:
        DataError: If it has another shape, and the model does not accept it.
        _UnseenError: If the evaluation fails for another reason.
    """
    with _unseen("reading a first batch of `validation_data`"):
        other = data.first_validation_batch(arguments)
    if other is None or _is_alike(batch, other):
        return
    try:
        model.test_on_batch(*other, return_dict=True)
    except Exception as error:
        if _is_alike((batch[0], None, None), (other[0], None, None)):
            with _unseen("a first batch of `validation_data`"):
                raise
        raise DataError(
            "`validation_data` must be what the model can be evaluated on. Received: inputs of "
            f"shape {_shapes(other[0])}, and for training {_shapes(batch[0])}. Prepare both in the "
            f"same way. The error was: {error}"
        ) from error


def _is_alike(batch: _Batch, other: _Batch) -> bool:
    """Return whether two batches have the same structure, and shapes that differ only in the number
    of samples.
    """
    try:
        for one, another in zip(batch, other, strict=True):
            keras.tree.assert_same_structure(one, another)
    except (TypeError, ValueError):
        return False
    left, right = _leaf_shapes(batch), _leaf_shapes(other)
    return [shape[1:] for shape in left] == [shape[1:] for shape in right]


def _leaf_shapes(part: Any) -> list[_Shape]:
    return [tuple(leaf.shape) for leaf in samples.leaves(part)]


def _shapes(part: Any) -> str:
    return ", ".join(str((None, *shape[1:])) for shape in _leaf_shapes(part))
