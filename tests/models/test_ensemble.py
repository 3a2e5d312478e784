"""One model of several."""

import keras
import numpy as np
import pytest

import glimr_keras as gk
from glimr_keras import ensemble
from glimr_keras.errors import ModelError
from tests import tiny_models


def fitted(seed, build=tiny_models.build):
    keras.utils.set_random_seed(seed)
    model = build(gk.HyperParameters())
    model.fit(*tiny_models.TRAIN, verbose=0)
    return model


@pytest.mark.parametrize(
    "build", [tiny_models.build, tiny_models.build_deferred, tiny_models.build_subclassed]
)
def test_it_is_the_mean_of_the_outputs(build):
    members = [fitted(seed, build) for seed in range(3)]
    together = ensemble(members)
    expected = np.mean([member.predict(tiny_models.X, verbose=0) for member in members], axis=0)
    assert together.predict(tiny_models.X, verbose=0) == pytest.approx(expected, abs=1e-6)


def test_it_is_compiled_like_its_members():
    members = [fitted(seed) for seed in range(2)]
    assert set(
        ensemble(members).evaluate(*tiny_models.VALIDATION, verbose=0, return_dict=True)
    ) == {"loss", "accuracy"}


def test_it_is_saved_and_loaded(tmp_path):
    together = ensemble([fitted(seed) for seed in range(2)])
    together.save(tmp_path / "ensemble.keras")
    loaded = keras.saving.load_model(tmp_path / "ensemble.keras")
    assert loaded.predict(tiny_models.X, verbose=0) == pytest.approx(
        together.predict(tiny_models.X, verbose=0), abs=1e-6
    )
    assert loaded.evaluate(*tiny_models.VALIDATION, verbose=0) == pytest.approx(
        together.evaluate(*tiny_models.VALIDATION, verbose=0)
    )


def test_outputs_may_be_nested():
    def member(factor):
        inputs = keras.Input((6,))
        outputs = {
            "a": keras.layers.Rescaling(factor)(inputs),
            "b": keras.layers.Rescaling(2 * factor)(inputs),
        }
        return keras.Model(inputs, outputs)

    outputs = ensemble([member(1.0), member(3.0)]).predict(tiny_models.X, verbose=0)
    assert outputs["a"] == pytest.approx(2 * tiny_models.X)
    assert outputs["b"] == pytest.approx(4 * tiny_models.X)


def test_a_loss_that_keras_does_not_know_leaves_it_uncompiled():
    model = fitted(0)
    model.compile("adam", lambda y, p: keras.ops.mean(p))
    assert ensemble([model]).predict(tiny_models.X, verbose=0).shape == (96, 2)


@pytest.mark.parametrize("given", [[], ["model"]])
def test_something_else_is_refused(given):
    with pytest.raises(ModelError, match=r"`ensemble` needs Keras models. Received"):
        ensemble(given)
