"""What a user's model may be, and how it is called in messages."""

import functools

import keras
import pytest

from glimr_keras.errors import ModelError
from glimr_keras.models.hypermodel import (
    FunctionHyperModel,
    HyperModel,
    as_hypermodel,
    method_name,
    overrides,
)
from glimr_keras.space.hyperparameters import HyperParameters


def build(config):
    return config.Int("units", 4, 8)


class Digits(HyperModel):
    """Without a constructor that calls the base's."""

    def __init__(self, scale):
        self.scale = scale

    def build(self, config):
        return build(config) * self.scale


class Recorder:
    """A model that says how `fit` was called."""

    def fit(self, *args, **kwargs):
        return args, kwargs


@pytest.mark.parametrize(
    "model",
    [keras.Sequential([keras.layers.Dense(1)], name="mine"), keras.layers.Dense(1, name="mine")],
)
def test_a_model_in_the_place_of_a_function_is_refused(model):
    with pytest.raises(
        ModelError,
        match=(
            r"`hypermodel` argument should be either a HyperModel or a function .*Received a "
            r"model: \w+ 'mine'\. Put the code that makes and compiles it into a function"
        ),
    ):
        as_hypermodel(model)


def test_an_instance_is_used_as_it_is():
    hypermodel = Digits(2)
    assert as_hypermodel(hypermodel) is hypermodel
    assert hypermodel.build(HyperParameters()) == 8


@pytest.mark.parametrize(
    "function",
    [build, lambda config: config.Int("units", 4, 8), functools.partial(build), Digits(1).build],
)
def test_a_function_becomes_a_hypermodel(function):
    hypermodel = as_hypermodel(function)
    assert isinstance(hypermodel, HyperModel)
    assert hypermodel.build(HyperParameters()) == 4


def test_a_class_is_refused_with_how_to_make_an_instance():
    with pytest.raises(
        ModelError, match=r"must be an instance\. Received the class Digits; pass `Digits\(\)`"
    ):
        as_hypermodel(Digits)


@pytest.mark.parametrize("wrong", [None, 3, "model", keras.Sequential])
def test_anything_else_is_refused_with_what_was_received(wrong):
    with pytest.raises(
        ModelError,
        match=r"either a HyperModel or a function `build\(config\)`.*Received: hypermodel=",
    ):
        as_hypermodel(wrong)


def test_build_must_be_overridden():
    with pytest.raises(NotImplementedError, match=r"HyperModel must override `build\(config\)`"):
        HyperModel().build(HyperParameters())


def test_data_is_optional_and_says_so():
    with pytest.raises(NotImplementedError, match=r"Digits does not override `data\(config\)`"):
        Digits(1).data(HyperParameters())


def test_there_is_no_declared_space_unless_one_is_given():
    assert Digits(1).space() is None


def test_fit_passes_everything_on_to_the_model():
    assert Digits(1).fit(HyperParameters(), Recorder(), 1, 2, epochs=3) == ((1, 2), {"epochs": 3})


def test_overrides_tells_the_users_methods_from_the_bases():
    assert overrides(Digits(1), "build")
    assert not overrides(Digits(1), "data")
    assert overrides(FunctionHyperModel(build), "build")
    assert not overrides(FunctionHyperModel(build), "fit")


def test_a_method_is_called_by_the_name_that_the_user_gave_it():
    assert method_name(Digits(1), "data") == "`Digits.data(config)`"
    assert method_name(FunctionHyperModel(build), "build") == "`build(config)`"
    assert repr(FunctionHyperModel(build)) == "FunctionHyperModel(build)"
