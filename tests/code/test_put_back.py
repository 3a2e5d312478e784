"""State is as it was after code of the user's was looked at."""

import collections
import itertools
import random

import numpy as np
import pytest

from glimr_keras.code.put_back import put_back
from glimr_keras.code.trees import CodeTrees
from glimr_keras.code.values import Kept
from glimr_keras.code.walk import Walk

LISTED, NESTED, COUNTED = [1, 2, 3], {"a": [1], "b": {"c": 2}}, 0
QUEUE, ARRAY, NUMBERS = collections.deque([1, 2]), np.arange(4), itertools.count(5)
MARKS, BY_KEY = {1}, {"n": 1}
DICE, LEGACY, DRAWN = random.Random(1), np.random.RandomState(1), np.random.default_rng(1)


class Holder:
    n = 0


HOLDER = Holder()


def closing(n):
    def change():
        nonlocal n
        n += 1
        return n

    return change


def change_all():
    global COUNTED  # noqa: PLW0603  # which is what this is about
    COUNTED += 1
    LISTED.pop()
    NESTED[str(COUNTED)] = 1
    NESTED["a"].append(2)
    QUEUE.append(3)
    MARKS.add(COUNTED + 1)
    BY_KEY["n"] += 1
    ARRAY[COUNTED] = 9
    HOLDER.n += 1
    return next(NUMBERS), DICE.random(), LEGACY.rand(), DRAWN.random()


def state():
    """All that changes, as it is now."""
    kept = (LISTED, NESTED, COUNTED, QUEUE, ARRAY.tolist(), MARKS, BY_KEY, HOLDER.n)
    return repr(
        (kept, NUMBERS, DICE.getstate(), LEGACY.get_state()[1].tolist(), DRAWN.bit_generator.state)
    )


def test_what_is_kept_is_as_it_was():
    walk = Walk(CodeTrees())
    walk.follow(Kept("change_all", change_all))
    kept = walk.state()
    assert len(kept) == 13
    before, listed = state(), LISTED
    with put_back(kept):
        first = change_all()
        assert state() != before
    assert state() == before
    assert LISTED is listed
    with put_back(kept):
        assert change_all() == first
        raise_and_leave = pytest.raises(ValueError, match="a look that fails")
        with raise_and_leave, put_back(kept):
            change_all()
            raise ValueError("a look that fails")


def test_a_closure_is_as_it_was():
    change = closing(3)
    walk = Walk(CodeTrees())
    walk.follow(Kept("change", change))
    with put_back(walk.state()):
        assert (change(), change()) == (4, 5)
    assert change() == 4
