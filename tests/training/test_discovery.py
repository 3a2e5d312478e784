"""The whole space is known before the first trial, whatever the user's code does with its
hyperparameters.
"""

import keras
import pytest
from ray import tune

import glimr_keras as gk
from glimr_keras.models.data import FitArguments
from glimr_keras.models.hypermodel import as_hypermodel
from glimr_keras.space.declared_space import DeclaredSpace
from glimr_keras.space.hp_types import Condition
from glimr_keras.space.search_space import SearchSpace
from glimr_keras.training import discovery
from glimr_keras.training.context import TrialContext
from glimr_keras.training.discovery import probe
from glimr_keras.training.trial_loop import loop_of
from tests import tiny_models

ARGUMENTS = FitArguments(
    tiny_models.TRAIN, {"validation_data": tiny_models.VALIDATION, "epochs": 3}
)


def found_in(hypermodel, space=None, arguments=ARGUMENTS):
    made, objective = as_hypermodel(hypermodel), gk.Objective("val_loss", "min")
    loop = loop_of(made)
    found = probe(TrialContext(made, DeclaredSpace(space), objective, arguments, loop=loop))
    assert found.error is None
    return found


def names(found):
    return {parameter.name for parameter in found.parameters}


def model_of(layers):
    return tiny_models.compiled(
        keras.Sequential([keras.Input((6,)), *layers, keras.layers.Dense(2, "softmax")])
    )


def stack(config):
    return model_of(
        [
            keras.layers.Dense(config.Int(f"units_{number}", 2, 8))
            for number in range(config.Int("layers", 1, 4))
        ]
    )


def branches(config):
    if config.Choice("kind", ["dense", "none", "two"]) == "dense":
        return model_of([keras.layers.Dense(config.Int("units", 2, 8))])
    if config["kind"] == "two" and config.Boolean("wide"):
        return model_of([keras.layers.Dense(config.Choice("width", [16, 32]))])
    return model_of([])


def test_a_loop_over_an_integer_is_known_to_its_end():
    found = found_in(stack)
    assert names(found) == {"layers", "units_0", "units_1", "units_2", "units_3"}
    space = SearchSpace(found.parameters, found.observations)
    conditions = {parameter.name: space.conditions(parameter) for parameter in found.parameters}
    assert conditions["units_0"] == ()
    assert conditions["units_3"] == (Condition("layers", (4,)),)


def test_every_branch_is_looked_at_also_one_inside_another():
    found = found_in(branches)
    assert names(found) == {"kind", "units", "wide", "width"}
    assert found.is_complete


def test_a_branch_that_two_values_open_together_is_found():
    def build(config):
        left, right = config.Boolean("left"), config.Boolean("right")
        units = config.Int("both", 2, 8) if left and right else 2
        return model_of([keras.layers.Dense(units)])

    assert "both" in names(found_in(build))


def test_conditional_scopes_are_known_with_their_conditions():
    def build(config):
        config.Choice("kind", ["a", "b"])
        with config.conditional_scope("kind", ["b"]):
            units = config.Int("units", 2, 8)
        return model_of([keras.layers.Dense(units or 2)])

    (units,) = (parameter for parameter in found_in(build).parameters if parameter.name == "units")
    assert units.conditions == (Condition("kind", ("b",)),)


class AsksEverywhere(gk.HyperModel):
    def data(self, config):
        size = config.Choice("samples", [32, 64])
        return (tiny_models.X[:size], tiny_models.Y[:size]), tiny_models.VALIDATION

    def build(self, config):
        return tiny_models.build(config)

    def fit(self, config, model, *args, **kwargs):
        epochs = config.Int("epochs", 1, 9)
        history = model.fit(
            *args,
            **{**kwargs, "epochs": epochs, "batch_size": config.Choice("batch_size", [8, 16])},
        )
        if config.Boolean("again"):
            model.fit(*args, **{**kwargs, "epochs": config.Int("more", 1, 9)})
        return max(history.history["val_accuracy"])


def test_what_data_and_fit_ask_for_is_known_though_nothing_is_trained(monkeypatch):
    monkeypatch.setattr(
        keras.Model, "fit", lambda *args, **kwargs: pytest.fail("a model was trained")
    )
    found = found_in(AsksEverywhere(), arguments=FitArguments())
    assert names(found) == {
        "samples",
        "units",
        "learning_rate",
        "epochs",
        "batch_size",
        "again",
        "more",
    }


def test_a_fit_of_the_users_own_sees_no_results_before_the_search(tmp_path):
    class Writes(gk.HyperModel):
        def build(self, config):
            return tiny_models.build(config)

        def fit(self, config, model, *args, **kwargs):
            history = model.fit(
                *args, **{**kwargs, "batch_size": config.Choice("batch_size", [8, 16])}
            )
            with (tmp_path / "rows.csv").open("a") as file:
                file.write(f"{history.history['val_loss'][-1]}\n")
            return history

    assert "batch_size" in names(found_in(Writes()))
    assert (tmp_path / "rows.csv").read_text() == ""


def test_a_training_loop_of_the_users_own_ends_before_its_first_step():
    class Loop(gk.HyperModel):
        def build(self, config):
            return tiny_models.build(config)

        def fit(self, config, model, *args, **kwargs):
            clip = config.Float("clip", 0.1, 1)
            weights = [keras.ops.zeros_like(weight) for weight in model.trainable_variables]
            for _ in range(1000):
                model.optimizer.apply(
                    [clip * weight for weight in weights], model.trainable_variables
                )
            raise AssertionError("trained")

    assert "clip" in names(found_in(Loop()))


def test_data_is_made_once_where_it_asks_for_nothing():
    class Counts(gk.HyperModel):
        made = 0

        def data(self, config):
            Counts.made += 1
            return tiny_models.TRAIN, tiny_models.VALIDATION

        def build(self, config):
            return stack(config)

    found_in(Counts(), arguments=FitArguments())
    assert Counts.made == 1


def test_a_configuration_that_cannot_be_built_hides_nothing_that_was_asked_for_before():
    def build(config):
        units, kind = config.Int("units", 2, 8), config.Choice("kind", ["good", "bad"])
        if kind == "bad":
            config.Int("only_in_bad", 1, 2)
            raise ValueError("cannot be built")
        return model_of([keras.layers.Dense(units)])

    assert names(found_in(build)) == {"units", "kind", "only_in_bad"}


def test_looking_ends_when_its_time_is_over_with_what_was_found(monkeypatch):
    monkeypatch.setattr(discovery, "_MAX_SECONDS", 0.0)
    found = found_in(stack)
    assert not found.is_complete
    assert names(found) == {"layers", "units_0"}


def test_what_is_found_is_always_the_same():
    assert found_in(branches) == found_in(branches)


def test_declared_and_found_hyperparameters_are_one_space():
    def build(config):
        units = config["units"] if config["kind"] == "a" else config.Int("other", 2, 8)
        return model_of([keras.layers.Dense(units)])

    found = found_in(build, {"units": tune.randint(2, 9), "kind": tune.choice(["a", "b"])})
    assert names(found) == {"units", "kind", "other"}


def test_user_code_prints_nothing_while_branches_are_looked_at(capsys):
    def build(config):
        print("building", config.Int("layers", 1, 4))
        return model_of([])

    found_in(build)
    assert capsys.readouterr().out == "building 1\n"
