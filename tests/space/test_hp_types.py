"""What each kind of hyperparameter can be, and how it is checked, converted and stored."""

import dataclasses
import json
import math
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glimr_keras.space.hp_types import (
    SAMPLINGS,
    Boolean,
    Choice,
    Condition,
    Fixed,
    Float,
    HyperParameter,
    Int,
    deserialize,
    serialize,
)

LAW = settings(deadline=None, max_examples=60)

PROBS = st.floats(0, 1, exclude_max=True)
CONDITIONS = st.lists(
    st.builds(
        Condition,
        st.sampled_from(["a", "b/c"]),
        st.tuples(st.booleans() | st.integers() | st.text(max_size=3)),
    ),
    max_size=2,
).map(tuple)
SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5)
)


@st.composite
def ints(draw):
    sampling = draw(st.sampled_from(SAMPLINGS))
    low = draw(st.integers(-500 if sampling == "linear" else 1, 500))
    step = None if sampling == "reverse_log" else draw(st.none() | st.integers(2, 60))
    return Int("x", low, draw(st.integers(low, 1000)), step, sampling, conditions=draw(CONDITIONS))


@st.composite
def floats(draw):
    """Bounds and steps with two decimals, so that what a step reaches is known exactly."""
    sampling = draw(st.sampled_from(SAMPLINGS))
    low = draw(st.integers(-500 if sampling == "linear" else 1, 500))
    high = draw(st.integers(low, 1000))
    step = {
        "linear": st.none() | st.integers(1, 300).map(lambda n: n / 100),
        "log": st.none() | st.integers(11, 100).map(lambda n: n / 10),
        "reverse_log": st.none(),
    }
    return Float(
        "x", low / 100, high / 100, draw(step[sampling]), sampling, conditions=draw(CONDITIONS)
    )


@st.composite
def choices(draw):
    values = draw(st.lists(SCALARS, min_size=1, max_size=5))
    return Choice("x", tuple(values), conditions=draw(CONDITIONS))


FIXED = st.builds(
    Fixed,
    st.just("x"),
    st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
)
BOOLEANS = st.builds(Boolean, st.just("x"), st.booleans(), conditions=CONDITIONS)
PARAMETERS = ints() | floats() | choices() | BOOLEANS | FIXED


def values_of(parameter):
    """Every value of a parameter with few of them, in the order of their probabilities."""
    drawn = [parameter.prob_to_value(prob) for prob in np.linspace(0, 1, 2000, endpoint=False)]
    return list(dict.fromkeys(drawn))


def is_allowed(number, value):
    """Whether the definition of an `Int` or a `Float` allows a value, worked out in decimals."""
    if (
        type(value) is not (int if isinstance(number, Int) else float)
        or not number.min_value <= value <= number.max_value
    ):
        return False
    if number.step is None:
        return True
    low, step, value = (Decimal(repr(part)) for part in (number.min_value, number.step, value))
    if number.sampling == "linear":
        return (value - low) % step == 0
    return any(math.isclose(value, low * step**index) for index in range(200))


# Values


@pytest.mark.parametrize(
    ("parameter", "values"),
    [
        (Int("x", 1, 4), [1, 2, 3, 4]),
        (Int("x", 5, 50, step=10), [5, 15, 25, 35, 45]),
        (Int("x", 7, 7), [7]),
        (Int("x", 1, 8, step=2, sampling="log"), [1, 2, 4, 8]),
        (Int("x", 1, 100, step=3, sampling="log"), [1, 3, 9, 27, 81]),
        (Float("x", 0, 1, step=0.1), [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]),
        (Float("x", 0.1, 1.0, step=0.25), [0.1, 0.35, 0.6, 0.85]),
        (Float("x", 1e-5, 1e-1, step=10, sampling="log"), [1e-5, 1e-4, 1e-3, 1e-2, 1e-1]),
        (Boolean("x"), [False, True]),
        (Fixed("x", 3), [3]),
        (Choice("x", ("relu", "gelu")), ["relu", "gelu"]),
    ],
)
def test_a_parameter_has_exactly_the_values_of_its_definition(parameter, values):
    assert values_of(parameter) == values


def test_float_with_step_reaches_its_maximum():
    assert Float("x", 0, 1, step=0.1).prob_to_value(math.nextafter(1, 0)) == 1.0


