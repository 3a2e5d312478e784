"""Other optimizers, losses, metrics and strategies than a model was compiled with."""

import collections
import pickle
import types

import keras
import numpy as np
import pytest
import tensorflow as tf

from glimr_keras.models.build import build as model_of
from glimr_keras.models.compile_overrides import CompileOverrides, MadeAnew
from glimr_keras.models.hypermodel import as_hypermodel
from glimr_keras.space.hyperparameters import HyperParameters
from tests import tiny_models


@pytest.fixture
def model():
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(2, activation="softmax")])
    model.compile(
        keras.optimizers.SGD(0.5),
        "sparse_categorical_crossentropy",
        metrics=["accuracy"],
        loss_weights=[2.0],
        steps_per_execution=4,
        jit_compile=False,
    )
    return model


def test_nothing_given_changes_nothing(model):
    optimizer = model.optimizer
    CompileOverrides().apply(model)
    assert model.optimizer is optimizer


def test_what_is_given_wins_and_the_rest_is_kept(model):
    CompileOverrides(optimizer=keras.optimizers.Adam(0.25)).apply(model)
    assert (type(model.optimizer).__name__, float(model.optimizer.learning_rate)) == ("Adam", 0.25)
    kept = model._compile_config.config
    assert (kept["loss"], kept["metrics"], kept["loss_weights"]) == (
        "sparse_categorical_crossentropy",
        ["accuracy"],
        [2.0],
    )
    assert (model.steps_per_execution, model.jit_compile) == (4, False)


def test_losses_and_metrics_too(model):
    loss = keras.losses.SparseCategoricalCrossentropy(name="mine")
    CompileOverrides(loss=loss, metrics=["sparse_categorical_accuracy"]).apply(model)
    logs = model.fit(*tiny_models.TRAIN, verbose=0).history
    assert set(logs) == {"loss", "sparse_categorical_accuracy"}
    assert type(model.optimizer).__name__ == "SGD"


def test_each_model_has_objects_of_its_own(model):
    given = keras.optimizers.Adam(0.25)
    compile_overrides = pickle.loads(
        pickle.dumps(
            CompileOverrides(
                optimizer=given, metrics=[keras.metrics.SparseCategoricalAccuracy("a")]
            )
        )
    )
    other = keras.models.clone_model(model)
    other.compile("sgd", "sparse_categorical_crossentropy")
    for each in (model, other):
        compile_overrides.apply(each)
        each.fit(*tiny_models.TRAIN, verbose=0)
    assert model.optimizer is not other.optimizer
    assert not given.built


def test_a_model_that_is_not_compiled_is_compiled():
    bare = keras.Sequential([keras.Input((6,)), keras.layers.Dense(2)])
    CompileOverrides(optimizer="sgd", loss={"a": "mse"}.get("a")).apply(bare)
    assert bare.compiled


def test_all_devices_of_a_process_train_one_model_unless_the_script_has_a_strategy():
    def build(config):
        return tiny_models.build(config)

    def build_on_one(config):
        with tf.distribute.OneDeviceStrategy("CPU:0").scope():
            return tiny_models.build(config)

    for built, given, kind in (
        (build, None, "MirroredStrategy"),
        (build_on_one, None, "OneDeviceStrategy"),
        (build, tf.distribute.OneDeviceStrategy("CPU:0"), "OneDeviceStrategy"),
    ):
        overrides = CompileOverrides(strategy=given).over_all_gpus()
        arrived = pickle.loads(pickle.dumps(overrides))
        for _ in range(2):
            model = model_of(as_hypermodel(built), HyperParameters(), arrived)
            assert type(model._distribute_strategy).__name__ == kind
            model.fit(*tiny_models.TRAIN, batch_size=16, verbose=0)


def test_other_errors_of_build_are_the_scripts():
    def build(config):
        raise RuntimeError("no model today")

    overrides = CompileOverrides().over_all_gpus()
    with pytest.raises(RuntimeError, match="no model today"):
        model_of(as_hypermodel(build), HyperParameters(), overrides)
    assert not CompileOverrides().gives_way(RuntimeError("tf.distribute.Strategy"))


class Scaled(keras.losses.Loss):
    """With an argument that no configuration has."""

    def __init__(self, factor):
        super().__init__(name="scaled")
        self.factor = factor

    def call(self, y_true, y_pred):
        return self.factor * keras.ops.mean(y_pred, axis=-1)


def test_what_arrives_elsewhere_is_made_of_the_same(model):
    given = {
        "optimizer": keras.optimizers.Adam(0.25),
        "loss": {"a": Scaled(3.0), "b": "mse"},
        "metrics": (keras.metrics.SparseCategoricalAccuracy("mine"), ["mae"]),
        "notes": collections.defaultdict(list, b=[1]),
    }
    arrived = {name: pickle.loads(pickle.dumps(MadeAnew(value))) for name, value in given.items()}
    assert (type(arrived["optimizer"]), float(arrived["optimizer"].learning_rate)) == (
        keras.optimizers.Adam,
        0.25,
    )
    assert (arrived["loss"]["a"].factor, arrived["loss"]["b"]) == (3.0, "mse")
    assert (arrived["metrics"][0].name, arrived["metrics"][1]) == ("mine", ["mae"])
    assert (arrived["notes"], type(arrived["notes"])) == (given["notes"], collections.defaultdict)
    CompileOverrides(loss=Scaled(3.0)).apply(model)
    assert np.isfinite(model.fit(*tiny_models.TRAIN, verbose=0).history["loss"][0])


def test_what_a_tuner_lacks_or_has_empty_changes_nothing(model):
    optimizer = model.optimizer
    CompileOverrides.of(types.SimpleNamespace(metrics=[], loss="mse")).apply(model)
    kept = model._compile_config.config
    assert (kept["loss"], kept["metrics"]) == ("mse", ["accuracy"])
    assert type(model.optimizer) is type(optimizer)


@pytest.mark.parametrize("name", ["MirroredStrategy", "OneDeviceStrategy"])
def test_a_strategy_is_made_anew_where_it_arrives(name):
    import tensorflow as tf

    strategy = (
        tf.distribute.MirroredStrategy()
        if name == "MirroredStrategy"
        else tf.distribute.OneDeviceStrategy("/cpu:0")
    )
    arrived = pickle.loads(
        pickle.dumps(pickle.loads(pickle.dumps(CompileOverrides(strategy=strategy))))
    )  # also if passed on
    with arrived.scope():
        assert type(tf.distribute.get_strategy()).__name__ == name
        assert np.isfinite(
            tiny_models.compiled(
                keras.Sequential([keras.Input((6,)), keras.layers.Dense(2)])
            ).count_params()
        )
    assert tf.distribute.get_strategy() is not strategy
