"""The Keras session of a trial: settings, seeds, and nothing left behind."""

import gc
import pathlib
import random

import keras
import numpy as np
import pytest
import tensorflow as tf

from glimr_keras.training import tf_gradients
from glimr_keras.training.keras_session import (
    Session,
    out_of_garbage_collection,
    prepare_process,
    private_memory,
)


@pytest.fixture
def bfloat16():
    """A process with a precision policy of its own."""
    keras.config.set_dtype_policy("mixed_bfloat16")
    yield
    keras.config.set_dtype_policy("float32")


def test_the_settings_of_the_driver_hold_inside_and_afterwards(bfloat16):
    session = Session.current()
    keras.config.set_dtype_policy("float32")
    with session.fresh():
        assert keras.layers.Dense(1).compute_dtype == "bfloat16"
    assert keras.config.dtype_policy().name == "mixed_bfloat16"


def test_layers_are_named_from_the_start_in_every_session():
    for _ in range(2):
        with Session.current().fresh():
            assert keras.layers.Dense(1).name == "dense"


def test_the_same_seed_draws_the_same_numbers():
    drawn = []
    for seed in (1, 1, 2):
        with Session.current().fresh(seed):
            drawn.append((random.random(), np.random.rand(), float(keras.random.uniform(()))))
    assert drawn[0] == drawn[1]
    assert not set(drawn[0]) & set(drawn[2])


def test_without_a_seed_the_generators_are_left_alone():
    random.seed(5)
    expected = random.random()
    random.seed(5)
    with Session.current().fresh():
        assert random.random() == expected


def test_a_worker_on_another_backend_is_refused():
    with pytest.raises(
        RuntimeError,
        match=r"The driver runs Keras on 'jax', this worker on 'tensorflow'. Set KERAS_BACKEND=jax",
    ):
        prepare_process("jax", 1)


@pytest.mark.skipif(not pathlib.Path("/proc/self/statm").exists(), reason="only Linux says")
def test_private_memory_grows_with_what_a_process_holds():
    before = private_memory()
    held = np.ones(2**25, "uint8")
    assert private_memory() - before > 2**24
    assert held.size == 2**25


def graphs_alive():
    gc.collect()
    return sum(isinstance(found, tf.__internal__.FuncGraph) for found in gc.get_objects())


@pytest.mark.parametrize(
    "activation", ["relu", "silu"]
)  # TensorFlow's silu has a custom gradient, as has the optimizer
def test_nothing_is_left_of_a_model_that_was_trained(activation):
    def train():
        with Session.current().fresh():
            model = keras.Sequential(
                [keras.Input((3,)), keras.layers.Dense(2, activation=activation)]
            )
            model.compile("adam", "mse")
            model.fit(np.ones((4, 3)), np.ones((4, 2)), verbose=0)

    train()
    train()
    before = graphs_alive()
    for _ in range(3):
        train()
    assert graphs_alive() == before


def gradient_of(function):
    with tf.GradientTape() as tape:
        x = tf.constant([0.0, 1.0])
        tape.watch(x)
        y = function(x)
    return tape.gradient(y, x)


def test_a_function_that_lives_on_keeps_its_gradients():
    with Session.current().fresh():
        function = tf.function(tf.nn.silu).get_concrete_function(tf.TensorSpec((2,)))
    with Session.current().fresh():
        np.testing.assert_allclose(gradient_of(function), [0.5, 0.9277], rtol=1e-4)


@pytest.fixture
def thawed():
    """A process that takes nothing out of garbage collection, as a user's own."""
    gc.unfreeze()
    yield
    gc.collect()
    gc.freeze()


def test_what_is_there_is_taken_out_of_garbage_collection_meanwhile_and_stays_whole(thawed):
    with Session.current().fresh():
        function = tf.function(tf.nn.silu).get_concrete_function(tf.TensorSpec((2,)))
    with out_of_garbage_collection():
        assert gc.get_freeze_count() > 100_000
        with Session.current().fresh(), out_of_garbage_collection():
            np.testing.assert_allclose(gradient_of(function), [0.5, 0.9277], rtol=1e-4)
        assert gc.get_freeze_count() > 100_000
    assert gc.get_freeze_count() == 0
    with Session.current().fresh():
        np.testing.assert_allclose(gradient_of(function), [0.5, 0.9277], rtol=1e-4)
    del function
    names = set(tf_gradients._REGISTRY)
    with Session.current().fresh():
        pass
    assert set(tf_gradients._REGISTRY) < names


def test_a_scope_of_custom_objects_is_there_in_a_fresh_session_and_after_it():
    with keras.saving.custom_object_scope({"mine": abs}):
        with Session.current().fresh():
            assert keras.saving.get_registered_object("mine") is abs
        assert keras.saving.get_registered_object("mine") is abs
    assert keras.saving.get_registered_object("mine") is None
