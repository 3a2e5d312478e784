"""Keeps what a model predicts for its validation samples after each epoch. Runs in the worker.

Nothing else of a training changes by that: what a prediction draws from generators of random
numbers, and what it changes of the model's state, is put back. Data that other code makes are read
once an epoch, and their labels with them, so that predictions and labels are of the same samples.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import operator
import random
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np

from glimr_keras.errors import FatalTypeError, FatalValueError
from glimr_keras.models import samples, tf_datasets
from glimr_keras.models.bags import Bags
from glimr_keras.models.data import FitArguments, is_source
from glimr_keras.models.folds import Folds
from glimr_keras.models.hypermodel import HyperModel, method_name, overrides
from glimr_keras.project import checkpoints
from glimr_keras.project.predictions import PredictionsWriter, Validation
from glimr_keras.project.sample_arrays import concatenated
from glimr_keras.training.messages import ExecutionSpec

_LARGE = 64_000_000
"""Bytes of an epoch's predictions that are warned of."""
_NO_VALIDATION = (
    "`keep_predictions=True` keeps what models predict for their validation samples, and there are "
    "none. Give `validation_data`, `validation_split` or `cv_folds`, or return them from "
    "`HyperModel.data(config)`."
)


class PredictionKeeper:
    """Keeps the predictions of one execution.

    Args:
        spec: Of the execution, with the state that it goes on from.
        folds: Of the cross validation; `None` without.
    """

    def __init__(self, spec: ExecutionSpec, folds: Folds | None) -> None:
        self._after = _goes_on_after(spec)
        self._writer = PredictionsWriter(spec.directory, spec.attempt, self._after)
        self._folds, self._fold = folds, spec.fold
        self._given: FitArguments | None = None
        self._model: Any = None
        self._data: _Data | None = None
        self._predicted: tuple[Validation, Any] | None = None  # in this epoch

    def know(self, given: FitArguments) -> None:
        """Know the data that `search` was given for this execution, by which samples are told."""
        self._given = given

    def note(self, model: Any, arguments: FitArguments) -> None:
        """Take in how a model's `fit` is called.

        Raises:
            FatalError: If it cannot be seen what it is validated on, or that has no order.
        """
        check(model, arguments, needs_data=False)
        self._model = model
        positions = self._positions(arguments)
        groups = None if self._folds is None or positions is None else self._folds.groups
        self._data = _Data.of(
            arguments,
            Validation(samples=positions, groups=None if groups is None else groups[positions]),
        )

    @contextlib.contextmanager
    def noting(self, model: Any) -> Iterator[None]:
        """Take in how the user's own code calls a model's `fit`, in the block."""
        fit = model.fit

        def noted(*args: Any, **kwargs: Any) -> Any:
            self.note(model, FitArguments(args, kwargs))
            return fit(*args, **kwargs)

        object.__setattr__(model, "fit", noted)
        try:
            yield
        finally:
            object.__delattr__(model, "fit")

    def begins(self, model: Any) -> None:
        """A training begins.

        Raises:
            FatalTypeError: If it is of another model, or in another way, than could be seen.
        """
        self._predicted = None
        if model is not self._model:
            raise FatalTypeError(
                "`keep_predictions=True` needs trainings by Keras' `model.fit`, of the model that "
                "`build` returned: of others it is not known what they are validated on."
            )

    def predict(self) -> None:
        """Predict with the model as it is validated: a callback may have given it other weights
        for that, as those of a moving average.

        Raises:
            FatalError: If the validation data are none that can be predicted for.
        """
        if self._data is not None:
            with _undisturbed(self._model, self._data.source):
                self._predicted = self._data.predicted(self._model)

    def keep(self, epoch: int) -> None:
        """Write what was predicted in an epoch, counted from 1, if the model was validated.

        Raises:
            FatalError: If predictions cannot be kept.
            StorageError: If they cannot be written.
        """
        predicted, self._predicted = self._predicted, None
        if predicted is None:
            return
        validation, predictions = predicted
        try:
            size = self._writer.add(epoch, validation, predictions)
        except ValueError as error:
            raise FatalValueError(
                f"`keep_predictions=True` cannot keep the predictions of epoch {epoch}: {error}. "
                "Validation data must be the same, in the same order, each time they are read."
            ) from error
        if size > _LARGE:
            warnings.warn(
                f"`keep_predictions=True` writes {size / 1e6:.0f} MB of predictions after each "
                "epoch of each training. Validate on fewer samples, validate only every n-th epoch "
                "(`validation_freq`), or leave it out.",
                stacklevel=2,
            )

    def packed(self) -> dict[str, bytes]:
        """Return what was kept since this was last asked for, as the driver writes it."""
        return self._writer.packed()

    def check_kept(self) -> None:
        """Refuse a training of which nothing was kept.

        Raises:
            FatalValueError: If so.
        """
        if self._writer.last == 0 and self._after == 0:
            raise FatalValueError(
                f"{_NO_VALIDATION} A training loop of your own passes `callbacks` and validation "
                "data to `model.fit`."
            )

    def _positions(self, arguments: FitArguments) -> np.ndarray | None:
        """The positions of validation samples in the data that `search` was given; `None` if they
        are not of those.
        """
        given = self._given
        if given is None:
            return None
        x, theirs = _validation_x(arguments), _validation_x(given)
        if x is not None:
            is_known = _are_same_bags(x, theirs) or (x is theirs and not is_source(x))
            if not is_known or self._folds is None:
                return np.arange(_count(x)) if is_known else None
            parts = self._folds.parts
            return None if parts is None else np.flatnonzero(parts == (self._fold or 0))
        if arguments.x is not given.x or not arguments.value("validation_split"):
            return None
        count = _count(arguments.x)
        return np.arange(_split_at(arguments, count), count)


