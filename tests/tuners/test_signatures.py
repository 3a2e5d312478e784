"""What an editor, `help()` and `inspect.signature` show of each public tuner."""

import inspect
import re
import typing

import pytest

import glimr_keras as gk
from glimr_keras.tuners.hooks import HOOKS
from tests.tuners import tuner_arguments

PUBLIC = {
    name
    for name in gk.__all__
    if inspect.isclass(getattr(gk, name)) and issubclass(getattr(gk, name), gk.BaseTuner)
}


def described(documented):
    """The arguments that a docstring describes, by name."""
    section = re.search(
        r"\nArgs:\n(.*?)(?=\n\n\w|\Z)", inspect.cleandoc(documented), re.DOTALL
    ).group(1)
    found = re.findall(r"(?m)^    (\*{0,2}\w+): (.*\n?(?:        .*\n?)*)", section)
    return {name.lstrip("*"): " ".join(text.split()) for name, text in found}


def parameters(function):
    return {
        name: each
        for name, each in inspect.signature(function).parameters.items()
        if name not in ("self", "unrecognized")
    }


def check_defaults(documented, of_signature):
    for name, parameter in of_signature.items():
        text, default = documented[name], parameter.default
        if default is not inspect.Parameter.empty:
            assert "Defaults to " in text, name
            if repr(default) != "None":
                assert f"Defaults to `{default!r}`" in text, name


@pytest.mark.parametrize("name", sorted(PUBLIC))
class TestEverySignature:
    def test_it_is_as_the_table_of_arguments_has_it(self, name):
        _, text, wanted = tuner_arguments.written(name)
        assert text == wanted, "Run: python -m tests.tuners.tuner_arguments"

    def test_docstring_and_signature_have_the_same_arguments_and_defaults(self, name):
        kind = getattr(gk, name)
        documented, of_signature = described(kind.__doc__), parameters(kind)
        assert documented.keys() == of_signature.keys()
        check_defaults(documented, of_signature)
        assert all(each.annotation is not each.empty for each in of_signature.values())
        assert of_signature.keys() >= parameters(gk.BaseTuner).keys() - {"oracle"}

    def test_annotations_can_be_resolved(self, name):
        if name != "BayesianOptimization":  # whose samplers are imported late
            assert typing.get_type_hints(getattr(gk, name).__init__)

    def test_a_misspelled_argument_is_answered_with_the_nearest(self, name, tmp_path):
        kind = getattr(gk, name)
        first = (
            [gk.oracles.RandomSearchOracle(gk.Objective("score", "max"))]
            if "oracle" in parameters(kind)
            else []
        )
        with pytest.raises(
            ValueError,
            match=rf"Unrecognized arguments \['time_budget'\] for {name}\. "
            r"Did you mean 'time_budget_s'\?",
        ):
            kind(*first, print, directory=tmp_path, time_budget=3)

    def test_search_shows_its_arguments(self, name):
        search = getattr(gk, name).search
        of_signature = parameters(search)
        documented = described(search.__doc__)
        assert documented.keys() == of_signature.keys()
        check_defaults(documented, of_signature)


def test_the_table_has_every_public_tuner():
    assert set(tuner_arguments.KINDS) == PUBLIC


def test_search_names_what_matters_in_keras_fit():
    shown = inspect.signature(gk.BaseTuner.search)
    assert {"epochs", "batch_size", "validation_data", "validation_split", "callbacks"} < set(
        shown.parameters
    )
    assert repr(shown.parameters["epochs"].default) == "1"


def test_the_table_of_hooks_has_methods_that_exist_and_all_that_are_told():
    assert all(callable(getattr(gk.BaseTuner, name)) for name in HOOKS)
    assert {name for name in dir(gk.BaseTuner) if name.startswith("on_")} <= set(HOOKS)
