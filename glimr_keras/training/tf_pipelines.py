"""Light pipelines with which Keras' `fit` and `evaluate` read arrays on TensorFlow. Runs in the
worker.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any

import tensorflow as tf
from keras.src.backend.tensorflow import trainer
from keras.src.trainers.data_adapters.array_data_adapter import ArrayDataAdapter


def light(when_needed: bool) -> contextlib.AbstractContextManager[None]:
    """Disable autotuning in the block for pipelines that read arrays.

    Their output is the same. But ending an autotuning thread takes up to a third of a second, in
    which nothing else happens.

    Args:
        when_needed: Whether to create iterators only when they are read, for a model that can
            handle a `Later`. At the end of each epoch, Keras creates an iterator that the next
            epoch does not use.

    Raises:
        AttributeError: At once, and not in the block, if Keras creates iterators in another way.
    """
    return _light(trainer.TFEpochIterator._get_iterator, when_needed)


@contextlib.contextmanager
def _light(get_iterator: Callable[[Any], Any], when_needed: bool) -> Iterator[None]:
    def get_source(epochs: Any) -> Any:
        dataset = get_iterator(epochs)  # other datasets may draw when an iterator is created
        is_of_arrays = isinstance(epochs.data_adapter, ArrayDataAdapter)
        if not (is_of_arrays and isinstance(dataset, tf.data.Dataset)):
            return dataset
        options = tf.data.Options()
        options.autotune.enabled = False
        dataset = dataset.with_options(options)
        return _Source(dataset) if when_needed else dataset

    trainer.TFEpochIterator._get_iterator = get_source
    try:
        yield
    finally:
        trainer.TFEpochIterator._get_iterator = get_iterator


class _Source:
    """A dataset whose iterators are created when they are needed."""

    def __init__(self, dataset: Any) -> None:
        self._dataset = dataset

    def __iter__(self) -> Later:
        return Later(self._dataset)


class Later:
    """Stand in for an iterator, which is created when it is needed."""

    def __init__(self, dataset: Any) -> None:
        self._dataset = dataset

    @functools.cached_property
    def iterator(self) -> Any:
        """Return the iterator."""
        return iter(self._dataset)

    def __iter__(self) -> Later:
        return self

    def __next__(self) -> Any:
        return next(self.iterator)
