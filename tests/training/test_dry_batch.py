"""What one whole batch shows before a search, of every kind of data and model that trains."""

import time
import types
import warnings

import keras
import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import tensorflow as tf

import glimr_keras as gk
from glimr_keras.errors import DataError, ModelError
from glimr_keras.models.data import FitArguments
from glimr_keras.models.hypermodel import as_hypermodel
from glimr_keras.space.declared_space import DeclaredSpace
from glimr_keras.training import dry_batch
from glimr_keras.training.context import TrialContext
from glimr_keras.training.discovery import probe
from glimr_keras.training.trial_loop import loop_of
from glimr_keras.trials.objective import as_objective
from tests import tiny_models

X, Y = tiny_models.TRAIN
WINDOWS = X.reshape(64, 3, 2)
DATASET = tf.data.Dataset.from_tensor_slices((X, Y)).batch(16)
LOGGED = {"loss", "accuracy", "val_loss", "val_accuracy"}
VALIDATION = {"validation_data": tiny_models.VALIDATION}


def found_in(hypermodel, *args, objective="val_loss", **kwargs):
    made = as_hypermodel(hypermodel)
    objective, loop = as_objective(objective), loop_of(made)
    return probe(
        TrialContext(made, DeclaredSpace(None), objective, FitArguments(args, kwargs), loop=loop)
    )


def stack(*layers):
    return tiny_models.compiled(
        keras.Sequential([*layers, keras.layers.Dense(2, activation="softmax")])
    )


def stateful(config):
    return stack(
        keras.Input(batch_shape=(16, 3, 2)),
        keras.layers.GRU(config.Int("units", 2, 4), stateful=True),
    )


class ToTheBatch(keras.layers.Layer):
    """Works only with whole batches of 16."""

    def call(self, inputs):
        return keras.ops.reshape(keras.ops.reshape(inputs, (4, -1)), (16, 6))


def reshaping(config):
    config.Int("units", 2, 4)
    return stack(keras.Input((6,)), ToTheBatch())


class Sixteens(keras.utils.PyDataset):
    """Batches of 16."""

    def __len__(self):
        return 4

    def __getitem__(self, index):
        rows = slice(16 * index, 16 * index + 16)
        return X[rows], Y[rows]


class Loads(gk.HyperModel):
    """Brings a generator of batches of 16."""

    def data(self, config):
        return ((X[:16], Y[:16]) for _ in range(4)), (X[:16], Y[:16])

    def build(self, config):
        return reshaping(config)


@pytest.mark.parametrize(
    ("hypermodel", "args", "kwargs"),
    [
        (stateful, (WINDOWS, Y), {"batch_size": 16, "validation_split": 0.5}),
        (stateful, (WINDOWS, Y, 16), {"validation_split": 0.5}),
        (reshaping, (X, Y), {"steps_per_epoch": 4, **VALIDATION}),
        (reshaping, (DATASET,), {"validation_data": DATASET}),
        (reshaping, (Sixteens(),), {"validation_data": Sixteens()}),
        (Loads(), (), {}),
        (tiny_models.build, (pd.DataFrame(X), pd.Series(Y)), VALIDATION),
        (tiny_models.build, (scipy.sparse.coo_matrix(X), Y), VALIDATION),
        (tiny_models.build, (scipy.sparse.csr_array(X), Y), {"validation_split": 0.5}),
        (tiny_models.build, (tf.sparse.from_dense(X), tf.constant(Y)), VALIDATION),
        (tiny_models.build, (X, Y), {"sample_weight": np.ones(64), **VALIDATION}),
        (tiny_models.build_deferred, (pd.DataFrame(X), Y), VALIDATION),
    ],
)
def test_whatever_trains_is_looked_at(hypermodel, args, kwargs):
    found = found_in(hypermodel, *args, **kwargs)
    assert (found.error, found.remarks) == (None, ())
    assert set(found.log_directions) == LOGGED


def fitting(layers):
    return lambda config: stack(*layers)


