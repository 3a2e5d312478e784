"""What to try next: a contract that every oracle keeps, and what random search and Ray's searchers add to it."""

import pytest
from ray import tune
from ray.tune.search import Searcher
from ray.tune.search.optuna import OptunaSearch

from glimr_keras.objective import Objective
from glimr_keras.oracles import Nothing, Oracle, RandomSearchOracle, RaySearchOracle, Suggestion
from glimr_keras.parameters import Boolean, Choice, Condition, Fixed, Float, Int
from glimr_keras.space import DeclaredSpace
from glimr_keras.trials import Execution, Trial, TrialStatus

MIN, MAX = Objective("val_loss", "min"), Objective("val_accuracy", "max")
SPACE = [
    Int("units", 1, 64),
    Int("steps", 5, 50, step=10),
    Int("width", 1, 100, sampling="log"),
    Float("rate", 1e-4, 1e-1, sampling="log"),
    Float("dropout", 0, 1, step=0.1),
    Float("warmup", 1, 2, sampling="reverse_log"),
    Float("constant", 2, 2),
    Choice("act", ("relu", "gelu", "tanh")),
    Boolean("bias"),
    Fixed("version", 3),
    Choice("kind", ("sgd", "adam")),
    Float("momentum", 0, 1, conditions=(Condition("kind", ("sgd",)),)),
    Int("depth", 1, 2, conditions=(Condition("kind", ("sgd",)), Condition("bias", (True,)))),
]
BY_NAME = {parameter.name: parameter for parameter in SPACE}


def random_search(space=SPACE, max_trials=None, seed=0, objective=MIN):
    return RandomSearchOracle(objective, max_trials, seed, space)


def optuna(space=SPACE, max_trials=None, seed=0, objective=MIN):
    return RaySearchOracle(OptunaSearch(seed=seed), objective, max_trials, seed, space)


every_oracle = pytest.mark.parametrize("make", [random_search, optuna])


def end(oracle, trial, score=0.5):
    """Ends a trial with a score, or as failed without one."""
    trial.status = TrialStatus.FAILED if score is None else TrialStatus.COMPLETED
    trial.executions[0] = Execution(trial.status, score=score)
    oracle.end_trial(trial)
    return trial


def run(oracle, count):
    """Runs trials one after the other; the score depends on the configuration."""
    return [
        end(oracle, trial, len(str(trial.suggested)) / 100).suggested for trial in (oracle.create_trial() for _ in range(count))
    ]


# The contract


@every_oracle
def test_every_suggested_value_is_one_of_its_parameter(make):
    for values in run(make(), 25):
        for name, value in values.items():
            parameter = BY_NAME[name]
            assert type(value) is type(parameter.default_value)
            assert parameter.prob_to_value(parameter.value_to_prob(value)) == pytest.approx(value)
            assert (
                getattr(parameter, "min_value", 0) <= value <= parameter.max_value if hasattr(parameter, "max_value") else True
            )


@every_oracle
def test_a_parameter_is_suggested_exactly_where_its_conditions_hold(make):
    suggestions = run(make(), 25)
    assert {values["kind"] for values in suggestions} == {"sgd", "adam"}
    for values in suggestions:
        assert ("momentum" in values) == (values["kind"] == "sgd")
        assert ("depth" in values) == (values["kind"] == "sgd" and values["bias"])


@every_oracle
def test_the_same_seed_gives_the_same_sequence(make):
    assert run(make(seed=1), 15) == run(make(seed=1), 15)
    assert run(make(seed=1), 15) != run(make(seed=2), 15)


@every_oracle
def test_the_budget_counts_every_trial(make):
    oracle = make(max_trials=3)
    end(oracle, oracle.create_trial())
    end(oracle, oracle.create_trial(), score=None)
    assert isinstance(oracle.create_trial(), Trial)
    assert oracle.create_trial() is Nothing.LEFT


