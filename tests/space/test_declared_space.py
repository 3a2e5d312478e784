"""Declared spaces: every `ray.tune` domain keeps Ray's meaning, any object can be an option, the
user's dict stays as it is.
"""

import functools
import json
import math
import re

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ray import tune

from glimr_keras.models.configuration import configuration
from glimr_keras.space.declared_space import DeclaredSpace, prune_search, sample_space
from glimr_keras.space.hp_types import Choice, Condition, Float, Int, deserialize, serialize
from glimr_keras.space.ray_kinds import ObjectChoice, RayDomain

SEEDS = range(300)


def parameter_of(domain):
    """The parameter that a domain is compiled to."""
    return DeclaredSpace({"x": domain}).parameters[0]


def drawn(domain):
    return {parameter_of(domain).random_sample(seed) for seed in SEEDS}


def drawn_by_ray(domain):
    return {
        np.asarray(domain.sample(random_state=np.random.default_rng(seed))).item() for seed in SEEDS
    }


def is_multiple(value, q):
    return math.isclose(value / q, round(value / q), abs_tol=1e-6)


# Numbers


@pytest.mark.parametrize(
    ("domain", "kind"),
    [
        (tune.uniform(-1, 2), Float),
        (tune.loguniform(1e-4, 1e-1), Float),
        (tune.randint(-3, 4), Int),
        (tune.lograndint(1, 9), Int),
        (tune.quniform(0.1, 1.0, 0.1), RayDomain),
        (tune.qloguniform(0.01, 1.0, 0.01), RayDomain),
        (tune.randn(3, 0.5), RayDomain),
        (tune.qrandn(3, 0.5, 0.25), RayDomain),
        (tune.qrandint(5, 50, 10), Int),
        (tune.qlograndint(5, 100, 5), RayDomain),
    ],
)
def test_a_numeric_domain_becomes_its_twin_or_stays_rays_own(domain, kind):
    assert type(parameter_of(domain)) is kind


@pytest.mark.parametrize(
    "domain",
    [tune.randint(-3, 4), tune.lograndint(1, 9), tune.qrandint(5, 50, 10), tune.qrandint(1, 4)],
)
def test_an_integer_domain_has_the_same_values_as_in_ray(domain):
    assert drawn(domain) == drawn_by_ray(domain)
    assert {type(value) for value in drawn(domain)} == {int}


@pytest.mark.parametrize(
    ("domain", "allowed"),
    [
        (tune.uniform(-1, 2), lambda value: -1 <= value < 2),
        (tune.loguniform(1e-4, 1e-1), lambda value: 1e-4 <= value < 1e-1),
        (
            tune.quniform(0.1, 1.0, 0.1),
            lambda value: 0.1 - 1e-9 <= value <= 1 + 1e-9 and is_multiple(value, 0.1),
        ),
        (
            tune.qloguniform(0.01, 1.0, 0.01),
            lambda value: 0.01 - 1e-9 <= value <= 1 + 1e-9 and is_multiple(value, 0.01),
        ),
        (tune.randn(3, 0.5), lambda value: 0 < value < 6),
        (tune.qrandn(3, 0.5, 0.25), lambda value: 0 < value < 6 and is_multiple(value, 0.25)),
        (tune.qlograndint(5, 100, 5), lambda value: 5 <= value <= 100 and value % 5 == 0),
    ],
)
def test_a_real_domain_is_sampled_as_ray_does(domain, allowed):
    ours, rays = drawn(domain), drawn_by_ray(domain)
    assert all(map(allowed, ours | rays))
    assert np.median(list(ours)) == pytest.approx(np.median(list(rays)), rel=0.5)
    assert all(type(value) in (int, float) for value in ours)


def test_a_domain_of_rays_own_can_be_stored_and_says_so_when_it_cannot_be_sampled():
    parameter = parameter_of(tune.qlograndint(5, 50, 10))
    back = deserialize(json.loads(json.dumps(serialize(parameter))))
    assert back == parameter
    assert parameter.default_value in range(10, 51, 10)
    with pytest.raises(
        ValueError, match="'x' was read from a project and cannot be sampled without its space"
    ):
        back.random_sample(0)


def test_domains_of_rays_own_are_equal_where_their_numbers_are():
    assert parameter_of(tune.qrandint(5, 50, 10)) == parameter_of(tune.qrandint(5, 50, 10))
    others = [
        tune.qrandint(5, 50, 5),
        tune.qrandint(5, 60, 10),
        tune.qlograndint(5, 50, 10),
        tune.randn(1, 2),
        tune.randn(1, 3),
    ]
    assert len({parameter_of(domain) for domain in [tune.qrandint(5, 50, 10), *others]}) == 6


