"""What is made in a thread before it is asked for."""

import copy
import os
import pickle
import threading

import pytest

from glimr_keras.oracles.ahead import Ahead


def test_what_was_made_for_a_key_is_taken_once():
    ahead = Ahead()
    threads = []

    def make():
        threads.append(threading.current_thread().name)
        return len(threads)

    ahead.begin("a", make)
    assert ahead.take("a", make) == 1
    assert threads == ["proposals"]
    assert ahead.take("a", make) == 2
    assert threads[1] != "proposals"


def test_for_another_key_it_is_made_now():
    ahead = Ahead()
    ahead.begin("a", lambda: "old")
    assert ahead.take("b", lambda: "new") == "new"
    assert ahead.take("a", lambda: "again") == "again"


def test_who_asks_before_it_is_there_waits():
    ahead, go_on = Ahead(), threading.Event()

    def make():
        go_on.wait(60)
        return 1

    ahead.begin("a", make)
    threading.Timer(0.2, go_on.set).start()
    assert ahead.take("a", lambda: 2) == 1


def test_an_error_is_raised_where_it_is_taken():
    ahead = Ahead()

    def make():
        raise ValueError("No.")

    ahead.begin("a", make)
    with pytest.raises(ValueError, match="No"):
        ahead.take("a", make)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda ahead: pickle.loads(pickle.dumps(ahead))])
def test_a_copy_has_nothing(copied):
    ahead = Ahead()
    ahead.begin("a", lambda: 1)
    assert copied(ahead).take("a", lambda: 2) == 2


@pytest.mark.filterwarnings("ignore:This process.*multi-threaded:DeprecationWarning")
def test_a_process_is_forked_when_it_is_made():
    ahead, made, go_on = Ahead(), [], threading.Event()

    def make():
        go_on.wait(60)
        made.append(1)

    ahead.begin("a", make)
    threading.Timer(0.2, go_on.set).start()
    child = os.fork()
    if child == 0:
        os._exit(0 if made else 1)
    assert os.waitpid(child, 0)[1] == 0
