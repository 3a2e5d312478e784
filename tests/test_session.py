"""The Keras session of a trial: settings, seeds, and nothing left behind."""

import pathlib
import random

import keras
import numpy as np
import pytest

from glimr_keras.session import Session, prepare_process, private_memory


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
        RuntimeError, match=r"The driver runs Keras on 'jax', this worker on 'tensorflow'. Set KERAS_BACKEND=jax"
    ):
        prepare_process("jax", 1)


@pytest.mark.skipif(not pathlib.Path("/proc/self/statm").exists(), reason="only Linux says")
def test_private_memory_grows_with_what_a_process_holds():
    before = private_memory()
    held = np.ones(2**25, "uint8")
    assert private_memory() - before > 2**24
    assert held.size == 2**25
