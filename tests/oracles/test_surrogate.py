"""What is proposed in a space with conditions, by a Gaussian process."""

import numpy as np
import pytest

from glimr_keras.oracles.proposals import Proposals
from glimr_keras.oracles.surrogate import Surrogate, _limited, _most_telling
from glimr_keras.space.hp_types import Boolean, Choice, Condition, Fixed, Float, Int
from glimr_keras.space.search_space import SearchSpace

DEEP = (Condition("kind", ("deep",)),)
SPACE = SearchSpace(
    [
        Choice("kind", ["flat", "deep"]),
        Float("rate", 1e-4, 1e-1, sampling="log"),
        Int("layers", 1, 8, conditions=DEEP),
        Choice("activation", ["relu", "gelu", "tanh"], conditions=DEEP),
        Boolean("bias"),
        Fixed("version", 3),
    ]
)


def cost(values):
    off = (np.log10(values["rate"]) + 2.5) ** 2 + 0.2 * values["bias"]
    if values["kind"] == "flat":
        return off + 1
    return off + abs(values["layers"] - 6) / 4 + (values["activation"] != "gelu")


def drawn(count, seed=0):
    generator = np.random.default_rng(seed)
    return [
        SPACE.walk(lambda parameter: parameter.prob_to_value(generator.random()))
        for _ in range(count)
    ]


def told(values, costs, space=SPACE):
    surrogate = Surrogate(space)
    for one, cost_of_one in zip(values, costs, strict=True):
        surrogate.tell(one, cost_of_one)
    return surrogate


def first(values, costs, running=(), seed=0):
    return first_of(told(values, costs), running, seed)


def first_of(surrogate, running=(), seed=0):
    return next(surrogate.prepared(running).ranked(np.random.default_rng(seed)))


def test_proposals_are_configurations_of_the_space():
    tried = drawn(15)
    for values in told(tried, map(cost, tried)).prepared(()).ranked(np.random.default_rng(0)):
        parameters = {
            parameter.name: parameter
            for parameter in SPACE.parameters
            if SPACE.exists(parameter, values)
        }
        assert set(values) == set(parameters)
        assert all(parameter.allows(values[name]) for name, parameter in parameters.items())


def test_proposals_come_close_to_the_optimum():
    tried = drawn(10)
    for number in range(25):
        tried.append(first(tried, [cost(values) for values in tried], seed=number))
    best = min(tried, key=cost)
    assert (best["kind"], best["activation"], best["bias"]) == ("deep", "gelu", False)
    assert abs(best["layers"] - 6) <= 1
    assert cost(best) < 0.3


def test_the_same_seed_proposes_the_same():
    tried = drawn(12)
    costs = [cost(values) for values in tried]
    assert first(tried, costs) == first(tried, costs)
    assert first(tried, costs) != first(tried, costs, seed=1)


def test_what_is_running_is_not_proposed_again():
    tried = drawn(20)
    costs = [cost(values) for values in tried]
    running = [first(tried, costs)]
    other = first(tried, costs, running)
    assert abs(np.log10(other["rate"]) - np.log10(running[0]["rate"])) > 0.05 or any(
        other.get(name) != running[0].get(name) for name in ("kind", "layers", "activation", "bias")
    )


def test_a_trial_that_diverged_does_not_hide_the_differences_of_the_others():
    tried = drawn(30)
    costs = [cost(values) for values in tried]
    costs[3] = 1e9
    proposed = [first(tried, costs, seed=seed) for seed in range(5)]
    assert np.mean([cost(values) for values in proposed]) < np.median(costs)


def test_infinite_costs_are_no_error():
    tried = drawn(10)
    assert first(tried, [0.5] * 6 + [0.6, 0.7, 0.8, float("inf")])
    assert first(tried, [float("inf")] * 10)


def test_more_results_than_there_is_room_for():
    tried = drawn(700)
    assert cost(first(tried, [cost(values) for values in tried])) < 0.5