def keeps_predictions(is_asked: bool, hypermodel: HyperModel) -> bool:
    """Return whether predictions are to be kept.

    Raises:
        ValueError: If they are, and nothing is known of how a hypermodel trains.
    """
    if is_asked and overrides(hypermodel, "run"):
        raise ValueError(
            f"`keep_predictions=True` needs trainings by Keras' `model.fit`, and "
            f"{method_name(hypermodel, 'run')} is a whole trial. Override `build`, `data` and "
            "`fit` instead."
        )
    return is_asked


def check(model: Any, arguments: FitArguments, needs_data: bool = True) -> None:
    """Refuse what no predictions can be kept of, as far as it can be seen before a training.

    Args:
        arguments: Of the model's `fit`.
        needs_data: Whether there must be validation data.

    Raises:
        FatalError: If it is refused.
    """
    if getattr(type(model), "fit", None) is not keras.Model.fit:
        raise FatalTypeError(
            f"`keep_predictions=True` cannot see what the `fit` of {type(model).__name__} itself "
            "validates on. Override `train_step`, or `HyperModel.fit`, instead."
        )
    if not arguments.has_validation:
        if needs_data:
            raise FatalValueError(_NO_VALIDATION)
        return
    x = _validation_x(arguments)
    if isinstance(x, Iterator):
        raise FatalValueError(
            "`keep_predictions=True` reads validation data again after each epoch. Received: a "
            f"{type(x).__name__}, which is read once. Give arrays, a `keras.utils.PyDataset` or a "
            "`tf.data.Dataset`."
        )
    if tf_datasets.is_dataset(x) and tf_datasets.shuffles(x):
        raise FatalValueError(
            "`keep_predictions=True` needs validation data in one order. Received: a "
            "`tf.data.Dataset` that shuffles. Give it without; the validation of a model does not "
            "depend on the order."
        )
    strategy = getattr(model, "_distribute_strategy", None)
    if is_source(x) and getattr(strategy, "num_replicas_in_sync", 1) > 1:
        raise FatalValueError(
            "`keep_predictions=True` needs arrays as validation data of a model whose batches are "
            f"spread over several devices. Received: {type(x).__name__}"
        )


def _goes_on_after(spec: ExecutionSpec) -> int:
    """The epoch of this execution that its training goes on from; 0 from a beginning of its own."""
    if spec.state is None:
        return 0
    if spec.resumes:
        return spec.initial_epoch
    return checkpoints.describe(spec.state).epoch if spec.reports_state else 0


def _validation_x(arguments: FitArguments) -> Any:
    """The inputs of `validation_data`, or what gives them; `None` without."""
    given = arguments.value("validation_data")
    return None if given is None else keras.utils.unpack_x_y_sample_weight(given)[0]


