"""Optimizers as part of a search space."""

import keras
import pytest
from ray import tune

from glimr_keras import keras_optimizer, optimization_space, sample_space
from glimr_keras.models.optimizers import _optimizers
from glimr_keras.space.declared_space import DeclaredSpace


@pytest.mark.parametrize("name", sorted(kind.__name__ for kind in _optimizers().values()))
def test_every_optimizer_of_keras_is_made_by_name_and_gets_what_it_takes(name):
    section = {
        "epochs": 3,
        "method": name,
        "learning_rate": 0.25,
        "momentum": 0.5,
        "beta_1": 0.7,
        "rho": 0.6,
        "clipnorm": 2.0,
    }
    optimizer = keras_optimizer(section)
    assert type(optimizer).__name__ == name
    config = optimizer.get_config()
    assert config["learning_rate"] == 0.25
    assert config["clipnorm"] == 2.0
    for hyperparameter in ("momentum", "beta_1", "rho"):
        assert config.get(hyperparameter, section[hyperparameter]) == section[hyperparameter]


@pytest.mark.parametrize(
    ("name", "kind"),
    [("rms", "RMSprop"), ("rmsprop", "RMSprop"), ("adam_w", "AdamW"), ("SGD", "SGD")],
)
def test_names_may_be_aliases_in_any_spelling(name, kind):
    assert type(keras_optimizer({"method": name})).__name__ == kind


def test_a_method_may_be_a_class_or_registered_or_have_hyperparameters_of_its_own():
    @keras.saving.register_keras_serializable("tests")
    class Mine(keras.optimizers.SGD):
        pass

    assert type(keras_optimizer({"method": Mine})) is Mine
    assert type(keras_optimizer({"method": "tests>Mine"})) is Mine
    optimizer = keras_optimizer(
        {"method": {"name": "sgd", "momentum": 0.5}, "learning_rate": 0.1, "momentum": 0.9}
    )
    assert optimizer.momentum == 0.5


class Mine(keras.optimizers.SGD):
    """Hands what it does not name on."""

    def __init__(self, boldness=1.0, **kwargs):
        super().__init__(name="mine", **kwargs)
        self.boldness = boldness


def test_an_optimizer_of_ones_own_gets_what_it_names_and_what_it_hands_on():
    made = keras_optimizer(
        {"method": Mine, "learning_rate": 0.25, "momentum": 0.5, "boldness": 3.0, "rho": 0.9}
    )
    assert (float(made.learning_rate), made.momentum, made.boldness) == (0.25, 0.5, 3.0)
    section = optimization_space(method=tune.choice([Mine, "adam"]), boldness=2.0)
    assert section["method"].categories[0].keys() == {"name", "momentum", "boldness"}


def test_a_schedule_begins_at_the_learning_rate():
    section = {
        "method": "sgd",
        "learning_rate": 0.5,
        "schedule": {"name": "cosine_decay", "decay_steps": 10, "alpha": 0.1},
    }
    schedule = keras_optimizer(section).get_config()["learning_rate"]["config"]
    assert (schedule["initial_learning_rate"], schedule["decay_steps"], schedule["alpha"]) == (
        0.5,
        10,
        0.1,
    )
    assert keras_optimizer({**section, "schedule": None}).get_config()["learning_rate"] == 0.5
    piecewise = {"name": "PiecewiseConstantDecay", "boundaries": [5], "values": [0.1, 0.01]}
    assert keras_optimizer({**section, "schedule": piecewise}).learning_rate is not None


def test_averaging_may_be_an_option_with_hyperparameters():
    averaged = keras_optimizer(
        {"method": "sgd", "use_ema": {"name": "True", "ema_momentum": 0.95}}
    ).get_config()
    assert (averaged["use_ema"], averaged["ema_momentum"]) == (True, 0.95)
    assert keras_optimizer({"method": "sgd", "use_ema": False}).get_config()["use_ema"] is False