@pytest.mark.parametrize(
    "values", [{"kind": "flat"}, {"kind": "deep", "rate": 0.01, "layers": 99, "other": 1}]
)
def test_trials_that_used_something_else_are_no_error(values):
    tried = [*drawn(10), values]
    assert set(first(tried, list(range(11)))) >= {"kind", "rate", "bias"}


def test_nothing_is_proposed_without_a_result():
    with pytest.raises(ValueError, match="at least one result"):
        first_of(Surrogate(SPACE))


def test_what_runs_at_once_is_apart():
    space = SearchSpace([Float("a", 0, 1), Choice("b", ["x", "y"])])
    tried = [{"a": a, "b": "x"} for a in np.linspace(0, 1, 9)]
    tried += [{"a": a, "b": "x"} for a in 0.5 + 10.0 ** -np.arange(2, 8)]
    surrogate = told(tried, [abs(values["a"] - 0.5) for values in tried], space)
    running = []
    for seed in range(12):
        running.append(first_of(surrogate, running, seed))
    of_one = sorted(values["a"] for values in running if values["b"] == "x")
    assert np.diff(of_one).min() >= 0.01


def test_what_runs_at_once_is_proposed_again_where_nothing_else_is():
    surrogate = told([{"a": 1}], [0.5], SearchSpace([Int("a", 1, 3)]))
    running = [{"a": 2}, {"a": 3}]
    every = list(surrogate.prepared(running).ranked(np.random.default_rng(0)))
    assert [values for values in every if values == {"a": 3}]
    assert every[0] == {"a": 1}


def test_what_was_told_before_the_space_grew_still_counts():
    space = SearchSpace(SPACE.parameters[:2])
    tried = [{"kind": "flat", "rate": 10**-power} for power in np.linspace(1.1, 3.9, 12)]
    surrogate = told(tried, [(np.log10(values["rate"]) + 2.5) ** 2 for values in tried], space)
    first_of(surrogate)
    space.update([Float("momentum", 0.0, 1.0)])
    values = first_of(surrogate)
    assert set(values) == {"kind", "rate", "momentum"}
    assert abs(np.log10(values["rate"]) + 2.5) < 0.5


def test_a_session_that_goes_on_proposes_the_same():
    tried = drawn(60)
    costs = [cost(values) for values in tried]
    surrogate = told(tried[:5], costs[:5])
    for values, cost_of_one in zip(tried[5:], costs[5:], strict=True):
        first_of(surrogate)
        surrogate.tell(values, cost_of_one)
    assert first_of(surrogate, seed=1) == first(tried, costs, seed=1)


def test_numbers_are_climbed_to_the_optimum():
    space = SearchSpace([Float(name, 0, 1) for name in "abc"])
    surrogate, generator, best = Surrogate(space), np.random.default_rng(0), []
    for number in range(30):
        point = dict(zip("abc", generator.random(3), strict=True))
        values = point if number < 8 else first_of(surrogate, seed=number)
        best.append(sum((values[name] - 0.3) ** 2 for name in "abc"))
        surrogate.tell(values, best[-1])
    assert min(best) < 1e-5


def test_options_are_stepped_to_the_optimum():
    names = [f"c{number}" for number in range(9)]
    space = SearchSpace([Choice(name, ["x", "y", "z", "u"]) for name in names])
    surrogate, generator, best = Surrogate(space), np.random.default_rng(0), []
    for number in range(60):
        values = {name: str(generator.choice(["x", "y", "z", "u"])) for name in names}
        values = values if number < 10 else first_of(surrogate, seed=number)
        best.append(sum(values[name] != "z" for name in names))
        surrogate.tell(values, best[-1])
    assert min(best) == 0  # 1 of 262,144 configurations


def test_with_few_results_several_settings_count():
    tried = drawn(120)
    costs = [cost(values) for values in tried]
    few, many = (told(tried[:n], costs[:n]).prepared(()).model().gain for n in (20, 120))
    assert (len(few.processes), len(many.processes)) == (8, 1)
    assert len({tuple(process.settings.scales) for process in few.processes}) == 8