def _are_same_bags(x: Any, theirs: Any) -> bool:
    """Whether bags are those that were given, maybe with labels under other names."""
    if not isinstance(x, Bags) or not isinstance(theirs, Bags) or x.num_bags != theirs.num_bags:
        return False
    return all(map(operator.is_, x.bags, theirs.bags))


def _count(x: Any) -> int:
    return x.num_bags if isinstance(x, Bags) else samples.count(samples.leaves(x)[0])


def _split_at(arguments: FitArguments, count: int) -> int:
    """The first sample of the part that `validation_split` holds out, as Keras finds it."""
    return int(count * (1.0 - arguments.value("validation_split")))


@dataclasses.dataclass(frozen=True)
class _Data:
    """Validation data, as the model is shown them.

    Attributes:
        source: Arrays, or what gives batches with labels and weights.
        known: What is known of the samples; of arrays, also labels and weights.
        batch_size: Of arrays.
        steps: Of what gives batches: how many are read; `None` for all.
    """

    source: Any
    known: Validation
    batch_size: int | None = None
    steps: int | None = None

    @classmethod
    def of(cls, arguments: FitArguments, known: Validation) -> _Data | None:
        """Return those of a `fit`; `None` if it has none."""
        if not arguments.has_validation:
            return None
        given = arguments.value("validation_data")
        if given is None:
            parts = (arguments.x, arguments.y, arguments.value("sample_weight"))
            count = _count(arguments.x)
            x, y, weight = samples.taken(parts, slice(_split_at(arguments, count), count))
        else:
            x, y, weight = keras.utils.unpack_x_y_sample_weight(given)
        if is_source(x):
            return cls(x, known, steps=arguments.value("validation_steps"))
        size = arguments.value("validation_batch_size") or arguments.value("batch_size")
        known = dataclasses.replace(known, labels=_arrays(y), weights=_arrays(weight))
        return cls(x, known, batch_size=size)

    def predicted(self, model: Any) -> tuple[Validation, Any]:
        """Return the samples, and what a model predicts for them."""
        if not is_source(self.source):
            found = keras.Model.predict(model, self.source, self.batch_size, verbose=0)
            return self.known, _arrays(found)
        labels, weights, outputs = [], [], []
        for batch in _batches(self.source, self.steps):
            x, y, weight = keras.utils.unpack_x_y_sample_weight(batch)
            outputs.append(_arrays(keras.Model.predict_on_batch(model, _fed(x))))
            labels.append(_arrays(y))
            weights.append(_arrays(weight))
        known = dataclasses.replace(self.known, labels=_joined(labels), weights=_joined(weights))
        return known, _joined(outputs)


def _batches(source: Any, steps: int | None) -> Iterator[Any]:
    """The batches of a source, in its own order. A `PyDataset` is not told of epochs, which are
    those of Keras.
    """
    if isinstance(source, keras.utils.PyDataset):
        count = source.num_batches if steps is None else steps
        if count is None:
            raise FatalValueError(
                "`keep_predictions=True` needs `validation_steps` for a `PyDataset` without an "
                "end. Received: `validation_steps=None`"
            )
        return (source[number] for number in range(count))
    return itertools.islice(iter(source), steps)


def _fed(x: Any) -> Any:
    """The inputs of a batch as the backend takes them."""
    backend = keras.backend.backend()

    def fed(leaf: Any) -> Any:
        is_own = any(kind.__module__.split(".")[0] == backend for kind in type(leaf).__mro__)
        return leaf if leaf is None or is_own or keras.ops.is_tensor(leaf) else _array(leaf)

    return keras.tree.map_structure(fed, x)


def _arrays(part: Any) -> Any:
    """A structure with NumPy's arrays in it."""
    return _mapped(_array, part)


def _array(leaf: Any) -> np.ndarray:
    if hasattr(leaf, "iloc"):
        return np.asarray(leaf.to_numpy())
    if hasattr(leaf, "toarray"):  # of SciPy
        return np.asarray(leaf.toarray())
    if isinstance(leaf, np.ndarray):
        return leaf
    return np.asarray(keras.ops.convert_to_numpy(leaf) if keras.ops.is_tensor(leaf) else leaf)


def _mapped(change: Callable[[Any], Any], part: Any) -> Any:
    if isinstance(part, dict):
        return {name: _mapped(change, each) for name, each in part.items()}
    if isinstance(part, (list, tuple)):
        return (tuple if isinstance(part, tuple) else list)(_mapped(change, each) for each in part)
    return None if part is None else change(part)