@pytest.mark.parametrize(
    ("build", "args", "kwargs", "error", "message"),
    [
        (tiny_models.build, (X, Y[:60]), {}, DataError, "x with 64, y with 60"),
        (tiny_models.build, (X, Y), {"epochs": "5"}, DataError, "Received: epochs='5'"),
        (tiny_models.build, (X, Y), {"validation_splt": 0.2}, DataError, "'validation_split'"),
        (
            tiny_models.build,
            (X, Y),
            {"validation_data": (X[:, :5], Y)},
            DataError,
            r"`validation_data` must .* shape \(None, 5\), and for training \(None, 6\)",
        ),
        (
            tiny_models.build_deferred,
            (X, Y),
            {"validation_data": DATASET.map(lambda x, y: (x[:, :4], y))},
            DataError,
            r"shape \(None, 4\), and for training \(None, 6\)",
        ),
        (
            tiny_models.build,
            (X, Y),
            {"validation_data": DATASET.filter(lambda x, y: False)},
            DataError,
            "Data must have samples. Received: an empty tf.data.Dataset",
        ),
        (
            tiny_models.build,
            (X[:, :5], Y),
            {},
            ModelError,
            r"inputs of shape \(32, 5\), and a model with inputs of shape \(None, 6\)",
        ),
        (
            stateful,
            (WINDOWS, Y),
            {},
            ModelError,
            r"of shape \(32, 3, 2\), and a model with inputs of shape \(16, 3, 2\).* `batch_size`",
        ),
        (
            fitting([keras.layers.Reshape((7, 7))]),
            (X, Y),
            {},
            ModelError,
            r"Sequential without `keras.Input` .* inputs of shape \(None, 6\), and layers Reshape, "
            "Dense",
        ),
        (
            tiny_models.build,
            (pd.DataFrame({"a": X[:, 0], "city": ["here", "there"] * 32}), Y),
            {},
            DataError,
            "the column 'city' of type",
        ),
    ],
)
def test_what_cannot_train_is_said_before_any_trial(build, args, kwargs, error, message, project):
    tuner = gk.RayTuner(build, "loss", max_trials=2, executor="inline", **project)
    with pytest.raises(error, match=f"(?s){message}"):
        tuner.search(*args, **{"verbose": 0, **kwargs})
    assert not (project["directory"] / project["project_name"]).exists()


def test_validation_data_of_another_shape_is_taken_where_the_model_takes_it():
    def build(config):
        config.Int("units", 2, 4)
        return stack(keras.Input((None, 2)), keras.layers.GRU(2))

    found = found_in(build, WINDOWS, Y, validation_data=(WINDOWS[:, :2], Y))
    assert (found.error, found.remarks) == (None, ())
    assert set(found.log_directions) == LOGGED


class NeedsItsCallback(keras.Model):
    """Can be called only in a training that its callback began."""

    def __init__(self, units):
        super().__init__()
        self.out = keras.layers.Dense(units, activation="softmax")
        self.is_ready = False

    def call(self, inputs):
        if not self.is_ready:
            raise RuntimeError("no callback made it ready")
        return self.out(inputs)


class MakesReady(keras.callbacks.Callback):
    """Makes such a model ready."""

    def on_train_begin(self, logs=None):
        self.model.is_ready = True


def build_needing(config):
    return tiny_models.compiled(NeedsItsCallback(config.Int("units", 2, 4)))


@pytest.mark.parametrize("executor", ["ray", "inline"])
def test_where_looking_fails_the_first_trial_decides(executor, project, local_ray):
    more = {"max_concurrent_trials": 2} if executor == "ray" else {}
    tuner = gk.RayTuner(build_needing, "val_loss", 2, executor=executor, **more, **project)
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        tuner.search(X, Y, callbacks=[MakesReady()], verbose=0, **VALIDATION)
    said = [str(each.message) for each in heard if "first trial decides" in str(each.message)]
    assert len(said) == 1
    assert "no callback made it ready" in said[0]
    assert list(tuner.results_dataframe()["status"]) == ["COMPLETED"] * 2


def test_an_error_of_the_users_that_ends_the_search_ends_it():
    class Refuses(keras.Model):
        def call(self, inputs):
            raise gk.errors.FatalError("mine")

    found = found_in(lambda config: tiny_models.compiled(Refuses()), X, Y)
    assert "mine" in str(found.fatal)


def build_kinds(config):
    """A model of a dict of inputs."""
    inputs = {name: keras.Input((6,), name=name) for name in KINDS}
    joined = keras.layers.Add()(
        [keras.layers.Dense(config.Int("units", 2, 4))(each) for each in inputs.values()]
    )
    return tiny_models.compiled(
        keras.Model(inputs, keras.layers.Dense(2, activation="softmax")(joined))
    )


KINDS = {
    "array": X,
    "coo": scipy.sparse.coo_matrix(X),
    "csr": scipy.sparse.csr_array(X),
    "frame": pd.DataFrame(X),
    "sparse": tf.sparse.from_dense(X),
    "tensor": tf.constant(X),
}


def test_whatever_keras_takes_is_searched_with_and_split_side_by_side(project, local_ray):
    arguments = {"max_concurrent_trials": 2, "cv_folds": 2, **project}
    tuner = gk.RayTuner(build_kinds, "val_loss", 2, **arguments)
    tried = tuner.try_configuration({"units": 3}, KINDS, pd.Series(Y), batch_size=16, batches=1)
    assert tried.inputs == dict.fromkeys(KINDS, (None, 6))
    assert tried.outputs == (None, 2)
    tuner.search(KINDS, pd.Series(Y), batch_size=16, verbose=0)
    table = tuner.results_dataframe()
    assert list(table["status"]) == ["COMPLETED"] * 2
    assert table["score"].notna().all()