@every_oracle
def test_trials_run_side_by_side_and_are_recorded_in_their_order(make):
    oracle = make()
    trials = [oracle.create_trial() for _ in range(3)]
    assert oracle.trials == {"0000": trials[0], "0001": trials[1], "0002": trials[2]}
    for trial in reversed(trials):
        end(oracle, trial)
    assert oracle.create_trial().trial_id == "0003"


@every_oracle
def test_scopes_may_be_in_names(make):
    assert set(run(make([Int("layer1/units", 1, 4)]), 1)[0]) == {"layer1/units"}


@every_oracle
def test_a_model_may_have_nothing_to_search(make):
    assert run(make([]), 1) == [{}]


@every_oracle
def test_parameters_that_a_trial_met_join_the_space_once(make):
    oracle = make()
    late = Int("late", 1, 4)
    assert oracle.update_space([SPACE[0], late]) == [late]
    assert oracle.update_space([late]) == []
    assert oracle.space == [*SPACE, late]


@every_oracle
def test_a_continued_search_goes_on_with_the_next_trial(make):
    oracle, continued = make(), make()
    run(oracle, 3)
    for trial in oracle.trials.values():
        continued.restore_trial(trial)
        continued.end_trial(trial)
    assert continued.create_trial().trial_id == "0003"


def test_an_oracle_of_ones_own_needs_one_method():
    class Counting(Oracle):
        def populate_space(self, trial_id):
            return Nothing.YET if trial_id == "0001" else Suggestion({"n": int(trial_id)}, (1,))

    oracle = Counting(MIN)
    first = oracle.create_trial()
    assert (first.suggested, first.sampling_key) == ({"n": 0}, (1,))
    assert oracle.create_trial() is Nothing.YET
    assert list(oracle.trials) == ["0000"]
    with pytest.raises(NotImplementedError):
        Oracle(MIN).create_trial()


# Random search

SMALL = [Int("a", 1, 3), Boolean("b"), Int("c", 1, 2, conditions=(Condition("b", (True,)),))]


def test_random_search_tries_every_configuration_once_and_then_has_nothing_left():
    tried = [str(values) for values in run(random_search(SMALL), 9)]
    assert len(set(tried)) == 9
    oracle = random_search(SMALL)
    run(oracle, 9)
    assert oracle.create_trial() is Nothing.LEFT


def test_random_search_finds_the_last_configurations_of_a_larger_space():
    run(random_search([Int("a", 1, 200)]), 200)


def test_random_search_repeats_neither_what_runs_nor_what_a_trial_made_of_its_suggestion():
    oracle = random_search([Int("a", 1, 2)])
    trial = oracle.create_trial()
    trial.values = {"a": 3 - trial.suggested["a"]}
    end(oracle, trial)
    assert oracle.is_tried({"a": 1})
    assert oracle.is_tried({"a": 2})
    assert oracle.create_trial() is Nothing.LEFT


@pytest.mark.parametrize("kept", range(9))
def test_random_search_continues_the_same_sequence_from_any_point(kept):
    whole = random_search(SMALL)
    expected = run(whole, 9)
    continued = random_search(SMALL)
    for trial in list(whole.trials.values())[:kept]:
        continued.restore_trial(trial)
        continued.end_trial(trial)
    assert run(continued, 9 - kept) == expected[kept:]


def test_random_search_draws_a_value_by_its_name_whatever_else_is_in_the_space():
    both = run(random_search([Float("a", 0, 1), Float("b", 0, 1)]), 3)
    alone = run(random_search([Float("b", 0, 1)]), 3)
    assert [values["b"] for values in both] == [values["b"] for values in alone]


def test_random_search_samples_rays_own_domains():
    space = DeclaredSpace({"n": tune.qrandint(5, 50, 10), "z": tune.randn(0, 1)}).parameters
    assert {values["n"] for values in run(random_search(space), 40)} == {10, 20, 30, 40, 50}


# Ray's searchers


