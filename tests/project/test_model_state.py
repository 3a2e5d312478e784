"""All that a training has beside weights is in its state, and nothing of it in the best weights."""

import threading
import warnings

import h5py
import keras
import numpy as np
import pytest

import glimr_keras as gk
from glimr_keras.errors import ModelError
from glimr_keras.project import checkpoints, model_state, model_weights
from glimr_keras.project.checkpoints import Checkpoint
from glimr_keras.project.model_state import optimizers_of
from glimr_keras.space.hyperparameters import HyperParameters
from tests import several_optimizers, tiny_models

FIT = {"shuffle": False, "verbose": 0}


def check_same(found, expected):
    for name, arrays in expected.items():
        for one, other in zip(found[name], arrays, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-7, err_msg=name)


def test_the_state_of_all_that_trains_goes_along(tmp_path):
    model = several_optimizers.trained(HyperParameters())
    model_weights.save(model, tmp_path, Checkpoint(2, has_optimizer=True))
    fresh = several_optimizers.build(HyperParameters())
    model_weights.load(fresh, tmp_path)  # warnings are errors
    check_same(fresh.state(), model.state())
    for each in (model, fresh):
        each.fit(*tiny_models.TRAIN, **FIT)
    check_same(fresh.state(), model.state())


def test_best_weights_are_weights_alone_and_are_read_without_a_warning(tmp_path):
    model = several_optimizers.trained(HyperParameters())
    model_weights.save(model, tmp_path, Checkpoint(2))
    names = []
    with h5py.File(tmp_path / checkpoints.WEIGHTS) as file:
        file.visit(names.append)
    assert not [name for name in names if "optimizer" in name or "others" in name]
    fresh = several_optimizers.build(HyperParameters())
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model_weights.load(fresh, tmp_path)
    assert [str(each.message) for each in caught if "Skipping" in str(each.message)] == []
    assert not fresh.maker_optimizer.built
    check_same({"weights": fresh.state()["weights"]}, {"weights": model.state()["weights"]})


def test_changed_learning_rates_win_over_those_of_the_state(tmp_path):
    model = several_optimizers.trained(HyperParameters())
    described = Checkpoint(2, has_optimizer=True, values={"rate": 0.01})
    model_weights.save(model, tmp_path, described)
    fresh = several_optimizers.build(HyperParameters())
    fresh.maker_optimizer.learning_rate = 0.5
    model_weights.load(fresh, tmp_path, {"rate": 0.5})
    assert float(fresh.maker_optimizer.learning_rate) == 0.5
    assert int(fresh.maker_optimizer.iterations) == int(model.maker_optimizer.iterations)


def test_optimizers_are_found_wherever_they_are():
    model = several_optimizers.build(HyperParameters())
    assert set(optimizers_of(model)) == {"/maker_optimizer", "/others/judge/0"}
    scaled = keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam())
    compiled = tiny_models.build(HyperParameters())
    compiled.compile(scaled, "sparse_categorical_crossentropy")
    assert set(optimizers_of(compiled)) == {"/optimizer", "/optimizer/inner_optimizer"}


def fine_tuned(units):
    """A model of which only the head is trained, as a `fit` of the user's own has it."""
    model = keras.Sequential(
        [keras.Input((6,)), keras.layers.Dense(units), keras.layers.Dense(2, "softmax")]
    )
    model.compile("adam", "sparse_categorical_crossentropy")
    return model


def test_an_optimizer_is_built_for_what_it_trained(tmp_path):
    model = fine_tuned(4)
    model.layers[0].trainable = False
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(*tiny_models.TRAIN, **FIT)
    model_weights.save(model, tmp_path, Checkpoint(1, has_optimizer=True))
    fresh = fine_tuned(4)
    model_weights.load(fresh, tmp_path)
    assert len(fresh.optimizer.variables) == len(model.optimizer.variables)
    assert int(fresh.optimizer.iterations) == int(model.optimizer.iterations) > 0


def test_a_loss_scale_goes_along(tmp_path):
    def scaled():
        model = tiny_models.build(HyperParameters())
        adam = keras.optimizers.Adam(0.01)
        model.compile(
            keras.optimizers.LossScaleOptimizer(adam, initial_scale=8.0, dynamic_growth_steps=1),
            "sparse_categorical_crossentropy",
        )
        return model

    model = scaled()
    model.fit(*tiny_models.TRAIN, **FIT)
    model_weights.save(model, tmp_path, Checkpoint(1, has_optimizer=True))
    fresh = scaled()
    model_weights.load(fresh, tmp_path)
    assert float(fresh.optimizer.dynamic_scale) == float(model.optimizer.dynamic_scale) != 8.0
    for one, other in zip(fresh.optimizer.variables, model.optimizer.variables, strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy())


def test_variables_of_tensorflow_go_along(tmp_path):
    import tensorflow as tf

    model, fresh = (tiny_models.build(HyperParameters()) for _ in range(2))
    model.counter, fresh.counter = tf.Variable(3), tf.Variable(0)
    model_weights.save(model, tmp_path, Checkpoint(1, has_optimizer=True))
    model_weights.load(fresh, tmp_path)
    assert int(fresh.counter) == 3


