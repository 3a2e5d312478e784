"""Pipelines that read arrays, with less around them: what they give is Keras' own."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras.src.backend.tensorflow import trainer

from glimr_keras.training import held_graphs, keras_session, tf_pipelines
from glimr_keras.training.user_callbacks import knows

X = np.arange(70, dtype="float32").reshape(35, 2)
Y = X.sum(axis=1, keepdims=True)


def epochs_of(x, y=None, **kwargs):
    return trainer.TFEpochIterator(
        x=x, y=y, distribute_strategy=tf.distribute.get_strategy(), steps_per_execution=1, **kwargs
    )


def batches(dataset):
    return [tuple(np.asarray(part) for part in batch) for batch in dataset]


def is_tuned(dataset):
    return dataset.options().autotune.enabled is not False


@pytest.mark.parametrize("when_needed", [False, True])
@pytest.mark.parametrize("shuffle", [False, True, "batch"])
def test_batches_are_the_same_in_the_same_order(shuffle, when_needed):
    def drawn():
        keras.utils.set_random_seed(3)
        dataset = epochs_of(X, Y, batch_size=8, shuffle=shuffle)._get_iterator()
        return [*batches(dataset), *batches(dataset)]  # of two epochs

    own = drawn()
    with tf_pipelines.light(when_needed):
        light = drawn()
    for one, other in zip(own, light, strict=True):
        assert all(map(np.array_equal, one, other))


def test_only_what_reads_arrays_is_changed_and_only_in_the_block():
    mine = tf.data.Dataset.from_tensor_slices((X, Y)).batch(8)
    with tf_pipelines.light(when_needed=False):
        assert not is_tuned(epochs_of(X, Y, batch_size=8)._get_iterator())
        assert is_tuned(epochs_of(mine)._get_iterator())
    assert is_tuned(epochs_of(X, Y, batch_size=8)._get_iterator())


def test_an_iterator_that_nobody_reads_is_not_made():
    with tf_pipelines.light(when_needed=True):
        later = iter(epochs_of(X, Y, batch_size=8)._get_iterator())
    assert isinstance(later, tf_pipelines.Later)
    assert "iterator" not in vars(later)
    assert len(next(later)) == 2
    assert later.iterator is later.iterator


class Own(keras.layers.Layer):
    """Of the user's own, so no graph is held of a model that has one."""

    def call(self, inputs):
        return inputs * 2.0


@pytest.mark.parametrize("is_worker", [True, False])
@pytest.mark.parametrize("layer", [keras.layers.Dense, Own], ids=["known", "own"])
def test_models_are_trained_with_them_in_workers_only(layer, is_worker, monkeypatch):
    monkeypatch.setattr(keras_session, "is_worker", lambda: is_worker)
    hidden = layer(3) if layer is keras.layers.Dense else layer()
    model = keras.Sequential([keras.Input((2,)), hidden, keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    model._symbolic_build(data_batch=(X[:8], Y[:8]))
    held_graphs.forget()
    read = []
    with held_graphs.lent_to(model, [], knows), monkeypatch.context() as patch:
        get_iterator = trainer.TFEpochIterator._get_iterator

        def recorded(epochs):
            read.append(get_iterator(epochs))
            return read[-1]

        patch.setattr(trainer.TFEpochIterator, "_get_iterator", recorded)
        model.fit(X, Y, validation_data=(X, Y), epochs=2, batch_size=8, verbose=0)
    held_graphs.forget()
    datasets = [getattr(each, "_dataset", each) for each in read]
    assert len(datasets) >= 2  # of training and validation
    assert {is_tuned(dataset) for dataset in datasets} == {not is_worker}


def test_with_a_keras_that_makes_iterators_in_another_way_nothing_is_changed(monkeypatch):
    monkeypatch.setattr(keras_session, "is_worker", lambda: True)
    model = keras.Sequential([keras.Input((2,)), Own()])
    with monkeypatch.context() as patch:
        for kind in trainer.TFEpochIterator.__mro__:
            patch.delattr(kind, "_get_iterator", raising=False)
        with held_graphs.lent_to(model, [], knows) as is_used:
            assert not is_used()
