"""Every search algorithm of Ray that works with current releases, through a space with conditions,
steps and options.
"""

import pytest
from ray import tune

from glimr_keras.oracles import RaySearchOracle
from glimr_keras.space.declared_space import DeclaredSpace
from glimr_keras.space.hp_types import Boolean, Choice, Condition, Fixed, Float
from glimr_keras.trials.objective import Objective
from tests.oracles.helpers import SPACE, run

NUMBERS = [
    *SPACE[:6],
    Choice("size", (16, 32, 64)),
    Fixed("version", 3),
]
OPTIONS = [
    Choice("kind", ("sgd", "adam")),
    Float("momentum", 0, 1, conditions=(Condition("kind", ("sgd",)),)),
    Boolean("nesterov", conditions=(Condition("kind", ("sgd",)),)),
]
DECLARED = DeclaredSpace(
    {
        "loss": tune.choice(
            [
                {"name": "a", "kwargs": {"smoothing": tune.uniform(0, 0.2)}},
                {"name": "b", "kwargs": {}},
            ]
        ),
        "noise": tune.randn(0, 1),
        "batch": tune.qlograndint(8, 64, 8),
        "activation": tune.choice([len, None, "relu"]),
    }
).parameters


def optuna():
    from ray.tune.search.optuna import OptunaSearch

    return OptunaSearch(seed=0)


def hyperopt():
    from ray.tune.search.hyperopt import HyperOptSearch

    return HyperOptSearch(random_state_seed=0, n_initial_points=5)


def bohb():
    from ray.tune.search.bohb import TuneBOHB

    return TuneBOHB(seed=0)


def nevergrad():
    import nevergrad
    from ray.tune.search.nevergrad import NevergradSearch

    return NevergradSearch(optimizer=nevergrad.optimizers.OnePlusOne)


@pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"
)
@pytest.mark.parametrize("make", [optuna, hyperopt, bohb, nevergrad])
def test_a_searcher_chooses_exactly_what_the_definitions_allow(make):
    space = [*NUMBERS, *OPTIONS, *DECLARED]
    suggestions = run(
        RaySearchOracle(make(), Objective("val_loss", "min"), None, seed=0, space=space), 20
    )
    for values in suggestions:
        existing = {parameter.name for parameter in space if parameter.exists(values)}
        assert set(values) == existing
        for parameter in space:
            if parameter.name in values:
                assert parameter.allows(values[parameter.name])
    assert {values["kind"] for values in suggestions} == {"sgd", "adam"}
    assert len({str(values) for values in suggestions}) > 10


class BayesOptSearch(tune.search.Searcher):
    """Stands for Ray's, whose package is not current: it knows linear real numbers only."""

    def set_search_properties(self, metric, mode, config, **spec):
        self.config = config
        assert all(type(domain.get_sampler()).__name__ == "_Uniform" for domain in config.values())
        return True

    def suggest(self, trial_id):
        return {name: domain.sample() for name, domain in self.config.items()}

    def on_trial_complete(self, trial_id, result=None, error=False):
        pass


def test_a_searcher_of_real_numbers_is_shown_every_number_as_one():
    for values in run(
        RaySearchOracle(
            BayesOptSearch(), Objective("val_loss", "min"), None, seed=0, space=NUMBERS
        ),
        20,
    ):
        assert all(parameter.allows(values[parameter.name]) for parameter in NUMBERS)


def test_a_searcher_that_cannot_choose_among_options_is_refused_by_name():
    with pytest.raises(
        ValueError,
        match=(
            r"BayesOptSearch chooses numbers only, and hyperparameter 'kind' is one of 2 "
            r"options.*Optuna"
        ),
    ):
        RaySearchOracle(
            BayesOptSearch(), Objective("val_loss", "min"), None, seed=0, space=[*NUMBERS, *OPTIONS]
        )


def test_what_a_searcher_says_of_a_space_that_it_refuses_is_passed_on():
    class Refuses(BayesOptSearch):
        def set_search_properties(self, metric, mode, config, **spec):
            raise ValueError("too many dimensions")

    with pytest.raises(
        ValueError,
        match=(
            r"Refuses cannot search these hyperparameters: too many dimensions. Received: units, "
            r".*Bayesian"
        ),
    ):
        RaySearchOracle(Refuses(), Objective("val_loss", "min"), None, seed=0, space=NUMBERS)
