"""What a user's model may be, and how it is called in messages."""

import functools

import keras
import pytest
from ray import cloudpickle

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
        match=r"either a HyperModel or a function `build\(config\)`.*Received `hypermodel=",
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


# What is around each `build`


class Scoped(HyperModel):
    """A part of a model, under its name."""

    def _build_wrapper(self, hp, *args, **kwargs):
        with hp.name_scope(self.name):
            return super()._build_wrapper(hp, *args, **kwargs)

    def build(self, hp, inputs=None):
        return hp.Int("units", 1, 4), inputs


class Longer(Scoped):
    """Goes on from its base."""

    def build(self, hp, inputs=None):
        hp.Boolean("more")
        return super().build(hp, inputs)


class Assigned(HyperModel):
    """Has its wrapper as `build`, as KerasTuner itself has."""

    def __init__(self):
        self.build = self._build_wrapper

    def _build_wrapper(self, hp, *args, **kwargs):
        with hp.name_scope("assigned"):
            return super()._build_wrapper(hp, *args, **kwargs)

    def build(self, hp):
        return hp.Int("units", 1, 4)


class Mixed:
    """Has a `build`, and is no hypermodel."""

    def build(self, anything):
        return anything.Int("units", 1, 4)


class OfMixed(Mixed, Scoped):
    """Is one."""


def parts():
    return [Scoped("left"), Longer("right"), OfMixed("mixed"), Assigned()]


@pytest.mark.parametrize("made", [parts, lambda: cloudpickle.loads(cloudpickle.dumps(parts()))])
def test_a_wrapper_is_around_each_build_once(made):
    config = HyperParameters()
    built = [part.build(config) for part in made()]
    names = ["left/units", "right/more", "right/units", "mixed/units", "assigned/units"]
    assert list(config.values) == names
    assert built == [(1, None), (1, None), 1, 1]


def test_a_wrapper_passes_arguments_on_and_may_be_called_itself():
    config = HyperParameters()
    left = Scoped("left")
    assert left.build(config, "x") == left.build(hp=config, inputs="x") == (1, "x")
    assert left._build_wrapper(config, inputs="x") == (1, "x")
    assert OfMixed("mixed").build(anything=config) == 1
    assert list(config.values) == ["left/units", "mixed/units"]


def test_a_wrapper_is_left_again_after_an_error():
    class Failing(Scoped):
        def build(self, hp):
            hp.Int("units", 1, 4)
            raise ZeroDivisionError

    part, config = Failing("part"), HyperParameters()
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            part.build(config)
    assert list(config.values) == ["part/units"]


def test_what_is_not_tunable_is_inside_of_its_wrapper_too():
    config = HyperParameters({"left/units": 3})
    assert Scoped("left", tunable=False).build(config) == (3, None)
    assert Scoped("other", tunable=False).build(config) == (1, None)
    assert list(config.values) == ["left/units"]


class Static(HyperModel):
    @staticmethod
    def build(hp):
        return hp.Int("units", 1, 4)


class OfClass(HyperModel):
    low = 2

    @classmethod
    def build(cls, hp):
        return hp.Int("units", cls.low, 4)


class OfPart(HyperModel):
    def _build_from(self, low, hp):
        return hp.Int("units", low, 4)

    build = functools.partialmethod(_build_from, 3)


@pytest.mark.parametrize(("kind", "units"), [(Static, 1), (OfClass, 2), (OfPart, 3)])
def test_a_build_may_be_a_method_of_any_kind(kind, units):
    assert kind().build(HyperParameters()) == units
    assert kind()._build_wrapper(HyperParameters()) == units
    assert kind.__dict__["build"].__get__(kind(), kind)(hp=HyperParameters()) == units
