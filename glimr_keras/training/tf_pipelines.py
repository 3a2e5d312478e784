"""How Keras' `fit` and `evaluate` read arrays on TensorFlow, with less around it. Runs in the
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
    """Has pipelines that read arrays do so without tuning themselves, in the block.

    What they give is the same. But to end a thread that tunes takes up to a third of a second,
    in which nothing is done.

    Args:
        when_needed: Whether iterators are made when they are read, and no others, for a model
            that knows what to do with a `Later`. At the end of each epoch Keras makes one that
            the next epoch does not use.

    Raises:
        AttributeError: At once, and not in the block, if Keras makes iterators in another way.
    """
    return _light(trainer.TFEpochIterator._get_iterator, when_needed)


@contextlib.contextmanager
def _light(get_iterator: Callable[[Any], Any], when_needed: bool) -> Iterator[None]:
    def get_source(epochs: Any) -> Any:
        dataset = get_iterator(epochs)  # others may draw when an iterator is made
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
    """A dataset whose iterators are made when they are needed."""

    def __init__(self, dataset: Any) -> None:
        self._dataset = dataset

    def __iter__(self) -> Later:
        return Later(self._dataset)


class Later:
    """In the place of an iterator, which is made when it is needed."""

    def __init__(self, dataset: Any) -> None:
        self._dataset = dataset

    @functools.cached_property
    def iterator(self) -> Any:
        """The iterator."""
        return iter(self._dataset)

    def __iter__(self) -> Later:
        return self

    def __next__(self) -> Any:
        return next(self.iterator)