def _joined(batches: list[Any]) -> Any:
    """The samples of several batches as one.

    Raises:
        FatalValueError: If they are of different kinds.
    """
    if not batches or batches[0] is None:
        return None
    first = batches[0]
    try:
        if isinstance(first, dict):
            return {name: _joined([batch[name] for batch in batches]) for name in first}
        if isinstance(first, (list, tuple)):
            joined = map(_joined, map(list, zip(*batches, strict=True)))
            return (tuple if isinstance(first, tuple) else list)(joined)
        return concatenated(batches)
    except (ValueError, KeyError, TypeError) as error:
        raise FatalValueError(
            "`keep_predictions=True` needs samples of one shape. Received: batches of several: "
            f"{error}"
        ) from error


@contextlib.contextmanager
def _undisturbed(model: Any, source: Any) -> Iterator[None]:
    """Puts back what the block draws from generators, and what it changes of a model's state."""
    history = getattr(model, "history", None)
    with contextlib.ExitStack() as back:
        back.callback(random.setstate, random.getstate())
        back.callback(np.random.set_state, np.random.get_state())
        _keep_generators_of(source, back)
        if "torch" in sys.modules:
            _keep_generators_of_torch(back)
        if "tensorflow" in sys.modules:
            _keep_generators_of_tensorflow(back)
        with contextlib.suppress(ImportError, AttributeError):  # of a Keras that has it elsewhere
            _keep_generator_of_keras(back)
        for variable in model.non_trainable_variables:
            back.callback(_put_back, variable, _value(variable))
        yield
    if getattr(model, "history", None) is not history:
        model.history = history


def _value(variable: Any) -> np.ndarray:
    return np.array(keras.ops.convert_to_numpy(variable.value))  # a copy: JAX may reuse its memory


def _put_back(variable: Any, value: np.ndarray) -> None:
    if not np.array_equal(_value(variable), value, equal_nan=value.dtype.kind in "fc"):
        variable.assign(value)


def _keep_generators_of(source: Any, back: contextlib.ExitStack) -> None:
    """Those that an object has as its attributes, such as a loader of the user's own."""
    for value in list(getattr(source, "__dict__", {}).values()):
        if isinstance(value, np.random.Generator):
            back.callback(setattr, value.bit_generator, "state", value.bit_generator.state)
        elif isinstance(value, np.random.RandomState):
            back.callback(value.set_state, value.get_state())
        elif isinstance(value, random.Random):
            back.callback(value.setstate, value.getstate())
        elif isinstance(value, keras.random.SeedGenerator):
            back.callback(_put_back, value.state, _value(value.state))
        elif type(value).__module__.startswith("torch") and hasattr(value, "set_state"):
            back.callback(value.set_state, value.get_state())


def _keep_generators_of_torch(back: contextlib.ExitStack) -> None:
    import torch  # there, since it is imported

    back.callback(torch.set_rng_state, torch.get_rng_state())
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        back.callback(torch.cuda.set_rng_state_all, torch.cuda.get_rng_state_all())


def _keep_generators_of_tensorflow(back: contextlib.ExitStack) -> None:
    import tensorflow as tf  # there, since it is imported
    from tensorflow.python.eager import context

    drawn = getattr(context.context(), "_rng", None)  # seeds of operations without one
    if drawn is not None:
        back.callback(drawn.setstate, drawn.getstate())
    from tensorflow.python.ops import stateful_random_ops

    generator = getattr(stateful_random_ops, "global_generator", None)
    if isinstance(generator, tf.random.Generator):
        back.callback(generator.state.assign, generator.state.numpy())


def _keep_generator_of_keras(back: contextlib.ExitStack) -> None:
    """That of all random operations without a seed; where there is none, it is made when it is
    needed.
    """
    from keras.src.backend.common import global_state
    from keras.src.random.seed_generator import GLOBAL_SEED_GENERATOR

    generator = global_state.get_global_attribute(GLOBAL_SEED_GENERATOR)
    if generator is None:
        back.callback(global_state.set_global_attribute, GLOBAL_SEED_GENERATOR, None)
    else:
        back.callback(_put_back, generator.state, _value(generator.state))