def test_choice_keeps_bools_as_bools_and_ints_as_ints():
    assert [type(value) for value in Choice("x", (True, 1, False, 0)).values] == [
        bool,
        int,
        bool,
        int,
    ]
    assert Choice("x", (1, True)).value_to_prob(True) == 0.75


def test_numpy_scalars_become_plain_ones():
    assert type(Choice("x", (np.int64(3),)).values[0]) is int
    assert type(Float("x", np.float32(0.5), 1).min_value) is float
    assert type(Int("x", np.int32(1), np.float64(4.0)).max_value) is int


def test_int_without_step_makes_both_bounds_as_likely_as_what_is_between():
    drawn = [Int("x", 0, 9).prob_to_value(prob) for prob in np.linspace(0, 1, 1000, endpoint=False)]
    assert [drawn.count(value) for value in range(10)] == [100] * 10


def test_log_sampling_gives_every_decade_the_same_share():
    parameter = Float("x", 1e-4, 1e-2, sampling="log")
    assert parameter.prob_to_value(0.5) == pytest.approx(1e-3)


def test_reverse_log_sampling_is_dense_near_the_maximum():
    parameter = Float("x", 1, 100, sampling="reverse_log")
    assert parameter.prob_to_value(0.5) == pytest.approx(91)
    assert Int("x", 1, 100, sampling="reverse_log").prob_to_value(0.5) > 85


def test_the_default_is_the_given_one_or_the_first_value():
    assert Int("x", 3, 9).default_value == 3
    assert Int("x", 3, 9, default=5).default_value == 5
    assert Choice("x", ("a", "b")).default_value == "a"
    assert Choice("x", ("a", "b"), default="b").default_value == "b"
    assert Boolean("x").default_value is False
    assert Fixed("x", "y").default_value == "y"


def test_only_numbers_are_ordered_unless_told_otherwise():
    assert Choice("x", (1, 2, 4)).ordered
    assert not Choice("x", (1, 2, 4), ordered=False).ordered
    assert not Choice("x", ("a", "b")).ordered
    assert not Choice("x", (True, False)).ordered


def test_the_same_seed_draws_the_same_value():
    parameter = Float("x", 0, 1)
    assert parameter.random_sample(3) == parameter.random_sample(3) != parameter.random_sample(4)


# Laws


@LAW
@given(ints() | floats(), PROBS)
def test_every_value_of_a_number_is_one_that_its_definition_allows(parameter, prob):
    assert is_allowed(parameter, parameter.prob_to_value(prob))


@LAW
@given(choices(), PROBS)
def test_every_value_of_a_choice_is_one_of_its_values(parameter, prob):
    value = parameter.prob_to_value(prob)
    assert any(value is option for option in parameter.values)


@LAW
@given(PARAMETERS, PROBS)
def test_a_value_comes_back_from_its_probability(parameter, prob):
    value = parameter.prob_to_value(prob)
    back = parameter.prob_to_value(parameter.value_to_prob(value))
    assert type(back) is type(value) or isinstance(parameter, Choice)
    assert back == value or (
        isinstance(parameter, Float) and math.isclose(back, value, rel_tol=1e-9, abs_tol=1e-9)
    )


@LAW
@given(PARAMETERS)
def test_a_definition_comes_back_from_json(parameter):
    stored = json.loads(json.dumps(serialize(parameter)))
    assert deserialize(stored) == parameter
    assert type(deserialize(stored)) is type(parameter)


@LAW
@given(PARAMETERS)
def test_the_default_is_a_value(parameter):
    default = parameter.default_value
    assert (
        is_allowed(parameter, default)
        if isinstance(parameter, (Int, Float))
        else parameter.value_to_prob(default) < 1
    )


# Conditions


def test_a_condition_holds_where_its_parent_has_one_of_its_values():
    condition = Condition("act", ("relu", "gelu"))
    assert condition.holds({"act": "gelu"})
    assert not condition.holds({"act": "tanh"})
    assert not condition.holds({})


def test_a_condition_tells_true_from_one():
    assert not Condition("flag", (True,)).holds({"flag": 1})
    assert Condition("number", (1,)).holds({"number": 1.0})


