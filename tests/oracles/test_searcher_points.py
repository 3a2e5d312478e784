"""What a user gave to one of Ray's search algorithms has the hyperparameters' own values."""

import math

import optuna
import pytest
from optuna import samplers
from ray import tune
from ray.tune.search import ConcurrencyLimiter, Searcher
from ray.tune.search.hyperopt import HyperOptSearch
from ray.tune.search.optuna import OptunaSearch

from glimr_keras.oracles import BayesianOptimizationOracle, RaySearchOracle
from glimr_keras.space.declared_space import DeclaredSpace
from glimr_keras.space.hp_types import Boolean, Choice, Condition, Float, Int
from glimr_keras.trials.execution import Execution
from tests.oracles.helpers import MIN, end

OPTIONS = {"name": "deep", "size": 3}
SPACE = [
    Int("units", 16, 64, step=16),
    Float("rate", 1e-4, 1e-1, sampling="log"),
    Choice("kind", ("sgd", "adam", "adamw")),
    Choice("batch", (64, 16, 32)),
    Boolean("bias"),
    Float("momentum", 0, 1, step=0.25, conditions=(Condition("kind", ("sgd",)),)),
]
POINTS = [
    {
        "units": 48,
        "rate": 0.01,
        "kind": "sgd",
        "batch": 16,
        "bias": True,
        "momentum": 0.75,
    },
    {"units": 16, "rate": 0.001, "kind": "adamw", "batch": 64, "bias": False},
]


def of_optuna(**kwargs):
    return OptunaSearch(seed=0, **kwargs)


def of_hyperopt(**kwargs):
    return HyperOptSearch(random_state_seed=0, **kwargs)


def of_nevergrad(**kwargs):
    import nevergrad
    from ray.tune.search.nevergrad import NevergradSearch

    return NevergradSearch(optimizer=nevergrad.optimizers.OnePlusOne, **kwargs)


def of_bohb(**kwargs):
    from ray.tune.search.bohb import TuneBOHB

    return TuneBOHB(seed=0, **kwargs)


def limited(**kwargs):
    return ConcurrencyLimiter(of_optuna(**kwargs), max_concurrent=2)


def first(oracle, count=2):
    trials = [oracle.next_trial() for _ in range(count)]
    return [trial.suggested for trial in trials]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("make", [of_optuna, of_hyperopt, of_nevergrad, of_bohb, limited])
def test_points_are_tried_first_with_the_values_that_they_have(make):
    searcher = make(points_to_evaluate=[dict(point) for point in POINTS])
    assert first(RaySearchOracle(searcher, MIN, space=SPACE)) == [
        pytest.approx(point, rel=1e-9) for point in POINTS
    ]


def test_what_a_point_leaves_out_is_drawn():
    oracle = RaySearchOracle(of_optuna(points_to_evaluate=[{"kind": "adam"}]), MIN, space=SPACE)
    (tried,) = first(oracle, 1)
    assert tried["kind"] == "adam"
    assert set(tried) == {"units", "rate", "kind", "batch", "bias"}


def test_options_and_scopes_are_given_as_in_the_space():
    space = {"head": {"act": tune.choice([None, OPTIONS, "relu"]), "units": tune.choice([8, 4])}}
    points = [
        {"head": {"act": OPTIONS, "units": 4}},
        {"head/act": "relu", "head/units": 8},
    ]
    oracle = RaySearchOracle(
        of_optuna(points_to_evaluate=points), MIN, space=DeclaredSpace(space).parameters
    )
    assert [DeclaredSpace(space).fill(values)["head"] for values in first(oracle)] == [
        {"act": OPTIONS, "units": 4},
        {"act": "relu", "units": 8},
    ]


def test_rewards_are_those_of_the_values_that_were_given():
    searcher = of_optuna(
        points_to_evaluate=[POINTS[1], POINTS[1] | {"units": 64}], evaluated_rewards=[0.25, 0.5]
    )
    oracle = RaySearchOracle(searcher, MIN, space=SPACE)
    study = oracle._searcher._ot_study
    assert [trial.value for trial in study.trials] == [0.25, 0.5]
    decoded = [
        {
            parameter.name: encoding.decode(trial.params[name])
            for name, (parameter, encoding) in oracle._searched.items()
            if parameter.name in POINTS[1]
        }
        for trial in study.trials
    ]
    assert decoded == [POINTS[1], POINTS[1] | {"units": 64}]
    assert oracle.next_trial().suggested != POINTS[1]


