"""What to try next: a contract that every oracle keeps, and what random search and Ray's searchers
add to it.
"""

import pytest
from optuna import samplers
from ray import tune
from ray.tune.search import Searcher
from ray.tune.search.optuna import OptunaSearch

from glimr_keras.oracles import (
    BayesianOptimizationOracle,
    GridSearchOracle,
    HyperbandOracle,
    Nothing,
    Oracle,
    RandomSearchOracle,
    RaySearchOracle,
    Suggestion,
)
from glimr_keras.space.declared_space import DeclaredSpace
from glimr_keras.space.hp_types import Boolean, Choice, Condition, Fixed, Float, Int
from glimr_keras.space.reserved_names import Stage
from glimr_keras.space.search_space import SearchSpace
from glimr_keras.trials.objective import MultiObjective, Objective
from glimr_keras.trials.trial import Execution, Trial, TrialStatus

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
    return RandomSearchOracle(objective, max_trials, seed, space=space)


def optuna(space=SPACE, max_trials=None, seed=0, objective=MIN):
    return RaySearchOracle(OptunaSearch(seed=seed), objective, max_trials, seed=seed, space=space)


def grid(space=SPACE, max_trials=None, seed=0, objective=MIN):
    return GridSearchOracle(objective, max_trials, seed, space=space)


def bayesian(space=SPACE, max_trials=None, seed=0, objective=MIN, **options):
    return BayesianOptimizationOracle(objective, max_trials, seed=seed, space=space, **options)


def hyperband(space=SPACE, max_trials=None, seed=0, objective=MIN, **options):
    return HyperbandOracle(objective, max_trials=max_trials, seed=seed, space=space, **options)


every_oracle = pytest.mark.parametrize("make", [random_search, grid, bayesian, hyperband, optuna])
chooses_by_itself = pytest.mark.parametrize("make", [random_search, bayesian, hyperband, optuna])


def end(oracle, trial, score=0.5):
    """Ends a trial with a score, or as failed without one."""
    trial.status = TrialStatus.FAILED if score is None else TrialStatus.COMPLETED
    trial.executions[0] = Execution(trial.status, score=score)
    oracle.end_trial(trial)
    return trial


def run(oracle, count):
    """Runs trials one after the other; the score depends on the configuration. What says the part
    of a training is left out.
    """
    trials = [
        end(oracle, trial, len(str(trial.suggested)) / 100)
        for trial in (oracle.next_trial() for _ in range(count))
    ]
    return [
        {name: value for name, value in trial.suggested.items() if name not in Stage.NAMES}
        for trial in trials
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
                getattr(parameter, "min_value", 0) <= value <= parameter.max_value
                if hasattr(parameter, "max_value")
                else True
            )


@chooses_by_itself
def test_a_parameter_is_suggested_exactly_where_its_conditions_hold(make):
    suggestions = run(make(), 25)
    assert {values["kind"] for values in suggestions} == {"sgd", "adam"}
    for values in suggestions:
        assert ("momentum" in values) == (values["kind"] == "sgd")
        assert ("depth" in values) == (values["kind"] == "sgd" and values["bias"])


@chooses_by_itself
def test_the_same_seed_gives_the_same_sequence(make):
    assert run(make(seed=1), 15) == run(make(seed=1), 15)
    assert run(make(seed=1), 15) != run(make(seed=2), 15)


@every_oracle
def test_the_budget_counts_every_trial(make):
    oracle = make(max_trials=3)
    end(oracle, oracle.next_trial())
    end(oracle, oracle.next_trial(), score=None)
    assert isinstance(oracle.next_trial(), Trial)
    assert oracle.next_trial() is Nothing.LEFT


@chooses_by_itself
def test_trials_run_side_by_side_and_are_recorded_in_their_order(make):
    oracle = make()
    trials = [oracle.next_trial() for _ in range(3)]
    assert oracle.trials == {"0000": trials[0], "0001": trials[1], "0002": trials[2]}
    for trial in reversed(trials):
        end(oracle, trial)
    assert oracle.next_trial().trial_id == "0003"


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
    assert oracle.space.parameters == [*SPACE, late]


@every_oracle
def test_a_continued_search_goes_on_with_the_next_trial(make):
    oracle, continued = make(), make()
    run(oracle, 3)
    for trial in oracle.trials.values():
        continued.restore_trial(trial)
        continued.end_trial(trial)
    assert continued.next_trial().trial_id == "0003"


