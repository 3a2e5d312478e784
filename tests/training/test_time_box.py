"""Code that would go on for ever is ended, whatever it does, and nothing else sees it."""

import contextlib
import threading
import time

import keras
import pytest

from glimr_keras.training import time_box
from glimr_keras.training.time_box import ends_within


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(time_box, "_AGAIN_S", 0.05)


class Endless:
    """A loop that goes on for a minute, and what came of it."""

    def __init__(self, step):
        self.step, self.ended = step, threading.Event()

    def __call__(self):
        end = time.monotonic() + 60
        try:
            while time.monotonic() < end:
                self.step()
        finally:
            self.ended.set()


def catches_all():
    with contextlib.suppress(BaseException):
        sum(range(1000))


def catches_errors():
    with contextlib.suppress(Exception):
        sum(range(1000))


@pytest.mark.parametrize(
    "step", [lambda: None, lambda: time.sleep(0.01), catches_errors, catches_all]
)
def test_a_loop_is_ended(step):
    loop, started = Endless(step), time.monotonic()
    assert not ends_within(0.1, loop)
    assert loop.ended.wait(20)
    assert time.monotonic() - started < 20


def test_what_sleeps_is_left_behind_and_ends_when_it_wakes(monkeypatch):
    monkeypatch.setattr(time_box, "_GRACE_S", 0.1)
    woken = threading.Event()

    def task():
        try:
            time.sleep(3)
        finally:
            woken.set()
        pytest.fail("went on")

    assert not ends_within(0.1, task)
    assert not woken.is_set()
    assert woken.wait(20)


def test_what_ends_by_itself_is_let_alone():
    said = []
    assert ends_within(60, lambda: said.append(threading.current_thread()))
    assert said[0] is not threading.current_thread()


@pytest.mark.parametrize("error", [ValueError, SystemExit, KeyboardInterrupt, GeneratorExit])
def test_what_it_raises_is_lost(error):
    def task():
        raise error

    assert ends_within(60, task)


def test_it_builds_with_the_dtype_policy_of_the_caller():
    policies, before = [], keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        ends_within(60, lambda: policies.append(keras.layers.Dense(1).dtype_policy.name))
    finally:
        keras.config.set_dtype_policy(before)
    assert policies == ["mixed_bfloat16"]


def test_it_ends_too_where_the_caller_is_stopped(monkeypatch):
    loop = Endless(lambda: None)
    join = threading.Thread.join

    def stopped(thread, timeout=None):
        if threading.current_thread() is threading.main_thread():
            raise KeyboardInterrupt
        join(thread, timeout)

    monkeypatch.setattr(threading.Thread, "join", stopped)
    with pytest.raises(KeyboardInterrupt):
        ends_within(60, loop)
    assert loop.ended.wait(20)
