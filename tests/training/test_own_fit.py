"""A `fit` of the user's own is looked at for seconds, however long it trains."""

import bdb
import contextlib
import io
import pdb
import sys
import time

import keras
import pandas as pd
import pytest
import tensorflow as tf

import glimr_keras as gk
from glimr_keras.errors import DataError
from glimr_keras.models.data import FitArguments
from glimr_keras.models.hypermodel import as_hypermodel
from glimr_keras.space.declared_space import DeclaredSpace
from glimr_keras.training import own_fit
from glimr_keras.training.context import TrialContext
from glimr_keras.training.discovery import probe
from glimr_keras.training.trial_loop import loop_of
from tests import tiny_models


def found_in(hypermodel, *args, **kwargs):
    made = as_hypermodel(hypermodel)
    arguments = FitArguments(args or tiny_models.TRAIN, kwargs)
    return probe(
        TrialContext(
            made, DeclaredSpace(None), gk.Objective("loss", "min"), arguments, loop=loop_of(made)
        )
    )


class Loops(gk.HyperModel):
    """Trains by itself, for a minute, with one hyperparameter before and one behind."""

    fits = 0

    def build(self, config):
        return tiny_models.build(config)

    def fit(self, config, model, x, y, **kwargs):
        Loops.fits += 1
        config.Choice("before", [1, 2])
        end = time.monotonic() + 60
        while time.monotonic() < end:
            self.step(model, x, y)
        config.Choice("behind", [1, 2])
        return 0.5

    def step(self, model, x, y):
        """Anything but Keras' own training."""


class Swallows(Loops):
    def step(self, model, x, y):
        with contextlib.suppress(Exception):
            sum(range(1000))


class Clones(Loops):
    """Trains a copy of the model, and for ever."""

    def step(self, model, x, y):
        copy = keras.models.clone_model(model)
        copy.compile("sgd", "sparse_categorical_crossentropy")
        copy.fit(x, y, epochs=10**6, verbose=0)


@pytest.mark.parametrize("kind", [Loops, Swallows, Clones])
def test_a_training_that_goes_on_is_ended_and_not_looked_at_again(kind, monkeypatch):
    monkeypatch.setattr(own_fit, "_MAX_SECONDS", 0.5)
    Loops.fits, started = 0, time.monotonic()
    found = found_in(kind())
    assert time.monotonic() - started < 30
    assert found.error is None
    assert {parameter.name for parameter in found.parameters} == {
        "units",
        "learning_rate",
        "before",
    }
    assert not found.is_complete
    assert Loops.fits == 1


def test_looks_share_their_time(monkeypatch):
    class Slow(Loops):
        def fit(self, config, model, x, y, **kwargs):
            Loops.fits += 1
            config.Choice("option", list(range(30)))
            time.sleep(0.2)

    monkeypatch.setattr(own_fit, "_MAX_SECONDS", 0.5)
    Loops.fits = 0
    found = found_in(Slow())
    assert "option" in {parameter.name for parameter in found.parameters}
    assert 1 < Loops.fits <= 4


class PassesOn(gk.HyperModel):
    """Passes on what it is given, with numbers of its own."""

    def build(self, config):
        return tiny_models.build(config)

    def fit(self, config, model, *args, **kwargs):
        return model.fit(*args, epochs=0, batch_size=config.Choice("size", [8, 16]), **kwargs)


def test_what_it_passes_on_to_keras_is_looked_at():
    x, y = tiny_models.TRAIN
    for args, kwargs, message in (
        ((x, y[:9]), {}, "x with 64, y with 9"),
        ((x, y), {"validation_splt": 0.2}, "Did you mean 'validation_split'"),
        ((pd.DataFrame({"city": ["here"] * 64}), y), {}, "the column 'city'"),
    ):
        found = found_in(PassesOn(), *args, **kwargs)
        assert isinstance(found.fatal, DataError)
        assert message in str(found.fatal)
    assert found_in(PassesOn()).error is None  # it may want no epoch


class OptimizesByItself(PassesOn):
    """Has a model whose `optimizer` is none of Keras'."""

    def build(self, config):
        model = keras.Sequential([keras.layers.Dense(1)])
        model.optimizer = "by hand"
        return model

    def fit(self, config, model, *args, **kwargs):
        return config.Float("result", 0, 1)


def test_an_optimizer_that_is_none_of_keras_is_left_alone():
    found = found_in(OptimizesByItself())
    assert found.error is None
    assert [parameter.name for parameter in found.parameters] == ["result"]


class TrainsWithATape(gk.HyperModel):
    """Says when it is called; the first time, which is the look, it would train for minutes."""

    def __init__(self, place):
        super().__init__()
        self.place = place

    def build(self, config):
        return tiny_models.build(config)

    def fit(self, config, model, x, y, **kwargs):
        before = config.Choice("before", [1, 2])
        seen = sorted(self.place.glob("fit-*"))
        (self.place / f"fit-{time.time():.3f}").touch()
        optimizer, end = keras.optimizers.SGD(0.1), time.monotonic() + (0.2 if seen else 300)
        loss = tf.constant(0.0)
        while time.monotonic() < end:
            with tf.GradientTape() as tape:
                wrong = keras.losses.sparse_categorical_crossentropy(y, model(x))
                loss = tf.reduce_mean(wrong)
            weights = model.trainable_weights
            optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
        behind = config.Choice("behind", [1, 2])
        return {"loss": float(loss) + before + behind}


@pytest.mark.parametrize("executor", ["ray", "inline"])
def test_the_first_trial_is_the_look(executor, tmp_path, project, local_ray):
    arguments = {"max_concurrent_trials": 2} if executor == "ray" else {}
    tuner = gk.RayTuner(
        TrainsWithATape(tmp_path),
        gk.Objective("loss", "min"),
        max_trials=3,
        executor=executor,
        **arguments,
        **project,
    )
    tuner.search(*tiny_models.TRAIN, verbose=0)
    first, *trials = sorted(float(path.name[4:]) for path in tmp_path.glob("fit-*"))
    assert len(trials) == 3
    assert trials[0] - first < 60
    table = tuner.results_dataframe()
    assert list(table["status"]) == ["COMPLETED"] * 3
    assert {"before", "behind"} <= set(table.columns)
    names = {parameter.name for parameter in tuner.oracle.get_space().space}
    assert {"before", "behind", "units"} <= names


class Debugs(PassesOn):
    """Stops where it is debugged."""

    def fit(self, config, model, x, y, callbacks=None):
        breakpoint()
        pdb.Pdb().set_trace()
        return model.fit(x, y, batch_size=config.Choice("size", [8, 16]), callbacks=callbacks)


def test_a_look_stops_at_no_breakpoint(monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))  # at which a debugger ends the process
    before, started = sys.breakpointhook, time.monotonic()
    found = found_in(Debugs())
    assert "size" in {parameter.name for parameter in found.parameters}  # `verbose` is not passed
    assert time.monotonic() - started < 30
    assert sys.breakpointhook is before
    assert "set_trace" in vars(bdb.Bdb)
    assert pdb.Pdb.set_trace is bdb.Bdb.set_trace
