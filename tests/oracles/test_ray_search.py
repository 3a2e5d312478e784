"""Ray's searchers as oracles."""

import pytest
from ray import tune
from ray.tune.search import Searcher
from ray.tune.search.optuna import OptunaSearch

from glimr_keras.oracles import Nothing, RaySearchOracle
from glimr_keras.space.declared_space import DeclaredSpace
from glimr_keras.space.hp_types import Boolean, Choice, Float, Int
from tests.oracles.helpers import MAX, MIN, SPACE, end, optuna, run


class Scripted(Searcher):
    """A searcher that suggests what it is given, and keeps what it is told."""

    def __init__(self, *suggestions):
        super().__init__()
        self.suggestions, self.told, self.properties = list(suggestions), [], None

    def set_search_properties(self, metric, mode, config, **spec):
        self.properties = (metric, mode, config)
        return True

    def __deepcopy__(self, memo):
        return self  # so that a test sees what its oracle's copy is told

    def suggest(self, trial_id):
        return self.suggestions.pop(0)

    def on_trial_complete(self, trial_id, result=None, error=False):
        self.told.append((trial_id, result, error))


def test_a_searcher_gets_metric_direction_and_every_parameter():
    searcher = Scripted()
    RaySearchOracle(searcher, MAX, space=SPACE)
    metric, mode, config = searcher.properties
    assert (metric, mode) == ("val_accuracy", "max")
    assert list(config) == [parameter.name for parameter in SPACE]


def test_a_searcher_sees_steps_and_lists_as_an_index_over_exactly_their_values():
    space = [
        Int("a", 5, 50, step=10),
        Float("b", 0, 1, step=0.1),
        Choice("c", ("x", "y")),
        Boolean("d"),
        Int("e", 1, 3),
    ]
    searcher = Scripted(
        *({"a": i % 5, "b": i, "c": i % 2, "d": i % 2, "e": 1 + i % 3} for i in range(11))
    )
    oracle = RaySearchOracle(searcher, MIN, space=space)
    sizes = {
        name: len({domain.sample() for _ in range(300)})
        for name, domain in searcher.properties[2].items()
    }
    assert sizes == {"a": 5, "b": 11, "c": 2, "d": 2, "e": 3}
    suggestions = [oracle.next_trial().suggested for _ in range(11)]
    assert {values["a"] for values in suggestions} == {5, 15, 25, 35, 45}
    assert [values["b"] for values in suggestions] == [
        0.0,
        0.1,
        0.2,
        0.3,
        0.4,
        0.5,
        0.6,
        0.7,
        0.8,
        0.9,
        1.0,
    ]
    assert [values["c"] for values in suggestions[:2]] == ["x", "y"]
    assert [values["d"] for values in suggestions[:2]] == [True, False]
    assert {values["e"] for values in suggestions} == {1, 2, 3}


def test_a_searcher_is_told_the_score_or_the_failure_of_a_trial():
    searcher = Scripted({"a": 1}, {"a": 2}, {"a": 3})
    oracle = RaySearchOracle(searcher, MIN, space=[Int("a", 1, 3)])
    for score in (0.25, None, float("nan")):
        end(oracle, oracle.next_trial(), score)
    (good, result, error), *bad = searcher.told
    assert (good, result["val_loss"], error) == ("0000", 0.25, False)
    assert bad == [("0001", None, True), ("0002", None, True)]


def test_a_searcher_may_wait_or_be_done():
    oracle = RaySearchOracle(Scripted(None, Searcher.FINISHED), MIN, space=[Int("a", 1, 3)])
    assert oracle.next_trial() is Nothing.YET
    assert oracle.next_trial() is Nothing.LEFT
    assert oracle.trials == {}


def test_a_searcher_that_was_used_before_is_refused():
    searcher = OptunaSearch(seed=0)
    searcher.set_search_properties("loss", "min", {"a": tune.uniform(0, 1)})
    with pytest.raises(
        ValueError,
        match=r"`search_alg` must be a new OptunaSearch without a search space or metric",
    ):
        RaySearchOracle(searcher, MIN, space=SPACE)


def test_optuna_finds_what_it_is_told_to_minimise_or_maximise():
    def mean_of_last(objective):
        oracle = optuna([Float("a", 0, 1)], objective=objective)
        values = [
            end(oracle, trial, trial.suggested["a"]).suggested["a"]
            for trial in (oracle.next_trial() for _ in range(40))
        ]
        return sum(values[-10:]) / 10

    assert mean_of_last(MIN) < 0.3
    assert mean_of_last(MAX) > 0.7


def test_optuna_keeps_rays_own_meaning_of_a_quantised_domain():
    space = DeclaredSpace({"a": tune.qrandint(5, 50, 10)}).parameters
    assert {suggested["a"] for suggested in run(optuna(space), 20)} <= {10, 20, 30, 40, 50}


def test_ray_searchers_draw_from_domains_without_bounds():
    drawn = [
        values["noise"]
        for values in run(optuna(DeclaredSpace({"noise": tune.randn(5, 1)}).parameters), 20)
    ]
    assert 3 < sum(drawn) / 20 < 7