# Choices


def function():
    """An option."""


class Instance:
    """An option whose `repr` has an address."""


@pytest.mark.parametrize("declare", [tune.choice, tune.grid_search])
def test_options_that_are_scalars_are_a_choice(declare):
    assert parameter_of(declare([True, False])) == Choice("x", (True, False), ordered=False)
    assert parameter_of(declare([1, 2, 4])).ordered
    assert parameter_of(declare(["a", None])).values == ["a", None]
    assert parameter_of(declare([1, True])).values == [1, True]


@pytest.mark.parametrize(
    ("option", "label"),
    [
        (dict, "dict"),
        (keras.losses.MeanSquaredError, "MeanSquaredError"),
        (function, "function"),
        (len, "len"),
        ({"name": "cox", "loss": function}, "cox"),
        ([1, 2], "[1, 2]"),
        ((3, 3), "(3, 3)"),
        (None, "None"),
        (Instance(), "Instance"),
    ],
)
def test_an_option_can_be_any_object_and_has_a_readable_label(option, label):
    space = DeclaredSpace({"x": tune.choice([option, Ellipsis])})
    parameter = space.parameters[0]
    assert parameter.values == [label, "Ellipsis"]
    assert space.fill({"x": label})["x"] is option
    assert {type(parameter.random_sample(seed)) for seed in SEEDS} == {str}
    assert deserialize(json.loads(json.dumps(serialize(parameter)))) == parameter


def test_options_with_the_same_label_are_told_apart():
    one, two = {"name": "adam", "rate": 1}, {"name": "adam", "rate": 2}
    space = DeclaredSpace({"x": tune.choice([one, two])})
    assert space.parameters[0].values == ["adam", "adam #2"]
    assert space.fill({"x": "adam #2"})["x"] is two


def test_labels_are_always_different():
    names = ["x", "x #3", "x"]
    assert len(set(parameter_of(tune.choice([{"name": name} for name in names])).values)) == 3


@pytest.mark.parametrize(
    "option", [functools.partial(function), {"loss": function}, [function], keras.losses.Huber()]
)
def test_a_label_is_the_same_in_every_process(option):
    assert " at 0x" not in parameter_of(tune.choice([option, None])).values[0]


def test_a_text_among_objects_is_its_own_label():
    assert parameter_of(tune.choice(["relu", function])).values[0] == "relu"


@pytest.mark.parametrize("option", [{0: 1.0, 1: 2.0}, {"a/b": 1}])
def test_a_dict_that_is_an_option_can_have_any_keys(option):
    space = DeclaredSpace({"class_weight": tune.choice([None, option])})
    assert space.fill({"class_weight": space.parameters[0].values[1]})["class_weight"] == option


LOSSES = {
    "task": {
        "loss": tune.choice(
            [
                {"name": "smooth", "kwargs": {"smoothing": tune.uniform(0, 0.2), "axis": -1}},
                {
                    "name": "focal",
                    "kwargs": {"gamma": tune.choice([1, 2]), "smoothing": tune.uniform(0.5, 0.6)},
                },
                None,
            ]
        )
    }
}


def test_domains_in_an_option_exist_where_it_is_chosen():
    space = DeclaredSpace(LOSSES)
    chosen = {label: (Condition("task/loss", (label,)),) for label in ("smooth", "focal")}
    assert [(parameter.name, parameter.conditions) for parameter in space.parameters] == [
        ("task/loss", ()),
        ("task/loss/kwargs/smoothing", chosen["smooth"]),
        ("task/loss/kwargs/gamma", chosen["focal"]),
        ("task/loss/kwargs/smoothing", chosen["focal"]),
    ]
    values = {"task/loss": "focal", "task/loss/kwargs/gamma": 2, "task/loss/kwargs/smoothing": 0.55}
    assert space.fill(values) == {
        "task": {"loss": {"name": "focal", "kwargs": {"gamma": 2, "smoothing": 0.55}}}
    }
    assert space.fill({"task/loss": "None"}) == {"task": {"loss": None}}


def test_a_configuration_of_a_conditional_space_has_only_what_it_uses():
    for seed in range(20):
        config = configuration(DeclaredSpace(LOSSES), {}, (seed,))
        loss = config["task"]["loss"]
        expected = {"task/loss"} | (
            {f"task/loss/kwargs/{name}" for name in loss["kwargs"]} - {"task/loss/kwargs/axis"}
            if loss
            else set()
        )
        assert set(config.asked) == expected
        if loss:
            assert config["task/loss/kwargs/smoothing"] == loss["kwargs"]["smoothing"]


