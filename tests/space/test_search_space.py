"""Which hyperparameters exist where: what the user wrote, and what is found by looking at
configurations.
"""

from hypothesis import given, settings
from hypothesis import strategies as st

from glimr_keras.space.hp_types import Boolean, Choice, Condition, Float, Int
from glimr_keras.space.search_space import SearchSpace

LAYERS = Int("layers", 1, 3)
UNITS = [Choice(f"units_{number}", (16, 32, 64)) for number in range(3)]
RATE = Float("rate", 0.1, 1)


def stack(layers):
    """What a model with a loop over its layers asks for."""
    return {"layers": layers, **{f"units_{number}": 16 for number in range(layers)}, "rate": 0.5}


LOOP = SearchSpace([LAYERS, *UNITS, RATE], map(stack, (1, 2, 3)))


def first(parameter):
    return parameter.prob_to_value(0)


def test_a_loop_becomes_conditions():
    assert LOOP.conditions(UNITS[0]) == LOOP.conditions(RATE) == ()
    assert LOOP.conditions(UNITS[1]) == (Condition("layers", (2, 3)),)
    assert LOOP.conditions(UNITS[2]) == (Condition("layers", (3,)),)


def test_only_what_exists_is_chosen():
    chosen = LOOP.walk(lambda parameter: 2 if parameter is LAYERS else first(parameter))
    assert list(chosen) == ["layers", "units_0", "units_1", "rate"]


def test_a_threshold_holds_for_values_that_were_not_seen():
    space = SearchSpace(
        [Int("layers", 1, 20), UNITS[1]], [{"layers": 1}, {"layers": 2, "units_1": 16}]
    )
    assert space.exists(UNITS[1], {"layers": 17})


def test_without_observations_everything_exists_everywhere():
    space = SearchSpace([LAYERS, *UNITS])
    assert set(space.walk(first)) == {"layers", "units_0", "units_1", "units_2"}


def test_a_branch_that_no_value_explains_exists_everywhere():
    space = SearchSpace(
        [RATE, UNITS[0]], [{"rate": 0.1}, {"rate": 0.2, "units_0": 16}]
    )  # a continuum has no list of values
    assert space.conditions(UNITS[0]) == ()


def test_nested_branches_need_both_values():
    outer, inner, deep = Boolean("outer"), Choice("inner", ("x", "y")), Int("deep", 1, 9)
    observations = [
        {"outer": False},
        {"outer": True, "inner": "x"},
        {"outer": True, "inner": "y", "deep": 1},
    ]
    space = SearchSpace([outer, inner, deep], observations)
    assert space.exists(deep, {"outer": True, "inner": "y"})
    assert not space.exists(deep, {"outer": True, "inner": "x"})
    assert not space.exists(deep, {"outer": False})


def test_a_later_observation_that_is_not_explained_is_learned_from():
    space = SearchSpace([LAYERS, *UNITS[:1]], [{"layers": 1, "units_0": 16}])
    space.update([UNITS[1]])
    space.observe({"layers": 2, "units_0": 16, "units_1": 16})
    assert not space.exists(UNITS[1], {"layers": 1})
    assert space.exists(UNITS[1], {"layers": 3})


@given(st.lists(st.integers(1, 3), max_size=8), st.lists(st.integers(0, 8), max_size=3))
def test_it_makes_no_difference_when_a_hyperparameter_became_known(layers, moments):
    """As in a search that goes on, which knows what came late from its beginning."""
    early, late = SearchSpace([LAYERS]), SearchSpace([LAYERS, *UNITS])
    for number, observation in enumerate(map(stack, layers)):
        for unit, moment in zip(UNITS, moments, strict=False):
            if moment == number:
                early.update([unit])
        early.observe(observation)
        late.observe(observation)
    early.update(UNITS)
    for unit in UNITS:
        assert early.conditions(unit) == late.conditions(unit)


def test_a_value_that_cannot_be_hashed_tells_nothing():
    kind, units = Choice("kind", ("a", "b")), Int("units", 1, 4)
    space = SearchSpace([kind, units], [{"kind": ["a"]}, {"kind": "b", "units": 1}])
    assert space.exists(units, {"kind": "b"})


def test_what_was_not_explained_at_first_is_learned_from_later():
    space = SearchSpace([LAYERS, UNITS[1]])
    space.observe(stack(1))
    space.observe(stack(2))  # which is as expected, where the hyperparameter exists everywhere
    assert space.conditions(UNITS[1]) == (Condition("layers", (2, 3)),)


def test_one_name_may_be_two_hyperparameters_in_two_branches():
    kind = Choice("kind", ("a", "b"))
    small = Int("units", 1, 2, conditions=(Condition("kind", ("a",)),))
    large = Int("units", 100, 200, conditions=(Condition("kind", ("b",)),))
    space = SearchSpace([kind, small, large])
    assert space.walk(lambda parameter: "b" if parameter is kind else first(parameter)) == {
        "kind": "b",
        "units": 100,
    }
    assert len(list(space.every_configuration())) == 2 + 101


def test_every_configuration_of_a_loop_is_each_distinct_model():
    space = SearchSpace(
        [LAYERS, *UNITS],
        [{name: stack(n)[name] for name in stack(n) if name != "rate"} for n in (1, 2, 3)],
    )
    configurations = list(space.every_configuration())
    assert space.is_finite
    assert (
        len(configurations)
        == len({str(configuration) for configuration in configurations})
        == 3 + 9 + 27
    )
    assert not LOOP.is_finite


@settings(deadline=None, max_examples=40)
@given(st.permutations(range(1, 6)), st.integers(2, 5))
def test_conditions_do_not_depend_on_the_order_of_observations(order, layers):
    parameters = [Int("layers", 1, 5), *(Int(f"units_{number}", 1, 9) for number in range(5))]
    space = SearchSpace(
        parameters, [{"layers": n, **{f"units_{i}": 1 for i in range(n)}} for n in order]
    )
    existing = {
        parameter.name for parameter in parameters if space.exists(parameter, {"layers": layers})
    }
    assert existing == {"layers", *(f"units_{number}" for number in range(layers))}


def test_definitions_are_added_once():
    space = SearchSpace([LAYERS, RATE])
    assert space.update([LAYERS, UNITS[0]]) == [UNITS[0]]
    assert space.update([UNITS[0]]) == []
    assert space.parameters == [LAYERS, RATE, UNITS[0]]
