"""What a trial left changed is found, by name, and what is large or no value is not looked at."""

import dataclasses
import types

import keras
import numpy as np
import pytest

import glimr_keras as gk
from glimr_keras.executors.changed_state import Watch
from glimr_keras.models.hypermodel import FunctionHyperModel
from glimr_keras.training.messages import Change
from glimr_keras.training.trial_loop import KerasFit

SEEN, COUNT, BIG = [], 0, np.zeros(10)


class Notes:
    def __init__(self):
        self.lines = []

    def add(self, line):
        self.lines.append(line)


class Model(gk.HyperModel):
    def __init__(self):
        super().__init__()
        self.number, self.text, self.items, self.table = 0, "a", [1, [2]], {"a": {"b": 1}}
        self.seen, self.notes, self.array, self.model = {1}, Notes(), np.zeros(4), None
        self.nan, self.long = float("nan"), list(range(2000))

    def build(self, config):
        return helper(config)


def helper(config):
    return SEEN, COUNT, BIG


def build_by_helper(config):
    return [helper(config) for _ in range(2)]


def watched(hypermodel, loop=None):
    """A watch over a context, as far as it looks at one."""
    return Watch(types.SimpleNamespace(hypermodel=hypermodel, loop=loop or KerasFit()))


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("number", lambda model: setattr(model, "number", 1)),
        ("number", lambda model: setattr(model, "number", True)),
        ("text", lambda model: setattr(model, "text", "b")),
        ("items", lambda model: model.items[1].append(3)),
        ("table", lambda model: model.table["a"].update(b=2)),
        ("seen", lambda model: model.seen.add(2)),
        ("notes", lambda model: model.notes.add("x")),
        ("long", lambda model: model.long.append(1)),
        ("model", lambda model: setattr(model, "model", 3)),
    ],
)
def test_a_change_of_an_attribute_is_found(name, change):
    model = Model()
    watch = watched(model)
    assert watch.changes() == ()
    change(model)
    assert watch.changes() == (Change("Model", name, was_none=name == "model"),)


def test_arrays_models_and_new_attributes_are_not_looked_at():
    model = Model()
    model.network = keras.Sequential([keras.layers.Dense(1)])
    watch = watched(model)
    model.array[:] = 1
    model.array = np.ones(3)
    model.network = keras.Sequential([keras.layers.Dense(2)])
    model.new = 3
    del model.text
    assert watch.changes() == ()


def test_changes_of_globals_that_the_users_functions_use_are_found(monkeypatch):
    for hypermodel in (Model(), FunctionHyperModel(build_by_helper)):
        watch = watched(hypermodel)
        SEEN.append(1)
        monkeypatch.setitem(globals(), "COUNT", COUNT + 1)
        assert set(watch.changes()) == {Change("", "SEEN", False), Change("", "COUNT", False)}


def test_the_tuner_of_a_loop_is_watched():
    @dataclasses.dataclass
    class Tuner:
        _glimr: int = 0
        n: int = 0

    tuner = Tuner()
    watch = watched(Model(), types.SimpleNamespace(tuner=tuner))
    tuner.n, tuner._glimr = 1, 1
    assert watch.changes() == (Change("Tuner", "n", False),)