@pytest.mark.parametrize("make", [of_optuna, of_hyperopt])
def test_a_search_that_goes_on_tries_no_point_again_and_learns_from_it(make):
    searcher = make(points_to_evaluate=[dict(point) for point in POINTS])
    oracle = RaySearchOracle(searcher, MIN, space=SPACE)
    done = oracle.next_trial()
    end(oracle, done, 0.5)
    going_on = RaySearchOracle(searcher, MIN, space=SPACE)
    again = type(done).of(
        done.trial_id, done.suggested, done.sampling_key, SPACE, {0: Execution("COMPLETED", 0.5)}
    )
    again.status = "COMPLETED"
    going_on.restore_trial(again)
    going_on.trial_ended(again)
    assert first(going_on, 1) == [POINTS[1]]


@pytest.mark.parametrize(
    ("point", "message"),
    [
        ({"kind": "sgdd"}, r"`points_to_evaluate` has a value for 'kind' that it cannot have"),
        ({"kind": 0}, r"`points_to_evaluate` has a value for 'kind' that it cannot have"),
        (["sgd"], r"must be a list of dicts, one for each configuration. Received: \['sgd'\]"),
    ],
)
def test_points_that_do_not_fit_are_refused(point, message):
    with pytest.raises(ValueError, match=message):
        RaySearchOracle(of_optuna(points_to_evaluate=[point]), MIN, space=SPACE)


def test_names_are_looked_at_when_the_search_knows_its_space():
    oracle = RaySearchOracle(of_optuna(points_to_evaluate=[{"unitz": 16}]), MIN, space=SPACE)
    with pytest.raises(
        ValueError, match=r"'unitz', which OptunaSearch does not choose. Did you mean 'units'\?"
    ):
        oracle.begin(MIN, 0, oracle.space)


def test_a_reward_of_a_part_of_a_configuration_is_refused():
    searcher = of_optuna(points_to_evaluate=[{"kind": "adam"}], evaluated_rewards=[0.5])
    with pytest.raises(ValueError, match=r"Missing: 'units'.*`initial_points`"):
        RaySearchOracle(searcher, MIN, space=SPACE)


class ZOOptSearch(Searcher):
    """Takes points, as Ray's, whose package is not installed; that says that it ignores them."""

    def __init__(self, points_to_evaluate):
        super().__init__()
        self._points_to_evaluate = points_to_evaluate


def test_an_algorithm_that_tries_no_points_is_refused_with_points():
    with pytest.raises(ValueError, match=r"ZOOptSearch does not try .*`initial_points`"):
        RaySearchOracle(ZOOptSearch([POINTS[0]]), MIN, space=SPACE)


GIVEN_VALUES = [
    (lambda: samplers.GridSampler({"units": [16, 32]}), "GridSampler .* `GridSearch`"),
    (
        lambda: samplers.PartialFixedSampler({"units": 16}, samplers.RandomSampler()),
        "PartialFixedSampler .* `Fixed`",
    ),
    (lambda: samplers.CmaEsSampler(x0={"rate": 0.1}), "CmaEsSampler .* `initial_points`"),
    (
        lambda: samplers.TPESampler(constraints_func=lambda trial: [trial.params["units"] - 32]),
        "TPESampler .* `FailedTrialError`",
    ),
]


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
@pytest.mark.filterwarnings("ignore:.*(x0|constraints_func).* has been deprecated:FutureWarning")
@pytest.mark.parametrize(("make", "message"), GIVEN_VALUES)
def test_samplers_of_optuna_that_were_given_values_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        BayesianOptimizationOracle(MIN, sampler=make(), space=SPACE)
    with pytest.raises(ValueError, match=message):
        RaySearchOracle(OptunaSearch(sampler=make()), MIN, space=SPACE)


@pytest.mark.parametrize("make", [samplers.TPESampler, samplers.RandomSampler])
def test_other_samplers_are_taken(make):
    assert isinstance(make(seed=0), optuna.samplers.BaseSampler)
    for oracle in (
        BayesianOptimizationOracle(MIN, sampler=make(seed=0), space=SPACE),
        RaySearchOracle(OptunaSearch(sampler=make(seed=0)), MIN, space=SPACE),
    ):
        assert math.isfinite(oracle.next_trial().suggested["rate"])