def test_an_oracle_of_ones_own_needs_one_method():
    class Counting(Oracle):
        def populate_space(self, trial_id):
            return Nothing.YET if trial_id == "0001" else Suggestion({"n": int(trial_id)}, (1,))

    oracle = Counting(MIN)
    first = oracle.next_trial()
    assert (first.suggested, first.sampling_key) == ({"n": 0}, (1,))
    assert oracle.next_trial() is Nothing.YET
    assert list(oracle.trials) == ["0000"]
    with pytest.raises(NotImplementedError):
        Oracle(MIN).next_trial()


# Random search

SMALL = [Int("a", 1, 3), Boolean("b"), Int("c", 1, 2, conditions=(Condition("b", (True,)),))]


def test_random_search_tries_every_configuration_once_and_then_has_nothing_left():
    tried = [str(values) for values in run(random_search(SMALL), 9)]
    assert len(set(tried)) == 9
    oracle = random_search(SMALL)
    run(oracle, 9)
    assert oracle.next_trial() is Nothing.LEFT


def test_random_search_finds_the_last_configurations_of_a_larger_space():
    run(random_search([Int("a", 1, 200)]), 200)


def test_random_search_repeats_neither_what_runs_nor_what_a_trial_made_of_its_suggestion():
    oracle = random_search([Int("a", 1, 2)])
    trial = oracle.next_trial()
    trial.values = {"a": 3 - trial.suggested["a"]}
    end(oracle, trial)
    assert oracle.is_tried({"a": 1})
    assert oracle.is_tried({"a": 2})
    assert oracle.next_trial() is Nothing.LEFT


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
    assert list(config) == list(BY_NAME)


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
    assert [values["d"] for values in suggestions[:2]] == [False, True]
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


# Initial points


@pytest.mark.parametrize(
    "make", [RandomSearchOracle, GridSearchOracle, BayesianOptimizationOracle, HyperbandOracle]
)
def test_initial_points_come_first_and_are_completed(make):
    points = [{"units": 7, "kind": "sgd"}, {"rate": 0.01}]
    oracle = make(MIN, seed=0, space=SPACE, initial_points=points)
    (one, two), three = run(oracle, 2), run(oracle, 1)[0]
    assert (one["units"], one["kind"], two["rate"]) == (7, "sgd", 0.01)
    assert set(two) >= {"units", "rate", "kind"}
    assert three not in (one, two)


def test_initial_points_may_be_nested_and_name_options_by_object():
    space = DeclaredSpace(
        {
            "a": {"f": tune.choice([len, max]), "x": tune.uniform(0, 1)},
            "d": tune.choice([{"k": 1}, {"k": 2}]),
        }
    )
    oracle = RandomSearchOracle(
        MIN,
        None,
        0,
        space=space.parameters,
        initial_points=[{"a": {"f": max, "x": 0.25}, "d": {"k": 2}}],
    )
    assert space.fill(oracle.next_trial().suggested) == {"a": {"f": max, "x": 0.25}, "d": {"k": 2}}


@pytest.mark.parametrize(
    ("point", "message"),
    [
        ({"unit": 3}, r"unknown hyperparameter 'unit'.*units"),
        (
            {"units": 65},
            r"value for 'units' that it cannot have. Received: 65; it is defined as Int",
        ),
        ({"act": "silu"}, r"value for 'act' that it cannot have. Received: 'silu'"),
    ],
)
def test_an_initial_point_that_cannot_be_is_refused(point, message):
    with pytest.raises(ValueError, match=message):
        RandomSearchOracle(MIN, seed=0, space=SPACE, initial_points=[point])


@pytest.mark.parametrize(
    ("point", "stored"),
    [
        ({"dropout": 0}, 0.0),
        ({"dropout": 0.1 * 3}, 0.3),
        ({"units": 7.0}, 7),
        ({"act": "gelu"}, "gelu"),
    ],
)
@pytest.mark.parametrize("make", [RandomSearchOracle, BayesianOptimizationOracle])
def test_an_initial_value_is_stored_as_its_hyperparameter_has_it(make, point, stored):
    oracle = make(MIN, seed=0, space=SPACE, initial_points=[point])
    trial = end(oracle, oracle.next_trial())
    (name,) = point
    assert (type(trial.suggested[name]), trial.suggested[name]) == (type(stored), stored)