class Scripted(Searcher):
    """A searcher that suggests what it is given, and keeps what it is told."""

    def __init__(self, *suggestions):
        super().__init__()
        self.suggestions, self.told, self.properties = list(suggestions), [], None

    def set_search_properties(self, metric, mode, config, **spec):
        self.properties = (metric, mode, config)
        return True

    def suggest(self, trial_id):
        return self.suggestions.pop(0)

    def on_trial_complete(self, trial_id, result=None, error=False):
        self.told.append((trial_id, result, error))


def test_a_searcher_gets_metric_direction_and_every_parameter():
    searcher = Scripted()
    RaySearchOracle(searcher, MAX, space=SPACE)
    metric, mode, config = searcher.properties
    assert (metric, mode) == ("val_accuracy", "max")
    assert list(config) == list(BY_NAME)


def test_a_searcher_sees_steps_and_lists_as_an_index_over_exactly_their_values():
    space = [Int("a", 5, 50, step=10), Float("b", 0, 1, step=0.1), Choice("c", ("x", "y")), Boolean("d"), Int("e", 1, 3)]
    searcher = Scripted(*({"a": i % 5, "b": i, "c": i % 2, "d": i % 2, "e": 1 + i % 3} for i in range(11)))
    oracle = RaySearchOracle(searcher, MIN, space=space)
    sizes = {name: len({domain.sample() for _ in range(300)}) for name, domain in searcher.properties[2].items()}
    assert sizes == {"a": 5, "b": 11, "c": 2, "d": 2, "e": 3}
    suggestions = [oracle.create_trial().suggested for _ in range(11)]
    assert {values["a"] for values in suggestions} == {5, 15, 25, 35, 45}
    assert [values["b"] for values in suggestions] == [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]
    assert [values["c"] for values in suggestions[:2]] == ["x", "y"]
    assert [values["d"] for values in suggestions[:2]] == [False, True]
    assert {values["e"] for values in suggestions} == {1, 2, 3}


def test_a_searcher_is_told_the_score_or_the_failure_of_a_trial():
    searcher = Scripted({"a": 1}, {"a": 2}, {"a": 3})
    oracle = RaySearchOracle(searcher, MIN, space=[Int("a", 1, 3)])
    for score in (0.25, None, float("nan")):
        end(oracle, oracle.create_trial(), score)
    (good, result, error), *bad = searcher.told
    assert (good, result["val_loss"], error) == ("0000", 0.25, False)
    assert bad == [("0001", None, True), ("0002", None, True)]


def test_a_searcher_may_wait_or_be_done():
    oracle = RaySearchOracle(Scripted(None, Searcher.FINISHED), MIN, space=[Int("a", 1, 3)])
    assert oracle.create_trial() is Nothing.YET
    assert oracle.create_trial() is Nothing.LEFT
    assert oracle.trials == {}


def test_a_searcher_that_was_used_before_is_refused():
    searcher = OptunaSearch(seed=0)
    RaySearchOracle(searcher, MIN, space=SPACE)
    with pytest.raises(ValueError, match=r"`search_alg` must be a new OptunaSearch without a search space or metric"):
        RaySearchOracle(searcher, MIN, space=SPACE)


def test_optuna_finds_what_it_is_told_to_minimise_or_maximise():
    def mean_of_last(objective):
        oracle = optuna([Float("a", 0, 1)], objective=objective)
        values = [
            end(oracle, trial, trial.suggested["a"]).suggested["a"] for trial in (oracle.create_trial() for _ in range(40))
        ]
        return sum(values[-10:]) / 10

    assert mean_of_last(MIN) < 0.3
    assert mean_of_last(MAX) > 0.7


def test_optuna_keeps_rays_own_meaning_of_a_quantised_domain():
    space = DeclaredSpace({"a": tune.qrandint(5, 50, 10)}).parameters
    assert {suggested["a"] for suggested in run(optuna(space), 20)} <= {10, 20, 30, 40, 50}


def test_a_domain_that_the_searcher_does_not_know_is_named():
    with pytest.raises(ValueError, match=r"'noise'.*OptunaSearch"):
        run(optuna(DeclaredSpace({"noise": tune.randn(0, 1)}).parameters), 1)
