"""What a trial left changed is found, by name, and what is large or no value is not looked at."""

import dataclasses
import time
import types

import keras
import numpy as np
import pytest

import glimr_keras as gk
from glimr_keras.executors.changed_state import Watch
from glimr_keras.models.data import FitArguments
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
        self.arrays, self.order = {"a": np.zeros(2)}, np.arange(9)
        self.nan, self.long = float("nan"), list(range(2000))

    def build(self, config):
        return helper(config)


def helper(config):
    return SEEN, COUNT, BIG


def build_by_helper(config):
    return [helper(config) for _ in range(2)]


class Losses(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.losses, self.best = [], keras.callbacks.ModelCheckpoint("best.keras")

    def on_epoch_end(self, epoch, logs=None):
        self.losses.append(logs["loss"])


class Patient(keras.callbacks.EarlyStopping):
    def on_train_begin(self, logs=None):
        super().on_train_begin(logs)


class Data(keras.utils.PyDataset):
    def __init__(self):
        super().__init__()
        self.epoch, self.samples = 0, np.zeros(4)

    def on_epoch_end(self):
        self.epoch += 1


class Unspeakable:
    def __repr__(self):
        raise RuntimeError("no name")


def watched(hypermodel, loop=None, *args, **kwargs):
    """A watch over a context, as far as it looks at one."""
    arguments = FitArguments(args, kwargs)
    context = types.SimpleNamespace(hypermodel=hypermodel, loop=loop or KerasFit())
    context.arguments = arguments
    return Watch(context)


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
        ("array", lambda model: np.add(model.array, 1, out=model.array)),
        ("arrays", lambda model: model.arrays["a"].fill(1)),
    ],
)
def test_a_change_of_an_attribute_is_found(name, change):
    model = Model()
    watch = watched(model)
    assert watch.changes() == ()
    change(model)
    assert watch.changes() == (Change("Model", name, was_none=name == "model"),)


def test_models_and_what_is_new_are_not_looked_at():
    model = Model()
    model.network = keras.Sequential([keras.layers.Dense(1)])
    watch = watched(model)
    model.array = np.ones(3)
    np.random.default_rng(0).shuffle(model.order)
    assert list(model.order) != list(range(9))
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


def test_callbacks_of_the_users_are_looked_at_but_not_what_training_gives_them():
    model = Model()
    model.losses, model.patient = Losses(), Patient()
    model.layer = keras.layers.Dense(1)
    watch = watched(model)
    network = keras.Sequential([keras.layers.Dense(1)])
    for each in (model.losses, model.patient):
        each.set_model(network)
        each.set_params({"epochs": 3})
    model.patient.wait, model.losses.best.epochs_since_last_save = 3, 3
    model.layer.build((None, 2))
    assert watch.changes() == ()
    model.losses.on_epoch_end(0, {"loss": 1.0})
    assert watch.changes() == (Change("Model", "losses", False),)


def test_objects_that_fit_is_given_are_looked_at():
    data, callback = Data(), Losses()
    watch = watched(Model(), None, data, np.zeros(3), validation_data=[data], callbacks=[callback])
    callback.on_epoch_end(0, {"loss": 1.0})
    assert watch.changes() == ()
    data.on_epoch_end()
    assert set(watch.changes()) == {Change("Data", "epoch", False)}


def test_what_cannot_be_looked_at_is_not():
    model = Model()
    model.table = {Unspeakable(): 1}
    model.others = {Unspeakable()} | {1}
    watch = watched(model)
    model.number = 1
    assert watch.changes() == (Change("Model", "number", False),)


class Shy:
    """Can be looked at from the second time on."""

    looks = 0

    def __repr__(self):
        self.looks += 1
        if self.looks == 1:
            raise RuntimeError("not yet")
        return "shy"


class Incomparable(str):
    __slots__ = ()
    __hash__ = str.__hash__

    def __eq__(self, other):
        raise RuntimeError("like nothing else")


def test_a_look_that_fails_once_is_no_change():
    model = Model()
    model.table, model.text = {Shy(): 1}, Incomparable("a")
    watch = watched(model)
    model.number, model.text = 1, Incomparable("b")
    assert watch.changes() == (Change("Model", "number", False),)


def test_the_look_is_bounded_in_all():
    model = Model()
    row = [[0] * 900] * 900
    model.many = [row] * 900
    model.last = [1, 2]
    started = time.monotonic()
    watch = watched(model)
    model.number = 1
    model.seen |= set(range(2, 900))
    assert watch.changes() == (Change("Model", "number", False), Change("Model", "seen", False))
    assert time.monotonic() - started < 2
    model.last.append(3)
    assert Change("Model", "last", False) in watch.changes()  # of which the length is known
