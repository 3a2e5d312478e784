"""What `tune.sample_from` gives: one value for a trial, written down and the same anywhere."""

import functools
import json
import random

import keras
import numpy as np
import pytest
from ray import tune
from ray.tune.search.sample import Domain, Sampler

from glimr_keras._utils.nested import is_json
from glimr_keras.errors import FatalValueError
from glimr_keras.models.configuration import configuration
from glimr_keras.space.declared_space import DeclaredSpace, sample_space
from glimr_keras.space.drawn import recorded, restored

LITERALS = [
    3,
    0.5,
    None,
    True,
    "relu",
    "",
    "3",
    "[3]",
    "'quoted'",
    "set()",
    "b'1'",
    "Dense #0123abcd drawn with seed 7",
    [3, 5],
    (3, [0.5, None]),
    {"units": [3, "relu"], 4: (True,)},
    {1, 2},
    set(),
    b"1",
]


@pytest.mark.parametrize("value", LITERALS, ids=repr)
def test_what_python_can_write_is_written_as_it_is(value):
    record = json.loads(json.dumps(recorded(value, seed=1)))
    assert is_json(record)
    again = restored(record, redraw=None)
    assert (type(again), again) == (type(value), value)


@pytest.mark.parametrize("value", [[64, 32], {"units": [64, {"rate": None}]}, [], {}])
def test_lists_and_dicts_are_seen_as_themselves(value):
    space = DeclaredSpace({"layers": tune.sample_from(lambda: value)})
    drawn = space.drawn_values({}, (1,))
    assert drawn == {"layers": value}
    config = configuration(space, drawn, (1,))
    assert config.get("layers") == config["layers"] == config.values["layers"] == value
    assert config["layers"] is not drawn["layers"]  # `build` may change it
    assert space.point_of({"layers": value}) == {"layers": value}


@pytest.mark.parametrize("value", [(64, 32), [(1, 2)], {4: 1}, {1, 2}])
def test_what_json_has_not_is_seen_as_text(value):
    assert recorded(value, 0) == repr(value)


def test_numbers_of_numpy_become_pythons():
    assert recorded(np.float32(0.5), 0) == 0.5
    assert recorded(list(np.arange(2)), 0) == [0, 1]
    assert recorded({"a": (np.int64(1), np.bool_(True))}, 0) == "{'a': (1, True)}"


class Made:
    """Something of the user's own, with a random part."""

    def __init__(self):
        self.sizes = np.random.randint(0, 1000, size=3)
        self.rate = random.random()


def times(rate):
    return lambda step: rate * step


class Permutations(Sampler):
    def sample(self, domain, config=None, size=1, random_state=None):
        return [int(number) for number in np.random.permutation(6)]


class Permutation(Domain):
    """A kind of domain that Ray does not have."""

    default_sampler_cls = Permutations


DRAWN = {
    "list": lambda: [random.randint(0, 1000) for _ in range(3)],
    "tuple": lambda: (np.random.randint(1000), np.random.rand()),
    "dict": lambda: {"rate": np.random.rand(), "names": [random.choice("abc")]},
    "array": lambda: np.random.rand(2, 3),
    "object": Made,
    "function": lambda: functools.partial(max, np.random.randint(1000)),
    "closure": lambda: times(np.random.rand()),
    "schedule": lambda: keras.optimizers.schedules.ExponentialDecay(np.random.rand(), 10, 0.9),
    "layer": lambda: keras.layers.Dense(np.random.randint(1, 1000)),
    "derived": lambda config: [config["units"]] * np.random.randint(1, 9),
    "text": lambda: random.choice(["relu", "[1]"]),
}


def shown(value):
    """What a drawn value is, as text, where names that Keras gives are left out."""
    if callable(getattr(value, "get_config", None)):
        config = value.get_config()
        return str({name: part for name, part in config.items() if name != "name"})
    if isinstance(value, Made):
        return str(vars(value))
    if getattr(value, "__closure__", None):
        return str(value(2))
    return repr(value)


@pytest.mark.parametrize("name", DRAWN)
def test_a_value_of_any_kind_is_drawn_once_for_a_trial(name):
    space = DeclaredSpace({"units": tune.choice([3, 4]), "x": tune.sample_from(DRAWN[name])})
    known = {"units": 4}
    drawn = space.drawn_values(known, (7, 1))
    record = json.loads(json.dumps(drawn["x"]))
    np.random.seed(3)  # whatever a process has drawn before
    random.seed(4)
    there = space.fill(known | {"x": record})  # in a worker, and where a best model is built
    assert shown(there["x"]) == shown(space.fill(known, (7, 1))["x"])
    others = {shown(space.fill(known, (7, trial))["x"]) for trial in range(9)}
    assert len(others) > 1
    assert space.drawn_values(known | {"x": record}, (8, 2)) == {"x": record}  # of a promotion


def test_a_draw_leaves_the_random_generators_as_they_were():
    space = DeclaredSpace({"x": tune.sample_from(lambda: [random.random(), np.random.rand()])})
    random.seed(1)
    np.random.seed(1)
    expected = random.random(), np.random.rand()
    random.seed(1)
    np.random.seed(1)
    space.drawn_values({}, (0,))
    assert (random.random(), np.random.rand()) == expected


def test_what_is_drawn_by_an_unknown_generator_is_written_down_or_refused():
    unknown = np.random.default_rng(0)
    space = DeclaredSpace({"x": tune.sample_from(lambda: unknown.random(2).tolist())})
    record = space.drawn_values({}, (0,))
    assert space.fill(record) == space.fill(record)
    space = DeclaredSpace({"a": {"x": tune.sample_from(lambda: unknown.random(2))}})
    with pytest.raises(FatalValueError, match=r"a ndarray at 'a/x' that is another one when it is"):
        space.drawn_values({}, (0,))


def test_domains_of_the_users_own_kind_are_drawn_likewise():
    space = DeclaredSpace({"order": Permutation()})
    assert space.parameters == []
    record = space.drawn_values({}, (1, 2))
    assert sorted(space.fill(record)["order"]) == list(range(6))
    assert space.fill(record) == space.fill({}, (1, 2))


def test_what_exists_under_a_condition_is_drawn_where_it_exists():
    drawn = tune.sample_from(lambda: [np.random.rand()])
    space = DeclaredSpace({"head": tune.choice([{"name": "deep", "x": drawn}, {"name": "flat"}])})
    assert set(space.drawn_values({"head": "deep"}, (1,))) == {"head/x"}
    assert space.drawn_values({"head": "flat"}, (1,)) == {}


def test_a_sampled_configuration_can_be_given_as_a_point():
    declared = {"units": tune.choice([3, 4]), "x": tune.sample_from(DRAWN["list"])}
    assert sample_space(declared, 5) == sample_space(declared, 5)
    point = sample_space(declared, 5)
    assert DeclaredSpace(declared).fill(DeclaredSpace(declared).point_of(point)) == point
    with pytest.raises(ValueError, match=r"a value for 'x' that cannot be written down"):
        DeclaredSpace(declared).point_of({"x": object()})
