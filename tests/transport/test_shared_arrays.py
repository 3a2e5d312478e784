"""Arrays that TensorFlow reads where they are."""

import gc

import keras
import numpy as np
import pytest
import tensorflow as tf

from glimr_keras.transport.shared_arrays import SharedArray


def aligned(dtype, size=4096):
    """A read-only array whose memory begins where a tensor's would."""
    memory = np.zeros((size + 64) * np.dtype(dtype).itemsize, "uint8")
    start = -memory.ctypes.data % 64
    array = memory[start : start + size * np.dtype(dtype).itemsize].view(dtype)
    array[:] = np.arange(size)
    array.flags.writeable = False
    return array.reshape(-1, 16)


def address(tensor):
    return np.asarray(tensor).ctypes.data


@pytest.mark.parametrize(
    "dtype",
    [
        "float16",
        "float32",
        "float64",
        "int8",
        "int32",
        "int64",
        "uint8",
        "uint16",
        "bool",
        "complex64",
    ],
)
def test_a_tensor_is_made_over_the_same_memory(dtype):
    array = aligned(dtype)
    tensor = tf.convert_to_tensor(array.view(SharedArray))
    assert address(tensor) == array.ctypes.data
    assert tensor.dtype == dtype
    assert np.array_equal(tensor, array)


@pytest.mark.parametrize(
    "change",
    [
        lambda a: a[:, ::2],
        lambda a: a.T,
        lambda a: a[:0],
        lambda a: a.reshape(-1)[1:],
        lambda a: a.astype(">f4"),
    ],
    ids=["strided", "transposed", "empty", "not aligned", "of another byte order"],
)
def test_memory_of_another_layout_is_copied(change):
    array = change(aligned("float32"))
    tensor = tf.convert_to_tensor(array.view(SharedArray))
    assert np.array_equal(tensor, array)
    assert np.array_equal(tensor[1:], array[1:])  # where TensorFlow would crash


def test_another_type_is_converted():
    array = aligned("int32")
    tensor = tf.convert_to_tensor(array.view(SharedArray), tf.float32)
    assert tensor.dtype == tf.float32
    assert np.array_equal(tensor, array)


def test_the_memory_lives_as_long_as_the_tensor():
    tensor = tf.convert_to_tensor(aligned("float32").view(SharedArray))
    gc.collect()
    np.ones(5000, "float32")
    assert float(tf.reduce_sum(tensor)) == sum(range(4096))


def test_it_is_an_array_to_everything_else():
    array = aligned("float32").view(SharedArray)
    assert isinstance(array, np.ndarray)
    assert np.array_equal(array * 2, np.asarray(array) * 2)
    with pytest.raises(ValueError, match="read-only"):
        array[0, 0] = 1.0


def test_keras_trains_on_it_as_on_any_array():
    x = aligned("float32") / np.float32(4096)
    y, losses = x.sum(axis=1), []
    for kind in (np.ndarray, SharedArray):
        keras.utils.set_random_seed(0)
        model = keras.Sequential([keras.Input((16,)), keras.layers.Dense(1)])
        model.compile("sgd", "mse")
        history = model.fit(x.view(kind), y.view(kind), epochs=2, validation_split=0.2, verbose=0)
        losses.append(history.history["val_loss"])
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)
