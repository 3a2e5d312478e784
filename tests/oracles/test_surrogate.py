"""What is proposed in a space with conditions, by a Gaussian process."""

import numpy as np
import pytest

from glimr_keras.oracles.surrogate import Surrogate
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


def first(values, costs, running=(), seed=0):
    return next(Surrogate(SPACE, values, costs, running).proposals(np.random.default_rng(seed)))


def test_proposals_are_configurations_of_the_space():
    tried = drawn(15)
    for values in Surrogate(SPACE, tried, [cost(values) for values in tried]).proposals(
        np.random.default_rng(0)
    ):
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
    costs = [0.5] * 6 + [0.6, 0.7, 0.8, float("inf")]
    process = Surrogate(SPACE, tried, costs)._process
    assert np.isfinite(process.predict(np.full((1, process._points.shape[1]), 0.5))[0]).all()
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