def test_a_name_that_is_not_known_yet_may_be_in_an_initial_point_where_the_space_is_not_whole():
    oracle = RandomSearchOracle(
        MIN,
        None,
        0,
        space=SearchSpace([Int("a", 1, 3)], is_whole=False),
        initial_points=[{"a": 2, "late": 5}],
    )
    assert oracle.next_trial().suggested == {"a": 2, "late": 5}


# What trials meet later


@pytest.mark.parametrize("make", [random_search, bayesian])
def test_a_search_goes_on_when_a_trial_meets_a_hyperparameter_late(make):
    """`deep` is asked for first, and only where it is true also `n`: eleven configurations, of
    which none is known before.
    """
    oracle, tried = make([]), set()
    for _ in range(11):
        trial = oracle.next_trial()
        deep = trial.suggested.get("deep", False)
        trial.values = {"deep": deep} | ({"n": trial.suggested.get("n", 1)} if deep else {})
        oracle.update_space([Boolean("deep"), *([Int("n", 1, 10)] if deep else [])])
        end(oracle, trial)
        tried.add(str(trial.values))
    assert len(tried) == 11
    assert oracle.next_trial() is Nothing.LEFT


def test_a_stopped_trial_is_not_taken_for_all_that_its_code_asks_for():
    oracle = grid([Int("a", 1, 2), Int("b", 1, 2)])
    trial = oracle.next_trial()
    trial.values = {"a": 1}
    trial.status, trial.executions[0] = (
        TrialStatus.STOPPED,
        Execution(TrialStatus.STOPPED, score=1.0),
    )
    oracle.end_trial(trial)
    rest = [end(oracle, trial) for trial in iter(oracle.next_trial, Nothing.LEFT)]
    assert {tuple(trial.suggested.values()) for trial in rest} == {(1, 2), (2, 1), (2, 2)}


# Grid search

LAYERS = [Int("layers", 1, 3), *(Choice(f"units_{number}", (16, 32, 64)) for number in range(3))]


def ask(trial, names=None):
    """What a model with a loop over its layers asks for."""
    layers = trial.suggested["layers"]
    trial.values = {
        "layers": layers,
        **{f"units_{i}": trial.suggested.get(f"units_{i}", 16) for i in range(layers)},
    }
    return trial


def every_trial(oracle, workers=1):
    """Runs a search to its end, so many trials at once."""
    running, done = [], []
    while True:
        while len(running) < workers and isinstance(trial := oracle.next_trial(), Trial):
            running.append(ask(trial))
        if not running:
            assert oracle.next_trial() is Nothing.LEFT
            return done
        done.append(end(oracle, running.pop(0)))


def test_grid_search_varies_the_last_hyperparameter_fastest():
    oracle = grid([Int("a", 1, 2), Choice("b", ("x", "y", "z"), default="y"), Boolean("c")])
    tried = [
        tuple(trial.values[name] for name in "abc")
        for trial in iter(lambda: _next_of(oracle), None)
    ]
    assert tried == [(a, b, c) for a in (1, 2) for b in "yxz" for c in (False, True)]


def _next_of(oracle):
    """A trial that is run to its end; `None` when there is none."""
    trial = oracle.next_trial()
    return end(oracle, trial) if isinstance(trial, Trial) else None


@pytest.mark.parametrize("workers", [1, 4])
def test_grid_search_trains_each_distinct_model_once(workers):
    done = every_trial(grid(LAYERS), workers)
    assert len(done) == len({str(trial.values) for trial in done}) == 3 + 9 + 27


@pytest.mark.parametrize("kept", [0, 1, 2, 20, 39])
def test_grid_search_continues_with_what_is_left(kept):
    whole = grid(LAYERS)
    trials = every_trial(whole)
    continued = grid(LAYERS)
    for trial in trials[:kept]:
        continued.restore_trial(trial)
        continued.end_trial(trial)
    rest = every_trial(continued)
    assert {str(trial.values) for trial in trials[:kept] + rest} == {
        str(trial.values) for trial in trials
    }
    assert len(rest) == 39 - kept


def test_grid_search_does_not_repeat_what_was_running_when_it_was_continued():
    first, continued = grid(LAYERS), grid(LAYERS)
    done = [end(first, ask(first.next_trial())) for _ in range(3)]
    running = ask(first.next_trial())
    for trial in [*done, running]:
        continued.restore_trial(trial)
        if trial is not running:
            continued.end_trial(trial)
    end(continued, running)
    rest = every_trial(continued)
    assert len({str(trial.values) for trial in [*done, running, *rest]}) == 39
    assert len(rest) == 35


