"""Arrays in shared memory: once for each content, and let go with the user's own."""

import gc

import numpy as np
import pytest
import ray

from glimr_keras.transport import ray_object_store
from glimr_keras.transport.ray_object_store import SharedArrayStore


@pytest.fixture
def array():
    return np.arange(1000.0).reshape(10, 100)


def alive(store):
    return [copy for copy in store._copies if copy.reference is not None]


def test_what_comes_back_is_equal_and_read_only(local_ray, array):
    (reference,) = SharedArrayStore().put([array])
    received = ray.get(reference)
    assert np.array_equal(received, array)
    assert received.dtype == array.dtype
    assert not received.flags.writeable


@pytest.mark.parametrize(
    "change", [lambda a: a, lambda a: a.copy(), lambda a: a.copy()[:]], ids=["same", "copy", "view"]
)
def test_the_same_content_is_put_once(local_ray, array, change):
    store = SharedArrayStore()
    other = change(array)
    first, second = store.put([array, other])
    assert first == second
    assert store.put([other]) == (first,)
    assert len(alive(store)) == 1


@pytest.mark.parametrize(
    "change",
    [lambda a: a + 1, lambda a: a.astype("float32"), lambda a: a.reshape(-1), lambda a: a[:, ::2]],
)
def test_another_content_type_or_shape_is_another_array(local_ray, array, change):
    store = SharedArrayStore()
    other = change(array)
    first, second = store.put([array, other])
    assert first != second
    assert np.array_equal(ray.get(second), other)


def test_nan_is_equal_to_itself(local_ray):
    array, store = np.full(5, np.nan), SharedArrayStore()
    assert store.put([array]) == store.put([array.copy()])


def test_arrays_of_another_order_are_compared_too(local_ray, array):
    store, turned = SharedArrayStore(), np.asfortranarray(array)
    (reference,) = store.put([turned])
    assert store.put([turned]) == (reference,)
    assert np.array_equal(ray.get(reference), array)


def test_an_array_that_was_changed_is_put_again_and_its_old_content_let_go(local_ray, array):
    store = SharedArrayStore()
    (before,) = store.put([array])
    array[0, 0] = -1.0
    (after,) = store.put([array])
    assert before != after
    assert ray.get(after)[0, 0] == -1.0
    assert len(alive(store)) == 1


def test_a_copy_is_let_go_with_the_last_array_of_its_content(local_ray):
    store = SharedArrayStore()
    one, two = np.ones(10), np.ones(10)
    store.put([one, two])
    del one
    gc.collect()
    assert len(alive(store)) == 1
    del two
    gc.collect()
    assert alive(store) == []


def test_an_array_is_put_again_when_its_ray_is_gone(local_ray, array, monkeypatch):
    store = SharedArrayStore()
    (before,) = store.put([array])
    monkeypatch.setattr(ray_object_store, "_this_ray", lambda: ("another", "01000000"))
    (after,) = store.put([array])
    assert before != after
    assert store.put([array]) == (after,)


def test_an_array_is_put_again_when_its_copy_is_lost(local_ray, array, monkeypatch):
    def lost(reference, timeout):
        raise ray.exceptions.GetTimeoutError("It does not come.")

    store = SharedArrayStore()
    (before,) = store.put([array])
    with monkeypatch.context() as patched:
        patched.setattr(ray_object_store.ray, "get", lost)
        (after,) = store.put([array])
    assert before != after
    assert np.array_equal(ray.get(after), array)
    assert store.put([array]) == (after,)