def test_conditions_nest_and_derive():
    inner = {
        "name": "in",
        "x": tune.choice([{"name": "deep", "y": tune.randint(1, 4)}, 7]),
        "z": tune.sample_from(lambda c: c["k"]),
    }
    space = DeclaredSpace({"k": 5, "a": tune.choice([inner, 0])})
    assert [len(parameter.conditions) for parameter in space.parameters] == [0, 1, 2]
    assert space.fill({"a": "in", "a/x": "deep", "a/x/y": 3}) == {
        "k": 5,
        "a": {"name": "in", "x": {"name": "deep", "y": 3}, "z": 5},
    }
    assert space.fill({"a": "0"}) == {"k": 5, "a": 0}


@pytest.mark.parametrize("seed", range(5))
def test_sampling_a_space_gives_one_of_its_configurations(seed):
    sampled = sample_space({**LOSSES, "n": tune.randint(1, 9)}, seed)
    assert sampled == sample_space({**LOSSES, "n": tune.randint(1, 9)}, seed)
    assert DeclaredSpace(sampled).parameters == []
    assert sampled["n"] in range(1, 9)


def test_pruning_leaves_what_is_searched():
    rate, units = tune.loguniform(1e-4, 1e-1), tune.choice([4, 8])
    space = {
        "epochs": 10,
        "optimization": {"rate": rate, "method": "adam"},
        "layers": [units],
        "fixed": {"a": 1},
        "units": units,
        "grid": {"grid_search": [1, 2]},
    }
    assert prune_search(space) == {"optimization": {"rate": rate}, "units": units, "grid": [1, 2]}


@pytest.mark.parametrize(
    "domain",
    [
        tune.randn(3, 0.5),
        tune.qrandn(3, 0.5, 0.25),
        tune.quniform(0.1, 1.0, 0.1),
        tune.qloguniform(0.01, 1.0, 0.01),
        tune.qlograndint(5, 100, 5),
        tune.qrandint(5, 50, 10),
    ],
)
def test_a_domains_values_come_back_from_their_probability(domain):
    parameter = parameter_of(domain)
    for seed in range(60):
        value = parameter.random_sample(seed)
        assert parameter.allows(value)
        assert parameter.prob_to_value(parameter.value_to_prob(value)) == pytest.approx(value)
    probabilities = np.random.default_rng(0).random(4000)
    ours, rays = (
        sorted(map(parameter.prob_to_value, probabilities)),
        sorted(map(parameter.random_sample, range(4000))),
    )
    for share in (0.1, 0.5, 0.9):  # the same distribution, up to one step
        assert ours[int(4000 * share)] == pytest.approx(rays[int(4000 * share)], rel=0.15, abs=0.11)


def test_options_are_equal_where_their_labels_are():
    one, two = parameter_of(tune.choice([dict, list])), parameter_of(tune.choice([dict, list]))
    assert one == two
    assert isinstance(one, ObjectChoice)
    assert one != parameter_of(tune.choice([dict, set]))


# Structure


def test_a_domain_is_named_by_its_path_in_dicts_lists_and_tuples():
    space = DeclaredSpace(
        {
            "a": {"b": tune.uniform(0, 1)},
            "c": [1, {"d": tune.choice([1, 2])}],
            "e": (tune.randint(0, 3), 4),
        }
    )
    assert [parameter.name for parameter in space.parameters] == ["a/b", "c/1/d", "e/0"]
    assert space.fill({"a/b": 0.5, "c/1/d": 2, "e/0": 1}) == {
        "a": {"b": 0.5},
        "c": [1, {"d": 2}],
        "e": (1, 4),
    }


def test_a_missing_value_is_the_default():
    assert DeclaredSpace({"a": tune.choice([3, 4]), "b": tune.uniform(1, 2)}).fill({}) == {
        "a": 3,
        "b": 1.0,
    }


@pytest.mark.parametrize("space", [None, {}])
def test_a_space_can_be_empty(space):
    assert DeclaredSpace(space).parameters == []
    assert DeclaredSpace(space).fill({"a": 1}) == {}


def test_values_that_are_not_searched_are_passed_on_as_they_are():
    loss = keras.losses.MeanSquaredError()
    assert DeclaredSpace({"loss": loss}).fill({})["loss"] is loss


LEAVES = st.sampled_from(
    [1, "a", None, tune.uniform(0, 1), tune.choice([1, 2]), tune.choice([dict, {"name": "n"}])]
)
SPACES = st.dictionaries(
    st.sampled_from("abc"),
    st.recursive(
        LEAVES,
        lambda inner: (
            st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("abc"), inner, max_size=2)
        ),
    ),
    max_size=3,
)