def test_grid_search_tries_ten_values_of_a_range_without_a_step():
    oracle = grid([Float("rate", 1e-4, 1e-1, sampling="log"), Boolean("b")])
    first = oracle.next_trial()
    end(oracle, first)
    rates, flags = set(), set()
    while isinstance(trial := oracle.next_trial(), Trial):
        end(oracle, trial)
        rates.add(trial.suggested["rate"])
        flags.add(trial.suggested["b"])
    assert flags == {False, True}
    assert len(rates - {first.suggested["rate"]}) == 10


def test_grid_search_goes_round_a_configuration_that_fails():
    oracle = grid([Int("a", 1, 2), Int("b", 1, 2)])
    trial = oracle.next_trial()
    trial.values = {}  # it failed before it had asked for anything
    end(oracle, trial, score=None)
    rest = [end(oracle, trial) for trial in iter(oracle.next_trial, Nothing.LEFT)]
    assert {tuple(trial.suggested.values()) for trial in rest} == {(1, 2), (2, 1), (2, 2)}


# Bayesian optimisation


every_sampler = pytest.mark.parametrize("sampler", ["gp", "tpe"])


@pytest.mark.parametrize("sampler", ["gp", "tpe", "nsga2"])
def test_bayesian_optimisation_never_repeats_while_others_remain(sampler):
    tried = [
        str(values) for values in run(bayesian([Int("a", 1, 5), Boolean("b")], sampler=sampler), 10)
    ]
    assert len(set(tried)) == 10
    oracle = bayesian([Int("a", 1, 2)], sampler=sampler)
    run(oracle, 2)
    assert oracle.next_trial() is Nothing.LEFT


@every_sampler
@pytest.mark.parametrize(("objective", "good"), [(MIN, 0.2), (MAX, 0.8)])
def test_bayesian_optimisation_comes_closer_to_the_optimum(objective, good, sampler):
    oracle = bayesian([Float("a", 0, 1), Float("b", 0, 1)], objective=objective, sampler=sampler)
    values = [
        end(oracle, trial, trial.suggested["a"] + trial.suggested["b"]).suggested["a"]
        for trial in (oracle.next_trial() for _ in range(50))
    ]
    assert abs(sum(values[-10:]) / 10 - good) < 0.25


def test_bayesian_optimisation_learns_of_a_hyperparameter_from_the_trials_that_had_it():
    """Units of a layer that is not there make no difference; the model must not be told that they
    do.
    """
    space = SearchSpace(
        LAYERS, [{"layers": 1, "units_0": 16}, {"layers": 2, "units_0": 16, "units_1": 16}]
    )
    oracle = bayesian(space, sampler="tpe")
    for _ in range(12):
        end(oracle, ask(oracle.next_trial()))
    trials = [
        trial for trial in oracle._study._study.get_trials() if trial.state.name == "COMPLETE"
    ]
    assert len(trials) == 12
    for trial in trials:
        assert len(trial.params) == 1 + trial.params["layers"]


@every_sampler
def test_bayesian_optimisation_continues_from_the_trials_of_an_earlier_session(sampler):
    first, continued = bayesian(sampler=sampler), bayesian(sampler=sampler)
    run(first, 15)
    for trial in first.trials.values():
        continued.restore_trial(trial)
        continued.end_trial(trial)
    assert run(continued, 3) == run(first, 3)


@every_sampler
def test_bayesian_optimisation_learns_from_another_project(sampler):
    oracle, other = (
        bayesian([Float("a", 0, 1)], num_initial_points=1, sampler=sampler),
        bayesian([Float("a", 0, 1)]),
    )
    for _ in range(30):
        trial = other.next_trial()
        oracle.learn(end(other, trial, trial.suggested["a"]))
    assert not oracle.trials
    assert sum(values["a"] for values in run(oracle, 5)) / 5 < 0.3


@every_sampler
def test_running_trials_are_spread_out(sampler):
    oracle = bayesian([Float("a", 0, 1)], num_initial_points=5, sampler=sampler)
    for _ in range(20):
        trial = oracle.next_trial()
        end(oracle, trial, abs(trial.suggested["a"] - 0.5))
    side_by_side = [oracle.next_trial().suggested["a"] for _ in range(5)]
    assert len({round(value, 3) for value in side_by_side}) == 5


