"""Iterators that know each of their batches are read again by each trial."""

import pickle
import threading

import keras
import numpy as np
import pytest

import glimr_keras as gk
from glimr_keras.errors import ShippingError
from glimr_keras.models.batch_iterators import can_be_reread
from glimr_keras.models.data import FitArguments
from glimr_keras.transport.serialization import pack, unpack

RNG = np.random.default_rng(0)
IMAGES = RNG.random((48, 8, 8, 1)).astype("float32")
LABELS = (IMAGES.mean(axis=(1, 2, 3)) > 0.5).astype("int32")


def flow(shuffle=False, **kwargs):
    """Images as Keras' older, endless iterator has them."""
    from keras.src.legacy.preprocessing.image import ImageDataGenerator

    generator = ImageDataGenerator(rescale=1.0, **kwargs)
    return generator.flow(IMAGES, LABELS, batch_size=16, shuffle=shuffle)


class Endless:
    """Another library's iterator of that kind."""

    def __init__(self):
        self.lock, self.other = threading.Lock(), threading.RLock()
        self.batch = 0
        self.numbers = self._numbers()

    def __len__(self):
        return 3

    def __getitem__(self, index):
        return np.full((2, 2), index)

    def __iter__(self):
        return self

    def __next__(self):
        with self.lock, self.other:
            return self[next(self.numbers)]

    def _numbers(self):
        while True:
            yield self.batch % 3
            self.batch += 1


def test_a_copy_begins_at_the_beginning_and_leaves_the_original():
    original = flow()
    next(original)
    copy = unpack(pack(original).content, pack(original).arrays)
    assert type(copy) is type(original)
    assert len(copy) == len(original) == 3
    for index in range(3):
        for one, other in zip(copy[index], original[index], strict=True):
            np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(next(copy)[0], IMAGES[:16])
    np.testing.assert_array_equal(next(original)[0], IMAGES[16:32])


def test_an_iterator_of_another_library_is_copied_likewise():
    with pytest.raises(TypeError, match="cannot pickle"):
        pickle.dumps(Endless())
    copy = unpack(pack(Endless()).content, ())
    assert [next(copy)[0, 0] for _ in range(4)] == [0, 1, 2, 0]


def test_what_can_be_read_once_only_is_still_refused():
    FitArguments((flow(),), {"validation_data": flow()}).check_repeatable()
    assert not can_be_reread(iter([1]))
    with pytest.raises(ShippingError, match="can be read once only"):
        FitArguments(((batch for batch in flow()),)).check_repeatable()


def build(config):
    layers = [
        keras.Input((8, 8, 1)),
        keras.layers.Conv2D(config.Choice("filters", [2, 3, 4, 5]), 3),
        keras.layers.Flatten(),
        keras.layers.Dense(2, "softmax"),
    ]
    model = keras.Sequential(layers)
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"], run_eagerly=True)
    return model


@pytest.mark.filterwarnings("ignore::DeprecationWarning:ray.*")
def test_each_trial_reads_an_image_data_generator_from_its_beginning(local_ray, project):
    tuner = gk.RandomSearch(
        build, "val_accuracy", max_trials=3, seed=0, max_concurrent_trials=2, **project
    )
    train, validation = flow(shuffle=True, horizontal_flip=True), flow()
    tuner.search(train, validation_data=validation, epochs=2, verbose=0)
    table = tuner.results_dataframe()
    assert list(table["status"]) == ["COMPLETED"] * 3
    assert (train.batch_index, train.total_batches_seen) == (0, 0)
    _, accuracy = tuner.get_best_models()[0].evaluate(validation, verbose=0)
    assert accuracy == pytest.approx(table["score"].max())