def picture(tree):
    """A space as something that can be compared: domains and other leaves by identity."""
    if isinstance(tree, dict):
        return {key: picture(branch) for key, branch in tree.items()}
    return [picture(branch) for branch in tree] if isinstance(tree, list) else id(tree)


def spoil(tree):
    """Changes every dict and list of a filled configuration."""
    for branch in tree.values() if isinstance(tree, dict) else tree:
        if type(branch) in (dict, list) and branch != {"name": "n"}:
            spoil(branch)
    tree.clear()


@settings(deadline=None, max_examples=60)
@given(SPACES)
def test_filling_a_space_never_changes_the_users_dict(users):
    before = picture(users)
    space = DeclaredSpace(users)
    spoil(
        space.fill({parameter.name: parameter.random_sample(1) for parameter in space.parameters})
    )
    assert picture(users) == before


@settings(deadline=None, max_examples=60)
@given(SPACES, st.integers(0, 9))
def test_no_domain_is_left_in_a_filled_space(users, seed):
    space = DeclaredSpace(users)
    filled = space.fill(
        {parameter.name: parameter.random_sample(seed) for parameter in space.parameters}
    )
    assert DeclaredSpace(filled).parameters == []


# Derived values


def test_sample_from_sees_the_values_that_it_is_derived_from():
    space = DeclaredSpace(
        {
            "a": {"units": tune.choice([4, 8])},
            "twice": tune.sample_from(lambda config: 2 * config["a"]["units"]),
        }
    )
    assert [parameter.name for parameter in space.parameters] == ["a/units"]
    assert space.fill({"a/units": 8}) == {"a": {"units": 8}, "twice": 16}


def test_a_derived_value_that_is_given_is_kept():
    space = DeclaredSpace(
        {"n": tune.sample_from(lambda: next(counter)), "f": tune.sample_from(lambda: len)}
    )
    counter = iter(range(10))
    first = space.fill({})
    records = space.derived_values(first, {})
    assert records["n"] == 0
    assert re.fullmatch(r"len #[0-9a-f]{8} drawn with seed \d+", records["f"])
    assert space.fill(records) == first == {"n": 0, "f": len}
    assert space.fill({})["n"] == 1


def test_a_derived_value_can_be_anywhere():
    space = DeclaredSpace(
        {
            "a": 3,
            "b": [
                {"c": tune.sample_from(lambda config: config["a"])},
                (tune.sample_from(lambda: 1),),
            ],
        }
    )
    assert space.fill({}) == {"a": 3, "b": [{"c": 3}, (1,)]}


def test_derived_values_are_derived_in_their_order():
    double = [tune.sample_from(lambda config, name=name: 2 * config[name]) for name in "ab"]
    assert DeclaredSpace({"a": 1, "b": double[0], "c": double[1]}).fill({}) == {
        "a": 1,
        "b": 2,
        "c": 4,
    }


# Errors


@pytest.mark.parametrize(
    ("space", "kind", "message"),
    [
        ([1], TypeError, r"must be a dict\. Received: space=\[1\]"),
        (tune.uniform(0, 1), TypeError, r"must be a dict\. Received: space=<ray"),
        (
            {"a": {3: tune.uniform(0, 1)}},
            TypeError,
            r"Keys of a search space must be strings\. Received: 3 in space\['a'\]",
        ),
        ({"a": {"b/c": 1}}, ValueError, r"without '/'\. Received: 'b/c' in space\['a'\]"),
        ({"": 1}, ValueError, r"must be non-empty .*Received: '' in space"),
        (
            {"a": tune.choice([tune.uniform(0, 1), 2])},
            ValueError,
            r"space\['a'\]: an option cannot be a domain itself",
        ),
        ({"a": {tune.uniform(0, 1)}}, ValueError, r"space\['a'\]: a set cannot hold domains"),
        (
            {"a": {"b": tune.qrandint(3, 4, 10)}},
            ValueError,
            r"space\['a'\]\['b'\]: no multiple of q=10 is in the range",
        ),
        (
            {"a": {"b": tune.choice([])}},
            ValueError,
            r"space\['a'\]\['b'\]: .*`values` must be provided",
        ),
    ],
)
def test_a_space_that_cannot_be_used_is_refused_with_the_place(space, kind, message):
    with pytest.raises(kind, match=message):
        DeclaredSpace(space)


def test_a_space_that_is_a_grid_is_refused():
    with pytest.raises(
        TypeError,
        match=r"must be a dict with domains in it, not a domain\. Received: space=\{'grid_search'",
    ):
        DeclaredSpace({"grid_search": [1, 2]})