def test_samplers_are_checked_when_the_oracle_is_made():
    with pytest.raises(
        ValueError,
        match=(
            r"`sampler` must be 'gp', 'tpe', 'cmaes', 'nsga2' or one of `optuna.samplers`. "
            r"Received"
        ),
    ):
        bayesian(sampler="annealing")


def test_cmaes_can_be_chosen():
    oracle = bayesian([Float("a", 0, 1), Float("b", 0, 1)], sampler="cmaes", num_initial_points=5)
    values = [
        end(oracle, t, (t.suggested["a"] - 0.7) ** 2).suggested["a"]
        for t in (oracle.next_trial() for _ in range(60))
    ]
    assert abs(sum(values[-10:]) / 10 - 0.7) < 0.15


def test_a_gaussian_process_finds_no_front():
    both = MultiObjective([Objective("accuracy", "max"), Objective("size", "min")], pareto=True)
    with pytest.raises(
        ValueError, match=r"sampler='gp' cannot look for a Pareto front. Use 'tpe' or 'nsga2'"
    ):
        bayesian(objective=both, sampler="gp")


def test_what_failed_is_avoided():
    oracle = bayesian([Float("a", 0, 1)], sampler="gp")
    values = []
    for _ in range(30):
        trial = oracle.next_trial()
        values.append(trial.suggested["a"])
        end(
            oracle, trial, None if values[-1] < 0.5 else values[-1]
        )  # the best are next to those that fail
    assert sum(value < 0.5 for value in values[10:]) <= 10


def test_a_sampler_of_optunas_can_be_given():
    assert len(run(bayesian(SPACE[:2], sampler=samplers.RandomSampler(seed=1)), 5)) == 5


def test_several_objectives_give_a_front():
    both = MultiObjective([Objective("accuracy", "max"), Objective("size", "min")], pareto=True)
    oracle = bayesian([Float("a", 0, 1)], objective=both)
    for _ in range(30):
        trial = oracle.next_trial()
        a = trial.suggested["a"]
        trial.status, trial.executions[0] = TrialStatus.COMPLETED, Execution(TrialStatus.COMPLETED)
        trial.executions[0].observe(1, {"accuracy": a, "size": a**2}, both)
        oracle.end_trial(trial)
    assert len(oracle._study._study.best_trials) > 5  # every a is a compromise of its own


# Hyperband


def search_hyperband(workers=1, **options):
    """Runs a whole search; the score is a quality that a trial keeps through its stages."""
    oracle = hyperband([Float("quality", 0, 1)], objective=MIN, **options)
    running, done = [], []
    while True:
        while len(running) < workers and isinstance(trial := oracle.next_trial(), Trial):
            running.append(trial)
        if not running:
            assert oracle.next_trial() is Nothing.LEFT
            return done
        trial = running.pop(0)
        done.append(end(oracle, trial, trial.suggested["quality"]))


@pytest.mark.parametrize("workers", [1, 7])
def test_hyperband_has_the_brackets_of_keras_tuner(workers):
    assert len(search_hyperband(workers, max_epochs=100, factor=3)) == 254
    assert len(search_hyperband(workers, max_epochs=8, factor=2, hyperband_iterations=2)) % 2 == 0