def test_models_of_a_fixed_batch_train_side_by_side(project, local_ray):
    tuner = gk.RayTuner(stateful, "val_loss", 2, max_concurrent_trials=2, **project)
    tried = tuner.try_configuration({"units": 3}, WINDOWS, Y, batch_size=16, batches=1)
    assert tried.outputs == (None, 2)
    tuner.search(WINDOWS, Y, batch_size=16, validation_split=0.5, verbose=0)
    assert list(tuner.results_dataframe()["status"]) == ["COMPLETED"] * 2
    again = gk.RayTuner(stateful, "val_loss", 3, max_concurrent_trials=2, **project)
    with pytest.raises(DataError, match=r"`epochs` must be an integer .* Received: epochs='5'"):
        again.search(WINDOWS, Y, batch_size=16, validation_split=0.5, epochs="5", verbose=0)
    assert len(again.results_dataframe()) == 2


class TrainsForEver(keras.Model):
    """Has a `fit` of its own, and cannot be evaluated."""

    def call(self, inputs):
        raise RuntimeError("not by itself")

    def fit(self, *args, **kwargs):
        raise AssertionError("it was trained before the first trial")


def test_a_fit_of_a_models_own_is_left_to_the_first_trial():
    found = found_in(lambda config: tiny_models.compiled(TrainsForEver()), X, Y)
    assert (found.error, found.log_directions) == (None, None)
    (remark,) = found.remarks
    assert "evaluating a first batch failed" in remark and "not by itself" in remark


def test_a_step_of_a_models_own_is_ended_in_time(monkeypatch):
    class Steps(keras.Sequential):
        def train_step(self, data):
            while True:
                time.sleep(0.01)

        def test_step(self, data):
            raise NotImplementedError

    monkeypatch.setattr(dry_batch, "_MAX_SECONDS", 0.5)
    started = time.monotonic()
    layers = [keras.Input((6,)), keras.layers.Dense(2)]

    def build(config):
        model = Steps(layers)
        model.compile("sgd", "mse", metrics=[keras.metrics.AUC(name="roc"), "accuracy"])
        return model

    objective = ["val_roc", "val_loss", "val_accuracy"]
    found = found_in(build, X, Y, objective=objective)
    assert (found.error, found.log_directions) == (None, None)
    assert time.monotonic() - started < 30
    (remark,) = found.remarks
    assert "was not over after 0.5 s" in remark and "its own test_step, train_step" in remark
    # its directions are those that a fast machine sees
    assert found.inferred_directions == {"val_roc": "max", "val_loss": "min", "val_accuracy": "max"}


@pytest.mark.parametrize("is_named", [True, False])
def test_inputs_are_compared_by_name(is_named):
    class Odd(keras.layers.Layer):
        def call(self, inputs):
            raise RuntimeError("only in a trial")

        def compute_output_spec(self, inputs):
            return keras.KerasTensor(inputs.shape, inputs.dtype)

    def build(config, width=3):
        a, b = keras.Input((width,), name="a"), keras.Input((2,), name="b")
        joined = Odd()(keras.layers.Concatenate()([a, b]))
        inputs = {"a": a, "b": b} if is_named else [b, a]
        return tiny_models.compiled(keras.Model(inputs, keras.layers.Dense(2)(joined)))

    data = {"a": X[:, :3], "b": X[:, :2]}
    found = found_in(build, data, Y)
    assert found.error is None
    assert "only in a trial" in found.remarks[0]
    wrong = found_in(lambda config: build(config, 4), data, Y)
    assert "inputs of shape (32, 3), (32, 2), and a model with inputs of shape (None, 4)" in (
        wrong.error
    )


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"batch_size": 16}, None),
        ({"batch_size": 9}, "training data of 64 samples in batches of 9, the last of 1"),
        ({"batch_size": 30}, None),
        (
            {"batch_size": 16, "validation_batch_size": 5},
            "validation data of 32 samples in batches",
        ),
    ],
)
def test_batches_that_jax_cannot_spread_are_refused(monkeypatch, kwargs, message):
    mesh = types.SimpleNamespace(shape=(3, 2), axis_names=("model", "batch"))
    distribution = types.SimpleNamespace(device_mesh=mesh, batch_dim_name="batch")
    monkeypatch.setattr(dry_batch.keras.distribution, "distribution", lambda: distribution)
    monkeypatch.setattr(dry_batch.keras.backend, "backend", lambda: "jax")
    arguments = FitArguments(
        tiny_models.TRAIN, {**kwargs, "validation_data": tiny_models.VALIDATION}
    )
    if message is None:
        dry_batch._check_even(arguments)
        return
    with pytest.raises(DataError, match=f"over the 2 devices of a trial. Received: {message}"):
        dry_batch._check_even(arguments)