@pytest.mark.parametrize(
    ("section", "error", "message"),
    [
        ("adam", TypeError, "The `optimization` section must be a dict. Received: 'adam'"),
        ({}, ValueError, "The `optimization` section needs a 'method'"),
        (
            {"method": 3},
            TypeError,
            "An optimization method must be a name, a class, or a dict with a 'name'. Received: 3",
        ),
        ({"method": "adma"}, ValueError, r"There is no optimizer 'adma'.* Keras has: Adadelta, "),
        (
            {"method": "sgd", "learning_rat": 1},
            ValueError,
            "'learning_rat' is no argument of any optimizer.*Did you mean",
        ),
        (
            {"method": {"name": "sgd", "rho": 1}},
            ValueError,
            "'rho' is no argument of the optimizer SGD. .*It has: clipnorm, ",
        ),
        (
            {"method": "sgd", "schedule": {"name": "cosine"}},
            ValueError,
            "There is no learning-rate schedule 'cosine'",
        ),
        (
            {"method": "sgd", "schedule": "cosine_decay"},
            TypeError,
            "A 'schedule' must be None or a dict with a 'name'",
        ),
        (
            {"method": "sgd", "schedule": {"name": "cosine_decay", "steps": 3}},
            ValueError,
            "'steps' is no argument of the schedule CosineDecay",
        ),
    ],
)
def test_what_cannot_be_used_is_refused(section, error, message):
    with pytest.raises(error, match=message):
        keras_optimizer(section)


# The space


def test_a_configuration_has_only_what_its_method_uses():
    space = {"optimization": optimization_space(clipnorm=tune.choice([None, 1.0]))}
    seen = set()
    for seed in range(40):
        section = sample_space(space, seed)["optimization"]
        method = section["method"]
        own = set(method) - {"name"} if isinstance(method, dict) else set()
        name = method["name"] if isinstance(method, dict) else method
        assert own == {
            "rms": {"rho", "momentum"},
            "sgd": {"momentum"},
            "adadelta": {"rho"},
            "adam": {"beta_1", "beta_2"},
        }.get(name, set())
        assert set(section) == {"epochs", "method", "learning_rate", "clipnorm"}
        assert type(keras_optimizer(section)).__name__.lower().startswith(name)
        seen.add(name)
    assert seen == {"rms", "sgd", "adadelta", "adagrad", "adam"}


def test_they_are_conditions_for_the_search():
    parameters = {
        p.name: p for p in DeclaredSpace({"optimization": optimization_space()}).parameters
    }
    assert parameters["optimization/method/beta_1"].exists({"optimization/method": "adam"})
    assert not parameters["optimization/method/beta_1"].exists({"optimization/method": "sgd"})


def test_one_method_has_the_flat_section_of_glimr():
    section = optimization_space(epochs=5, method="adamw", weight_decay=0.01, beta_1=0.8)
    assert (section["method"], section["beta_1"], section["weight_decay"], section["epochs"]) == (
        "adamw",
        0.8,
        0.01,
        5,
    )
    assert "momentum" not in section


def test_averaging_is_searched_with_its_hyperparameters():
    space = {"optimization": optimization_space(use_ema=tune.choice([True, False]))}
    drawn = [sample_space(space, seed)["optimization"]["use_ema"] for seed in range(10)]
    assert {type(option) for option in drawn} == {bool, dict}
    assert all(
        set(option) == {"name", "ema_momentum", "ema_overwrite_frequency"}
        for option in drawn
        if option
    )
    assert "ema_momentum" not in optimization_space()
    assert "ema_momentum" in optimization_space(use_ema=True)


def test_a_schedule_is_searched():
    schedules = tune.choice(
        [
            None,
            {"name": "exponential_decay", "decay_steps": 100, "decay_rate": tune.uniform(0.5, 0.9)},
        ]
    )
    space = {"optimization": optimization_space(schedule=schedules)}
    for seed in range(6):
        keras_optimizer(sample_space(space, seed)["optimization"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"method": tune.choice(["adam", "annealing"])}, "There is no optimizer 'annealing'"),
        ({"method": "sgd", "amsgrad": True}, "'amsgrad' is no argument of any of the methods sgd"),
        (
            {"weight_decya": 0.1},
            "'weight_decya' is no argument of any of the methods rms, .* Did you mean "
            "'weight_decay'",
        ),
    ],
)
def test_spaces_that_make_no_sense_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        optimization_space(**arguments)