def test_hyperband_promotes_the_best_and_continues_their_training():
    done = {trial.trial_id: trial for trial in search_hyperband(max_epochs=9, factor=3)}
    promoted = [trial for trial in done.values() if Stage.PARENT in trial.suggested]
    assert promoted
    for trial in promoted:
        parent = done[trial.suggested[Stage.PARENT]]
        assert trial.suggested["quality"] == parent.suggested["quality"]
        assert trial.suggested[Stage.INITIAL_EPOCH] == parent.suggested[Stage.EPOCHS]
        assert trial.suggested[Stage.EPOCHS] > parent.suggested[Stage.EPOCHS]
    first = [
        trial
        for trial in done.values()
        if trial.suggested[Stage.BRACKET] == 2 and trial.suggested[Stage.ROUND] == 0
    ]
    last = [
        trial
        for trial in done.values()
        if trial.suggested[Stage.BRACKET] == 2 and trial.suggested[Stage.ROUND] == 2
    ]
    assert (
        max(trial.score for trial in last) < sorted(trial.score for trial in first)[len(first) // 2]
    )


def test_hyperband_learns_what_to_begin_with():
    done = search_hyperband(max_epochs=27, factor=3)
    begun = [trial.suggested["quality"] for trial in done if Stage.PARENT not in trial.suggested]
    assert (
        sum(begun[-12:]) / 12 < sum(begun[:8]) / 8 - 0.1
    )  # two of three are proposed, where 0 is best


def test_hyperband_promotes_before_a_rung_is_full():
    oracle = hyperband([Float("quality", 0, 1)], max_epochs=9, factor=3)
    trials = [
        end(oracle, trial, trial.suggested["quality"])
        for trial in (oracle.next_trial() for _ in range(3))
    ]
    promoted = oracle.next_trial()
    assert promoted.suggested[Stage.PARENT] == min(trials, key=lambda trial: trial.score).trial_id


@pytest.mark.parametrize("workers", [1, 5])
@pytest.mark.parametrize("seed", range(5))
def test_hyperband_knows_from_where_trials_may_go_on(workers, seed):
    oracle = hyperband([Float("quality", 0, 1)], objective=MIN, max_epochs=9, factor=3, seed=seed)
    running, kept = [], set()
    while True:
        while len(running) < workers and isinstance(trial := oracle.next_trial(), Trial):
            assert trial.suggested.get(Stage.PARENT) in {None, *kept}
            running.append(trial)
        if not running:
            break
        ended = running.pop(0)
        end(oracle, ended, ended.suggested["quality"])
        before, kept = (
            kept | {ended.trial_id},
            {each.trial_id for each in oracle.trials.values() if oracle.is_continued(each)},
        )
        assert kept <= before  # what was removed is never asked for
        for child in running:
            assert child.suggested.get(Stage.PARENT) in {None, *kept}
    assert not kept


def test_hyperband_is_continued_where_it_was():
    whole = search_hyperband(max_epochs=9, factor=3)
    continued = hyperband([Float("quality", 0, 1)], max_epochs=9, factor=3)
    for trial in whole[:10]:
        continued.restore_trial(trial)
        continued.end_trial(trial)
    rest = [
        end(continued, trial, trial.suggested["quality"])
        for trial in iter(continued.next_trial, Nothing.LEFT)
    ]
    assert len(rest) == len(whole) - 10
    assert [trial.suggested for trial in rest] == [trial.suggested for trial in whole[10:]]


def test_hyperband_goes_on_without_failed_trials():
    oracle = hyperband([Float("quality", 0, 1)], max_epochs=9, factor=3)
    scores = [None, 0.5]
    done = [
        end(oracle, trial, scores[number % 2])
        for number, trial in enumerate(iter(oracle.next_trial, Nothing.LEFT))
    ]
    assert any(trial.suggested[Stage.ROUND] == 2 for trial in done)


def test_hyperband_does_not_promote_what_was_stopped():
    oracle = hyperband([Float("quality", 0, 1)], max_epochs=9, factor=3)
    for number, trial in enumerate(iter(oracle.next_trial, Nothing.LEFT)):
        assert (
            Stage.PARENT not in trial.suggested
            or oracle.trials[trial.suggested[Stage.PARENT]].status == TrialStatus.COMPLETED
        )
        end(oracle, trial, trial.suggested["quality"])
        if number % 2:
            trial.status = TrialStatus.STOPPED
            oracle.end_trial(trial)


@pytest.mark.parametrize("good", [1, 2, 3])
def test_hyperband_trains_to_the_end_however_few_are_left(good):
    oracle = hyperband([Float("quality", 0, 1)], max_epochs=9, factor=3)
    done = []
    for trial in iter(oracle.next_trial, Nothing.LEFT):
        is_first = trial.suggested[Stage.BRACKET] == 2 and trial.suggested[Stage.ROUND] == 0
        fails = is_first and sum(entry.score is not None for entry in done) >= good
        done.append(end(oracle, trial, None if fails else 0.5))
    assert any(
        trial.suggested[Stage.BRACKET] == 2 and trial.suggested[Stage.EPOCHS] == 9 for trial in done
    )


def test_hyperband_ends_when_a_small_space_is_exhausted():
    oracle = hyperband([Int("a", 1, 3)], max_epochs=9, factor=3)
    done = [
        end(oracle, trial, trial.suggested["a"]) for trial in iter(oracle.next_trial, Nothing.LEFT)
    ]
    assert sum(trial.suggested[Stage.ROUND] == 0 for trial in done) == 3


@pytest.mark.parametrize("options", [{"factor": 1}, {"max_epochs": 0}])
def test_hyperband_refuses_numbers_that_make_no_sense(options):
    with pytest.raises(ValueError, match=rf"`{next(iter(options))}` must be at least"):
        hyperband(**options)