def proposals_and_rows():
    tried = drawn(40)
    prepared = told(tried, map(cost, tried)).prepared(())
    cube = prepared.cube
    proposals = Proposals(cube, prepared.model(), np.random.default_rng(0))
    return proposals, cube.snapped(np.random.default_rng(1).random((30, len(cube.axes))))


@pytest.mark.parametrize("move", ["_climbed", "_stepped"])
def test_every_move_gains(move):
    proposals, rows = proposals_and_rows()
    moved = getattr(proposals, move)(rows)
    before, after = proposals._gains(rows), proposals._gains(moved)
    assert (after >= before - 1e-9).mean() > 0.9  # a climb ends between integers
    assert (after > before + 1e-3).mean() > 0.5
    changed = (moved != rows).any(axis=0)
    names = [axis.parameter.name for axis in proposals._cube.axes]
    numbers = {"rate", "layers"}
    expected = (
        numbers if move == "_climbed" else {*numbers, "kind", "activation", "bias"} - {"rate"}
    )
    assert {name for name, is_one in zip(names, changed, strict=True) if is_one} <= expected


def test_a_result_far_below_all_others_is_no_error():
    """The scale of costs was learned without it."""
    space, generator = SearchSpace([Float("a", 0, 1), Float("b", 0, 1)]), np.random.default_rng(1)
    surrogate = Surrogate(space)
    for _ in range(40):
        a, b = generator.random(2)
        surrogate.tell({"a": a, "b": b}, 10 ** (2 * a))
    first_of(surrogate)
    surrogate.tell({"a": 0.05, "b": 0.01}, -1000.0)
    near = [first_of(surrogate, seed=seed) for seed in range(3)]
    assert all(values["a"] < 0.3 and values["b"] < 0.3 for values in near)


def test_what_is_prepared_knows_nothing_that_is_told_later():
    tried = drawn(50)
    costs = [cost(values) for values in tried]
    surrogate = told(tried[:20], costs[:20])
    prepared, ahead = (surrogate.prepared(()) for _ in range(2))
    before = next(prepared.ranked(np.random.default_rng(0)))
    for values, cost_of_one in zip(tried[20:], costs[20:], strict=True):
        surrogate.tell(values, cost_of_one)
    assert next(ahead.ranked(np.random.default_rng(0))) == before == first(tried[:20], costs[:20])
    known = surrogate.prepared((), 20)
    assert next(known.ranked(np.random.default_rng(0))) == before
    assert surrogate.num_scored(20) == 20


def test_the_best_and_the_last_results_are_used():
    costs = np.append(np.arange(200.0), np.arange(5000.0, 4000.0, -1))
    used = _most_telling(costs)
    assert len(used) == len(set(used.tolist())) == 300
    assert set(used[:150]) == set(range(150))
    assert set(used[150:]) == set(range(1050, 1200))
    assert len(surrogate_of_many()._known_rows) <= 1200


def surrogate_of_many():
    surrogate, generator = Surrogate(SearchSpace([Float("a", 0, 1)])), np.random.default_rng(0)
    for number in range(3000):
        a = generator.random()
        surrogate.tell({"a": a}, a)
        if number % 100 == 99:
            first_of(surrogate)
    return surrogate


def test_costs_far_above_the_median_count_as_less():
    costs = np.append(np.linspace(0, 1, 20), [50.0, np.inf])
    limited = _limited(costs)
    assert (limited[:20] == costs[:20]).all()
    assert limited[20] == limited[21] < 4


@pytest.mark.parametrize("count", [30, 400])
def test_many_options_cost_no_more_than_few(count):
    options = [f"m{number}" for number in range(count)]
    surrogate = Surrogate(SearchSpace([Choice("c", options), Float("a", 0, 1)]))
    for number in range(30):
        surrogate.tell({"c": options[number % count], "a": number / 30}, abs(number - 7) / 30)
    values = first_of(surrogate)
    assert values["c"] in options
    assert surrogate._cube.points(*surrogate._cube.rows([values])).shape[1] <= 33