def test_what_the_model_has_no_more_is_named(tmp_path):
    model = tiny_models.build(HyperParameters())
    model.holder = several_optimizers.Average([keras.Variable(1.0)])
    model_weights.save(model, tmp_path, Checkpoint(1, has_optimizer=True))
    fresh = tiny_models.build(HyperParameters())
    with pytest.warns(UserWarning, match=r"a model without '/holder/shadow/0', or with"):
        model_weights.load(fresh, tmp_path)
    late = {}
    model_weights.load(fresh, tmp_path, late=late)
    fresh.holder = several_optimizers.Average([keras.Variable(0.0)])
    model_weights.load_late(fresh, late)
    assert float(fresh.holder.shadow["0"]) == 1.0 and not late


class GoesOn(gk.HyperModel):
    """Says of each training how its optimizers began."""

    def build(self, config):
        return several_optimizers.build(config)

    def fit(self, config, model, *args, initial_epoch=0, **kwargs):
        steps = initial_epoch * 2
        (judge,) = model.others["judge"]
        found = (int(model.maker_optimizer.iterations), int(judge.iterations))
        if found != (steps, steps) or float(model.steps_seen.result()) != steps:
            raise RuntimeError(f"began at epoch {initial_epoch} with {found} steps")
        return model.fit(*args, initial_epoch=initial_epoch, **kwargs)


@pytest.mark.filterwarnings("ignore::DeprecationWarning:ray.*")
def test_promoted_trainings_go_on_with_all_optimizers(local_ray, project):
    tuner = gk.Hyperband(
        GoesOn(),
        "val_loss",
        max_epochs=4,
        factor=2,
        seed=0,
        max_trials=6,
        max_concurrent_trials=2,
        **project,
    )
    fit = {"validation_data": tiny_models.VALIDATION, "verbose": 0}
    tuner.search(*tiny_models.TRAIN, **fit)
    trials = tuner._glimr.read().trials.values()
    assert [trial.message for trial in trials] == [None] * 6
    assert any(trial.values["tuner/initial_epoch"] > 0 for trial in trials)
    tuner.get_best_models()


def dropping(rate):
    model = keras.Sequential(
        [keras.Input((6,)), keras.layers.Dropout(rate), keras.layers.Dense(2, "softmax")]
    )
    model.compile("adam", "sparse_categorical_crossentropy", run_eagerly=True)
    return model


@pytest.mark.parametrize(("before", "now"), [(0.3, 0.0), (0.0, 0.3)])
def test_a_rate_of_zero_needs_no_seed(tmp_path, before, now):
    model = dropping(before)
    model.fit(*tiny_models.TRAIN, **FIT)
    described = Checkpoint(1, has_optimizer=True, values={"rate": before})
    model_weights.save(model, tmp_path, described)
    fresh = dropping(now)
    model_weights.load(fresh, tmp_path, {"rate": now})  # warnings are errors
    check_same({"weights": fresh.get_weights()}, {"weights": model.get_weights()})
    assert int(fresh.optimizer.iterations) == int(model.optimizer.iterations)


def test_another_shape_is_refused_but_in_another_configuration(tmp_path):
    model, fresh = (tiny_models.build(HyperParameters()) for _ in range(2))
    model.holder = several_optimizers.Average([keras.Variable([1.0, 2.0])])
    fresh.holder = several_optimizers.Average([keras.Variable(1.0)])
    described = Checkpoint(1, has_optimizer=True, values={"size": 2})
    model_weights.save(model, tmp_path, described)
    with pytest.raises(ModelError, match=r"'/holder/shadow/0' must have the shape .* \(2,\)"):
        model_weights.load(fresh, tmp_path, {"size": 2})
    with pytest.warns(UserWarning, match=r"a model without '/holder/shadow/0', or with another"):
        model_weights.load(fresh, tmp_path, {"size": 1})


class Unreadable:
    """Is not to be looked at."""

    @property
    def __dict__(self):
        raise AssertionError("what holds no state was looked at")


def test_much_data_in_a_model_is_not_walked_through(monkeypatch):
    looked_at = []
    known = model_state._children
    monkeypatch.setattr(
        model_state, "_children", lambda value: looked_at.append(value) or known(value)
    )
    model = several_optimizers.build(HyperParameters())
    expected = [path for path, _ in model_state._parts(model)]
    usual = len(looked_at)
    model.embeddings = {str(word): [0.5] * 300 for word in range(9000)}
    model.names, model.table = ["a"] * 500, np.zeros((100, 100))
    looked_at.clear()
    assert [path for path, _ in model_state._parts(model)] == expected
    assert len(looked_at) < usual + 10_000
    assert not any(isinstance(each, (str, float, np.ndarray)) for each in looked_at)


def test_a_save_without_state_looks_at_keras_objects_only(tmp_path):
    model = tiny_models.build(HyperParameters())
    model.reader = several_optimizers.Average([])
    model.reader.other = Unreadable()
    model.others = {"judge": [keras.optimizers.SGD()]}
    assert set(optimizers_of(model, is_deep=False)) == {"/optimizer", "/others/judge/0"}
    model_weights.save(model, tmp_path, Checkpoint(1))


def test_a_thread_may_change_what_a_model_holds():
    model = tiny_models.build(HyperParameters())
    model.reader = several_optimizers.Average([])
    model.reader.queue, ends = {}, threading.Event()

    def change():
        number = 0
        while not ends.is_set():
            number += 1
            model.reader.queue[number % 500] = number
            model.reader.queue.pop((number * 7) % 500, None)

    thread = threading.Thread(target=change)
    thread.start()
    try:
        for _ in range(200):
            optimizers_of(model)
    finally:
        ends.set()
        thread.join()
