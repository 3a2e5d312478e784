"""The configuration object: define-by-run, nesting, conditions, and what it says was asked for."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ray import tune

from glimr_keras.space.declared_space import DeclaredSpace
from glimr_keras.space.define_by_run import sample
from glimr_keras.space.hp_types import Choice, Condition, Float, Int
from glimr_keras.space.hyperparameters import HyperParameters

NAMES = st.lists(
    st.sampled_from(["a", "b", "c/d", "c/e", "units_0", "units_1"]), unique=True, min_size=1
)


def declared(space, values):
    """A configuration of a declared space, as a trial gets it."""
    compiled = DeclaredSpace(space)
    return HyperParameters(values, space=compiled.parameters, tree=compiled.fill(values))


# Define-by-run


def test_without_a_sampling_key_every_value_is_the_default():
    config = HyperParameters()
    assert config.Int("units", 16, 64) == 16
    assert config.Float("rate", 0.1, 1, default=0.5) == 0.5
    assert config.Choice("act", ["relu", "gelu"]) == "relu"
    assert config.Boolean("bias") is False
    assert config.Fixed("seed", 7) == 7
    assert config.values == {"units": 16, "rate": 0.5, "act": "relu", "bias": False, "seed": 7}


def test_a_known_value_is_returned():
    assert HyperParameters({"units": 32}).Int("units", 16, 64) == 32


def test_asking_again_returns_the_same_value():
    config = HyperParameters(sampling_key=(1,))
    assert config.Float("rate", 0, 1) == config.Float("rate", 0, 1)


def test_choice_of_bools_gives_bools():
    config = HyperParameters(sampling_key=(1,))
    assert {type(config.Choice(f"flag_{i}", [True, False])) for i in range(10)} == {bool}


@given(st.tuples(st.integers(0, 9), st.integers(0, 9)), NAMES, st.randoms())
@settings(deadline=None, max_examples=30)
def test_a_sampled_value_depends_on_key_and_name_only(key, names, random):
    def ask(order):
        config = HyperParameters(sampling_key=key)
        for name in order:
            config.Float(name, 0, 1)
        return config.values

    shuffled = random.sample(names, len(names))
    assert ask(names) == ask(shuffled)
    assert ask(names[:1]).items() <= ask(names).items()
    assert ask(names)[names[0]] == sample(Float(names[0], 0, 1), key)


def test_names_and_keys_are_sampled_independently():
    def drawn(key, name):
        return HyperParameters(sampling_key=key).Float(name, 0, 1)

    assert len({drawn((0,), "a"), drawn((0,), "b"), drawn((1,), "a"), drawn((0, 1), "a")}) == 4


# Nesting


def test_a_name_scope_is_a_nested_dict_and_a_path():
    config = HyperParameters()
    with config.name_scope("layer1"):
        config.Int("units", 16, 64)
        with config.name_scope("dropout"):
            config.Float("rate", 0.25, 0.5)
    assert config["layer1"] == {"units": 16, "dropout": {"rate": 0.25}}
    assert config["layer1"]["dropout"]["rate"] == config["layer1/dropout/rate"] == 0.25
    assert config.values == {"layer1/units": 16, "layer1/dropout/rate": 0.25}


def test_inside_a_scope_names_are_read_relative_to_it():
    config = HyperParameters({"a/b": 1, "b": 2})
    with config.name_scope("a"):
        assert config["b"] == 1
        assert "b" in config
    assert config["b"] == 2


def test_a_scope_ends_even_after_an_error():
    config = HyperParameters()
    with pytest.raises(RuntimeError), config.name_scope("a"):
        raise RuntimeError
    config.Int("units", 1, 2)
    assert list(config.values) == ["units"]


def test_it_is_a_mapping_over_the_nested_configuration():
    config = HyperParameters({"a/b": 1, "c": 2})
    assert dict(config) == {**config} == {"a": {"b": 1}, "c": 2}
    assert list(config) == list(config.keys()) == ["a", "c"]
    assert list(config.items()) == [("a", {"b": 1}), ("c", 2)]
    assert len(config) == 2
    assert "a/b" in config
    assert "a/c" not in config
    assert 3 not in config


def test_items_of_declared_lists_have_paths_too():
    config = declared(
        {"layers": [{"units": tune.choice([4, 8])}, {"units": 2}]}, {"layers/0/units": 8}
    )
    assert config["layers/0/units"] == config["layers"][0]["units"] == 8
    assert config["layers/1/units"] == 2


@pytest.mark.parametrize("scope_first", [False, True])
def test_a_name_can_also_be_a_scope(scope_first):
    config = HyperParameters({"optimizer": "sgd", "optimizer/rate": 0.5})
    for is_scope in (scope_first, not scope_first):
        if is_scope:
            with config.name_scope("optimizer"):
                config.Float("rate", 0, 1)
        else:
            config.Choice("optimizer", ["adam", "sgd"])
    assert config["optimizer"] == "sgd"
    assert config["optimizer/rate"] == 0.5


# Declared spaces


def test_declared_and_define_by_run_values_are_one_configuration():
    config = declared(
        {"layer1": {"units": tune.choice([4, 8]), "activation": "relu"}}, {"layer1/units": 8}
    )
    with config.name_scope("layer1"):
        config.Float("rate", 0.1, 0.5)
    assert config["layer1"] == {"units": 8, "activation": "relu", "rate": 0.1}


def test_an_option_is_shown_by_its_label_and_built_with_its_object():
    config = declared({"loss": tune.choice([dict, list])}, {"loss": "list"})
    assert config["loss"] is list
    assert config.values == {"loss": "list"}


def test_changing_what_was_read_changes_neither_the_configuration_nor_the_users_space():
    option = {"name": "mse", "kwargs": {"delta": 1}}
    config = declared(
        {"loss": tune.choice([option, None]), "fixed": {"list": [1]}}, {"loss": "mse"}
    )
    config["loss"]["kwargs"].clear()
    config["fixed"]["list"].append(2)
    assert config["loss"] == option == {"name": "mse", "kwargs": {"delta": 1}}
    assert config["fixed"]["list"] == [1]


# Conditions


def test_inside_a_conditional_scope_parameters_exist_only_where_it_holds():
    def ask(kind):
        config = HyperParameters({"kind": kind})
        config.Choice("kind", ["sgd", "adam"])
        with config.conditional_scope("kind", "sgd"):
            momentum = config.Float("momentum", 0.5, 0.9)
        with config.conditional_scope("kind", ["adam", "nadam"]):
            beta = config.Float("beta", 0.8, 0.9)
        return momentum, beta, config.is_active("momentum"), "momentum" in config

    assert ask("sgd") == (0.5, None, True, True)
    assert ask("adam") == (None, 0.8, False, False)


def test_a_parent_can_be_named_in_the_call():
    config = HyperParameters()
    config.Choice("kind", ["sgd", "adam"])
    assert config.Float("momentum", 0.5, 0.9, parent_name="kind", parent_values=["sgd"]) == 0.5
    assert config.Float("beta", 0.8, 0.9, parent_name="kind", parent_values="adam") is None


def test_conditions_nest():
    config = HyperParameters({"a": False, "b": True})
    config.Boolean("a")
    with config.conditional_scope("a", True):
        config.Boolean("b")
        with config.conditional_scope("b", True):
            assert config.Int("c", 1, 2) is None
    assert config.space[-1].conditions == (Condition("a", (True,)), Condition("b", (True,)))


def test_a_parameter_that_does_not_exist_here_is_known_but_has_no_value():
    config = HyperParameters()
    config.Boolean("a")
    config.Int("b", 1, 2, parent_name="a", parent_values=True)
    assert [parameter.name for parameter in config.space] == ["a", "b"]
    assert list(config.values) == ["a"]
    assert config.get("b", 5) == 5
    with pytest.raises(ValueError, match="Hyperparameter 'b' is currently inactive"):
        config["b"]


def test_a_conditions_parent_must_be_defined_before():
    config = HyperParameters()
    config.Int("layers", 1, 3)
    with (
        pytest.raises(ValueError, match=r"'layer' is not defined\. Did you mean 'layers'\?"),
        config.conditional_scope("layer", 1),
    ):
        pass
    with pytest.raises(ValueError, match="'kind' is not defined"):
        config.Int("units", 1, 2, parent_name="kind", parent_values=1)


def test_a_parameter_cannot_be_its_own_condition():
    config = HyperParameters()
    config.Boolean("a")
    with pytest.raises(
        ValueError, match="'a' cannot have the same name as the one that is its condition"
    ):
        config.Boolean("a", parent_name="a", parent_values=True)


# What was asked for


def test_asked_holds_exactly_what_was_asked_for_in_the_order_of_asking():
    config = HyperParameters({"layers": 1, "units_0": 8, "units_1": 16, "rate": 0.5})
    for i in range(config.Int("layers", 1, 2)):
        config.Int(f"units_{i}", 4, 16)
    assert config.asked == {"layers": 1, "units_0": 8}
    config["rate"]
    assert list(config.asked) == ["layers", "units_0", "rate"]


def test_reading_a_nested_dict_asks_for_all_of_it():
    config = HyperParameters({"a/b": 1, "a/c": 2, "ab": 3, "d": 4})
    config["a"]
    assert config.asked == {"a/b": 1, "a/c": 2}


def test_looking_whether_a_name_exists_does_not_ask_for_it():
    config = HyperParameters({"a": 1})
    assert "a" in config
    assert config.get("b", None) is None
    assert config.asked == {}


def test_a_parameter_that_does_not_exist_here_was_not_asked_for():
    config = HyperParameters({"kind": "adam", "momentum": 0.9})
    config.Choice("kind", ["sgd", "adam"])
    config.Float("momentum", 0.5, 0.9, parent_name="kind", parent_values="sgd")
    assert config.asked == {"kind": "adam"}


def test_a_declared_space_can_be_counted_as_asked_for():
    config = HyperParameters({"a": 1, "b": 2})
    config.mark_declared_as_asked(["a", "missing"])
    assert config.asked == {"a": 1}


# Copies and storage


def test_a_copy_is_independent():
    config = HyperParameters({"a": 1}, sampling_key=(4,))
    copy = config.copy()
    copy.values["a"] = 2
    copy.Int("b", 1, 9)
    assert config.values == {"a": 1}
    assert config.space == []
    assert copy.Float("c", 0, 1) == config.Float("c", 0, 1)


def test_it_comes_back_from_json():
    config = HyperParameters(sampling_key=(1,))
    config.Choice("kind", ["sgd", "adam"])
    with config.name_scope("sgd"):
        config.Float("momentum", 0.5, 0.9, step=0.1)
    with config.conditional_scope("kind", "adam"):
        config.Boolean("amsgrad")
    back = HyperParameters.from_config(json.loads(json.dumps(config.get_config())))
    assert back.values == config.values
    assert back.space == config.space


def test_repr_shows_the_values():
    assert repr(HyperParameters({"a": 1})) == "HyperParameters({'a': 1})"


# Merging and completing


def test_one_name_may_be_two_hyperparameters_in_two_branches():
    for kind, units in (("a", 1), ("b", 100)):
        config = HyperParameters({"kind": kind})
        config.Choice("kind", ["a", "b"])
        with config.conditional_scope("kind", "a"):
            small = config.Int("units", 1, 4)
        with config.conditional_scope("kind", "b"):
            large = config.Int("units", 100, 400)
        assert {small, large} == {units, None}
        assert config["units"] == units
        assert len(config.space) == 3


@pytest.mark.parametrize(("overwrite", "maximum"), [(True, 8), (False, 4)])
def test_merging_replaces_definitions_or_keeps_them_and_makes_no_duplicates(overwrite, maximum):
    config, other = HyperParameters(), HyperParameters()
    config.Int("units", 1, 4)
    other.Int("units", 2, 8)
    other.Boolean("bias")
    config.merge(other, overwrite=overwrite)
    assert [
        (parameter.name, getattr(parameter, "max_value", None)) for parameter in config.space
    ] == [
        ("units", maximum),
        ("bias", None),
    ]
    assert config.values == {"units": 2 if overwrite else 1, "bias": False}


def test_merging_takes_a_list_of_definitions_and_keeps_values_that_are_still_allowed():
    config = HyperParameters({"units": 3})
    config.merge([Int("units", 1, 4), Int("more", 5, 9, conditions=(Condition("units", (1,)),))])
    assert config.values == {"units": 3}


def test_missing_values_are_drawn_and_those_of_what_does_not_exist_go_away():
    config = HyperParameters({"kind": "a", "units": 300})
    config.merge([Choice("kind", ("a", "b")), Float("rate", 0, 1)])
    config.merge([Int("units", 100, 400, conditions=(Condition("kind", ("b",)),))], overwrite=True)
    del config.values["rate"]
    config.ensure_active_values()
    assert set(config.values) == {"kind", "rate"}


def test_a_value_beyond_the_range_becomes_the_nearest_in_a_trial():
    config = HyperParameters({"units": 100, "rate": 0.17}, sampling_key=(1,))
    assert config.Int("units", 1, 64) == 64
    assert config.Float("rate", 0, 1, step=0.1) == 0.2


# Errors


@pytest.mark.parametrize(
    "again",
    [
        lambda config: config.Int("units", 1, 8),
        lambda config: config.Float("units", 1, 4),
        lambda config: config.Int("units", 1, 8, parent_name="flag", parent_values=False),
    ],
)
def test_of_two_different_definitions_of_one_name_the_first_counts_and_both_are_shown(again):
    config = HyperParameters()
    config.Boolean("flag")
    config.Int("units", 1, 4)
    with pytest.warns(
        UserWarning,
        match=(
            r"(?s)'units' is defined twice, differently:\n  Int\(.*max_value: 4.*\n  "
            r"\w+\(name: 'units'"
        ),
    ):
        assert again(config) == 1


def test_a_definition_that_differs_from_the_declared_one_is_refused():
    config = declared({"units": tune.choice([4, 8])}, {"units": 4})
    with pytest.raises(ValueError, match=r"(?s)defined twice.*Choice.*Int\("):
        config.Int("units", 4, 8)


def test_an_unknown_name_is_answered_with_the_nearest_known_one():
    config = HyperParameters({"units": 4})
    with pytest.raises(KeyError, match=r"'unit' does not exist\. Did you mean 'units'\?"):
        config["unit"]


def test_choice_refuses_values_of_several_types():
    with pytest.raises(
        TypeError,
        match=r"only one type.* Received: values=\[1, 'a'\] with types \['int', 'str'\]",
    ):
        HyperParameters().Choice("x", [1, "a"])


def test_choice_refuses_a_single_string():
    with pytest.raises(
        TypeError, match=r"`values` must be a list or tuple\. Received: values='relu'"
    ):
        HyperParameters().Choice("act", "relu")


@given(st.integers(-5, 5), st.integers(6, 20))
@settings(deadline=None, max_examples=10)
def test_what_the_configuration_defines_is_the_parameter_with_its_full_name(low, high):
    config = HyperParameters()
    with config.name_scope("a"):
        config.Int("b", low, high)
    assert config.space == [Int("a/b", low, high)]


# KerasTuner's ways


@pytest.mark.parametrize("values", [[None, "l2"], ["l1", None, "l2"], [1, 2, None]])
def test_none_may_be_an_option_beside_others(values):
    drawn = {HyperParameters(sampling_key=(n,)).Choice("x", values) for n in range(40)}
    assert drawn == set(values)
    config = HyperParameters()
    assert config.Choice("x", values) == values[0]
    with config.conditional_scope("x", [None]):
        inside = config.Int("y", 1, 2)
    assert (inside is None) == (values[0] is not None)


def test_what_is_known_and_was_not_used_has_the_value_that_it_would_have_had():
    known = [Int("units", 1, 100), Float("rate", 0, 1, conditions=(Condition("units", (500,)),))]
    found = HyperParameters({"layers": 1}, space=known)
    assert "units" in found
    assert found.values == {"layers": 1}
    assert (found["units"], found.get("units")) == (1, 1)
    assert found.values == {"layers": 1, "units": 1}
    with pytest.raises(ValueError, match="'rate' is currently inactive"):
        found["rate"]
    assert "rate" not in found
    assert found.get("rate", 5) == 5
    with pytest.raises(KeyError, match="does not exist"):
        found["other"]
    of_trial = HyperParameters({"layers": 1}, space=known, sampling_key=(3,))
    asking = HyperParameters({"layers": 1}, sampling_key=(3,))
    assert of_trial["units"] == asking.Int("units", 1, 100)
    assert of_trial.asked == {"units": of_trial["units"]}


def test_values_that_code_writes_count_as_asked_for():
    config = HyperParameters({"given": 1, "changed": 2, "left": 3})
    config.values["changed"], config.values["new"] = 5, np.float64(0.5)
    config.Int("units", 1, 4)
    assert config.asked == {"units": 1, "changed": 5, "new": 0.5}
    assert type(config.asked["new"]) is float
    config.check_assigned()
    config.values["list"] = [1, {"a": None}]
    assert config.asked["list"] == [1, {"a": None}]
    config.values["model"] = object()
    assert "model" not in config.asked
    with pytest.raises(
        TypeError, match=r"is stored with the trial\. Received: values\['model'\] ="
    ):
        config.check_assigned()