# Errors


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Int("", 1, 2), r"`name` must be a non-empty string\. Received: name=''"),
        (lambda: Int(None, 1, 2), r"Received: name=None"),
        (
            lambda: Int("x", 5, 1),
            r"Int\('x'\): `min_value` must not exceed `max_value`\. Received: min_value 5 is "
            r"greater than the max_value 1",
        ),
        (lambda: Int("x", 1.5, 3), r"`min_value` must be an int\. Received: min_value=1\.5"),
        (lambda: Int("x", "1", 3), r"`min_value` must be a number\. Received: min_value='1'"),
        (lambda: Int("x", True, 3), r"`min_value` must be a number\. Received: min_value=True"),
        (lambda: Int("x", 1, 3, step=0), r"expected step > 0, .* it is added\. Received: step=0"),
        (lambda: Int("x", 1, 3, step=2.5), r"`step` must be an int\. Received: step=2\.5"),
        (
            lambda: Int("x", 1, 9, step=1, sampling="log"),
            r"expected step > 1, since .* it multiplies\. Received: step=1",
        ),
        (
            lambda: Int("x", 1, 3, sampling="sqrt"),
            r"sampling must be one of \('linear', 'log', .*Received: sampling='sqrt'",
        ),
        (
            lambda: Float("x", 0, 1, sampling="log"),
            r"Float\('x'\): .*negative values or zero.*Received: min_value=0\.0",
        ),
        (lambda: Float("x", 0, math.inf), r"`max_value` must be finite\. Received: max_value=inf"),
        (
            lambda: Float("x", 0, 1, default="low"),
            r"`default` must be a number\. Received: default='low'",
        ),
        (
            lambda: Choice("x", ()),
            r"`values` must be provided, at least one\. Received: values=\[\]",
        ),
        (
            lambda: Choice("x", ("a",), default="b"),
            r"the default value should be one of `values`\. Received: default='b'",
        ),
        (
            lambda: Choice("x", ("a", "b"), ordered=True),
            r"`ordered` must be `False` unless .* values=\['a', 'b'\]",
        ),
        (
            lambda: Boolean("x", default=1),
            r"`default` must be a Python boolean\. Received: default=1",
        ),
        (lambda: Fixed("x", [1]), r"its value must be an .*Received: value=\[1\]"),
        (
            lambda: deserialize({"class_name": "Complex", "config": {}}),
            r"Unknown kind of hyperparameter 'Complex'; known: .*'Int'",
        ),
    ],
)
def test_a_definition_that_makes_no_sense_is_refused_with_what_was_received(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("values", ["relu", 3, {"relu": 1}])
def test_choice_refuses_values_that_are_no_list(values):
    with pytest.raises(
        TypeError, match=r"Choice\('x'\): `values` must be a list or tuple\. Received: values="
    ):
        Choice("x", values)


@pytest.mark.parametrize(
    ("kind", "arguments", "only"),
    [
        (Int, (0, 5, 10), 0),
        (Float, (0, 1, 2.0), 0.0),
        (Int, (1, 7, 8, "log"), 1),
        (Int, (1, 7, 8, "reverse_log"), 7),
    ],
)
def test_a_step_that_fits_nowhere_leaves_one_value_and_is_odd(kind, arguments, only):
    parameter = kind("x", *arguments)
    assert parameter.values == (only,)
    assert {parameter.random_sample(seed) for seed in range(20)} == {only}
    assert (
        f"the step {parameter.step} fits nowhere into {parameter.min_value} to "
        f"{parameter.max_value}" in parameter.oddity
    )
    assert parameter.oddity.endswith(f"so it is always {only}.")


@pytest.mark.parametrize(
    "parameter",
    [Int("x", 3, 3, step=5), Int("x", 1, 6, step=5), Float("x", 0, 1), Choice("x", ("a",))],
)
def test_a_parameter_that_is_as_its_user_means_it_is_not_odd(parameter):
    assert parameter.oddity is None


@LAW
@given(ints() | floats(), st.floats(-2000, 2000))
def test_the_nearest_value_is_allowed_and_a_value_is_its_own(parameter, number):
    nearest = parameter.nearest(number)
    assert parameter.allows(nearest)
    assert parameter.nearest(nearest) == pytest.approx(nearest)
    assert (
        nearest == pytest.approx(min(max(number, parameter.min_value), parameter.max_value))
        or parameter.step
        or isinstance(parameter, Int)
    )


@LAW
@given(ints() | choices() | st.just(Boolean("x")) | st.just(Fixed("x", 3)))
def test_every_value_is_counted_and_different(parameter):
    values = list(parameter.every_value())
    assert len(values) == parameter.count
    assert all(parameter.allows(value) for value in values)


@LAW
@given(ints() | floats() | choices())
def test_values_to_try_are_values(parameter):
    assert all(parameter.allows(value) for value in parameter.values)
    assert len(parameter.values) <= 10 or len(parameter.values) == parameter.count


def test_choice_refuses_objects_and_says_where_they_can_be():
    with pytest.raises(
        TypeError, match=r"Received: <class 'dict'> of type type\. .*`ray\.tune\.choice`"
    ):
        Choice("x", ("a", dict))


def test_choice_has_no_probability_for_a_value_that_it_does_not_have():
    with pytest.raises(
        ValueError, match=r"Choice\('x'\) has no value 'c'; its values are \['a', 'b'\]"
    ):
        Choice("x", ("a", "b")).value_to_prob("c")


@pytest.mark.parametrize(
    ("parameter", "default"),
    [(Int("x", 1, 5, default=1), 1), (Int("x", 1, 5), None), (Int("x", 1, 5, default=3), 3)],
)
def test_the_configuration_of_an_int_has_the_default_that_was_given(parameter, default):
    inside = dataclasses.replace(parameter, conditions=(Condition("y", (1,)),))
    for each in (parameter, inside, deserialize(json.loads(json.dumps(serialize(inside))))):
        assert each.get_config()["default"] == default
        assert each.default == (default or 1)
    assert set(parameter.get_config()) == {
        "name",
        "default",
        "conditions",
        "min_value",
        "max_value",
        "step",
        "sampling",
    }


def test_a_default_that_was_given_makes_no_other_hyperparameter():
    assert Int("x", 1, 5, default=1) == Int("x", 1, 5)


@pytest.mark.parametrize("number", [Int, Float])
@pytest.mark.parametrize(("default", "taken"), [(0, 1), (11, 10)])
def test_of_a_default_outside_the_range_the_nearest_is_taken_and_said(number, default, taken):
    parameter = number("x", 1, 10, default=default)
    assert parameter.default == default
    assert parameter.default_value == taken
    where = f"{parameter.min_value} to {parameter.max_value}"
    assert (
        f"the default {parameter.default} is not from {where}; {parameter.default_value} is taken."
        in parameter.oddity
    )
    assert number.from_config(parameter.get_config()) == parameter


def test_every_kind_can_be_stored():
    assert {"Int", "Float", "Choice", "Boolean", "Fixed"} <= set(HyperParameter.kinds)


@pytest.mark.parametrize(
    ("parameter", "shown"),
    [
        (
            Int("x", 1, 9, 2),
            "Int(name: 'x', min_value: 1, max_value: 9, step: 2, sampling: linear, default: 1)",
        ),
        (
            Float("x", 0.1, 1, sampling="log"),
            "Float(name: 'x', min_value: '0.1', max_value: '1.0', step: 'None', sampling: 'log', "
            "default: '0.1')",
        ),
        (Choice("x", (1, 2)), "Choice(name: 'x', values: [1, 2], ordered: True, default: 1)"),
        (Boolean("x"), 'Boolean(name: "x", default: False)'),
        (Fixed("x", 3), "Fixed(name: x, value: 3)"),
    ],
)
def test_a_parameter_is_shown_as_in_keras_tuner_and_its_conditions_as_well(parameter, shown):
    condition = Condition("y", (1,))
    assert repr(parameter) == shown
    with_condition = repr(dataclasses.replace(parameter, conditions=(condition,)))
    assert with_condition == f"{shown[:-1]}, conditions: [{condition}])"


def test_values_are_in_the_order_and_of_the_kind_that_keras_tuner_has():
    assert Boolean("x").values == (True, False)
    assert Choice("x", (1, 2)).values == [1, 2]
    assert hash(Choice("x", (1, 2))) == hash(Choice("x", [1, 2]))
