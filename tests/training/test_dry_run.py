"""Trying one configuration before a search."""

import keras
import pytest
from ray import tune

import glimr_keras as gk
from tests import tiny_models

DATA = {
    "x": tiny_models.TRAIN[0],
    "y": tiny_models.TRAIN[1],
    "validation_data": tiny_models.VALIDATION,
}


def test_it_shows_what_a_training_is_like(project):
    tried = gk.RayTuner(tiny_models.build, "val_accuracy", **project).try_configuration(
        {"units": 16}, **DATA
    )
    assert tried.config["units"] == 16
    assert tried.inputs == (None, 6)
    assert tried.outputs == (None, 2)
    assert tried.parameters == tried.trainable == 6 * 16 + 16 + 16 * 2 + 2
    assert tried.memory >= 4 * 4 * tried.parameters  # weights, gradients and two moments
    assert set(tried.logs) == {"loss", "accuracy", "val_loss", "val_accuracy"}
    assert tried.seconds_to_begin > 0
    assert tried.seconds_per_epoch > 0
    assert tried.model.evaluate(*tiny_models.VALIDATION, verbose=0)[1] == pytest.approx(
        tried.logs["val_accuracy"]
    )
    text = str(tried)
    assert "units: 16" in text
    assert f"Parameters: {tried.parameters}" in text
    assert not project["directory"].joinpath("project").exists()


def test_it_ends_after_some_batches(project):
    tried = gk.RayTuner(tiny_models.build, "val_accuracy", **project).try_configuration(
        None, *tiny_models.TRAIN, batch_size=8, batches=2
    )
    assert int(tried.model.optimizer.iterations) == 2
    assert tried.seconds_per_epoch is not None


def test_a_sample_of_the_space_can_be_tried(project):
    space = {
        "layer": {"units": tune.choice([4, 8]), "name": "first"},
        "optimization": gk.optimization_space(epochs=1, method=tune.choice(["sgd", "adam"])),
    }

    def build(config):
        model = keras.Sequential(
            [keras.Input((6,)), keras.layers.Dense(config["layer"]["units"]), keras.layers.Dense(2)]
        )
        model.compile(gk.keras_optimizer(config["optimization"]), "mse")
        return model

    tuner = gk.RayTuner(build, "loss", space=space, **project)
    for seed in range(4):
        sampled = gk.sample_space(space, seed)
        tried = tuner.try_configuration(sampled, tiny_models.X, tiny_models.X[:, :2], batches=1)
        assert tried.config.declared == sampled
        assert type(tried.model.optimizer).__name__.lower() == (
            sampled["optimization"]["method"]
            if isinstance(sampled["optimization"]["method"], str)
            else sampled["optimization"]["method"]["name"]
        )
    flat = tuner.try_configuration(
        {"layer/units": 8}, tiny_models.X, tiny_models.X[:, :2], batches=1
    )
    assert flat.config["layer"]["units"] == 8


def test_the_first_fold_is_tried(project):
    folds = []

    class Folded(gk.HyperModel):
        def build(self, config):
            return tiny_models.build(config)

        def data(self, config):
            folds.append((config.fold, config.num_folds))
            return tiny_models.TRAIN, tiny_models.VALIDATION

    gk.RayTuner(Folded(), "val_loss", cv_folds=3, **project).try_configuration(batches=1)
    assert folds == [(0, 3)]


def test_arrays_are_split_into_folds(project):
    tuner = gk.RayTuner(tiny_models.build, "val_loss", cv_folds=3, **project)
    tried = tuner.try_configuration({"units": 4}, tiny_models.X, tiny_models.Y, batches=1)
    assert "val_loss" in tried.logs
    tried = tuner.try_configuration(
        {"units": 4}, tiny_models.X, tiny_models.Y, folds=[0, 1, 2] * 32, batches=1
    )
    assert "val_loss" in tried.logs


def test_a_trial_of_ones_own_has_no_model_to_try(project):
    class Own(gk.HyperModel):
        def run(self, config):
            return config.Float("x", 0, 1)

    with pytest.raises(
        ValueError, match=r"There is no model to try: Own has its own `run\(config\)`"
    ):
        gk.RayTuner(Own(), gk.Objective("score", "max"), **project).try_configuration()


def test_mistakes_are_shown_as_they_are(project):
    tuner = gk.RayTuner(
        tiny_models.build, "val_accuracy", space={"rate": tune.uniform(0, 1)}, **project
    )
    with pytest.raises(
        ValueError, match=r"has a value for 'rate' that it cannot have. Received: 3"
    ):
        tuner.try_configuration({"rate": 3.0}, **DATA)
    with pytest.raises(ValueError, match="There is no data to train on"):
        tuner.try_configuration()
    with pytest.raises(ValueError, match="`batches` must be an integer of at least 1"):
        tuner.try_configuration(batches=0, **DATA)

    def broken(config):
        raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        gk.RayTuner(broken, "val_accuracy", **project).try_configuration(**DATA)
