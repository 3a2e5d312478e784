"""State is as it was after code of the user's was looked at."""

import collections
import itertools
import random
import types

import numpy as np
import pytest

from glimr_keras.code.frames import of_object
from glimr_keras.code.put_back import put_back
from glimr_keras.code.record import KeptState
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


class Counted:
    """What is there only once code has run."""

    def count(self):
        global FOUND  # noqa: PLW0603  # which is what this is about
        Counted.made = getattr(Counted, "made", 0) + 1
        self.own = getattr(self, "own", 0) + 1
        try:
            FOUND += 1
        except NameError:
            FOUND = 1


def late():
    if LISTED:
        made = 3

    def change():
        nonlocal made
        made = made + 1

    del made
    return change


def test_what_was_not_there_is_not_there_afterwards():
    counted, change = Counted(), late()
    walk = Walk(CodeTrees())
    walk.follow(Kept("count", counted.count))
    walk.follow(Kept("change", change))
    kept = walk.state()
    assert {seen.name for seen in kept} == {"Counted.made", "self.own", "FOUND", "made"}
    with put_back(kept):
        counted.count()
        change.__closure__[0].cell_contents = 5
        assert (Counted.made, counted.own, FOUND) == (1, 1, 1)
    assert not hasattr(Counted, "made") and not hasattr(counted, "own")
    assert "FOUND" not in globals() and change.__closure__[0] == types.CellType()
    counted.count()
    with put_back(kept):  # what came to be since the code was read stays
        counted.count()
    assert "FOUND" in globals()
    del globals()["FOUND"], Counted.made


class Methods:
    """Has none that may be called."""

    def refuse(self, *args):
        raise RuntimeError("it was called")

    __setitem__ = __getitem__ = __iter__ = append = extend = update = clear = refuse
    items = values = keys = copy = __copy__ = __reduce_ex__ = refuse


KINDS = {
    kind: type(kind.__name__, (Methods, kind), {})
    for kind in (dict, collections.OrderedDict, list, set, collections.deque)
}


@pytest.mark.parametrize("kind", KINDS)
def test_containers_are_filled_again_without_methods_of_the_users(kind):
    is_dict = issubclass(kind, dict)
    container = KINDS[kind]()
    kind.__setitem__(container, "b", 1) if is_dict else kind.__init__(container, [3, 4])
    with put_back([KeptState("own", "", of_object(container))]):
        kind.clear(container)
    kept = kind.items(container) if is_dict else kind.__iter__(container)
    assert list(kept) == ([("b", 1)] if is_dict else [3, 4])


class One:
    def __init__(self, following=None):
        self.n, self.following = 0, following

    def step(self):
        self.n += 1
        if self.following is not None:
            self.following.step()


def test_all_of_one_name_are_as_they_were():
    second = One()
    first = One(second)
    walk = Walk(CodeTrees())
    walk.follow(Kept("step", first.step))
    with put_back(walk.state()):
        first.step()
    assert (first.n, second.n) == (0, 0)


def test_what_code_without_source_counts_is_as_it_was():
    variables = {"__name__": "typed_in", "n": 3}
    exec(compile("def count():\n    global n\n    n += 1\n", "<typed in>", "exec"), variables)
    walk = Walk(CodeTrees())
    walk.follow(Kept("count", variables["count"]))
    with put_back(walk.state()):
        variables["count"]()
    assert variables["n"] == 3
