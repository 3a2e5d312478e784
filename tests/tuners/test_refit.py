"""The final training."""

import random

import keras
import numpy as np
import pytest

import glimr_keras as gk
from glimr_keras.errors import ProjectError
from tests.tiny_models import TRAIN, VALIDATION, X, Y, build


class Recording(gk.HyperModel):
    """Remembers what it was given to train with."""

    def __init__(self):
        super().__init__()
        self.given = []

    def build(self, config):
        return build(config)

    def fit(self, config, model, *args, **kwargs):
        self.given.append((config.values["units"], args, kwargs))
        return model.fit(*args, **kwargs)


@pytest.fixture
def tuner(project):
    """After a search."""
    tuner = gk.RandomSearch(
        Recording(), "val_accuracy", max_trials=3, seed=2, executor="inline", **project
    )
    tuner.search(*TRAIN, validation_data=VALIDATION, epochs=3, verbose=0)
    tuner.hypermodel.given.clear()
    return tuner


def test_the_best_configuration_is_trained_on_all_for_the_epochs_of_its_score(tuner):
    best = tuner.oracle.get_best_trials()[0]
    model = tuner.refit(X, Y, batch_size=48)
    [(units, args, kwargs)] = tuner.hypermodel.given
    assert units == best.hyperparameters.get("units") == model.layers[1].units
    assert args[0] is X
    assert kwargs["epochs"] == best.best_step + 1
    assert kwargs["batch_size"] == 48
    assert "validation_data" not in kwargs
    assert model.optimizer.iterations == 2 * (best.best_step + 1)
    assert set(model.evaluate(X, Y, verbose=0, return_dict=True)) == {"loss", "accuracy"}


def test_another_trial_and_other_epochs_can_be_asked_for(tuner):
    worst = tuner.oracle.get_best_trials(3)[-1]
    tuner.refit(X, Y, trial_id=worst.trial_id, epochs=5)
    [(units, _, kwargs)] = tuner.hypermodel.given
    assert units == worst.hyperparameters.get("units")
    assert kwargs["epochs"] == 5


def test_it_is_the_same_each_time_and_leaves_the_scripts_draws_alone(tuner):
    random.seed(4)
    np.random.seed(4)
    expected = random.random(), np.random.random()
    random.seed(4)
    np.random.seed(4)
    first = tuner.refit(X, Y)
    assert (random.random(), np.random.random()) == expected
    second = tuner.refit(X, Y)
    for one, other in zip(first.get_weights(), second.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_several_seeds_are_an_ensemble_of_different_models(tuner):
    model = tuner.refit(X, Y, seeds=3)
    predicted = [member.predict(X, verbose=0) for member in model.models]
    assert len(predicted) == 3
    assert np.ptp(predicted, axis=0).max() > 0
    np.testing.assert_allclose(model.predict(X, verbose=0), np.mean(predicted, axis=0), rtol=1e-5)


def test_callbacks_are_those_of_the_final_training(tuner):
    class Counting(keras.callbacks.Callback):
        epochs = 0

        def on_epoch_end(self, epoch, logs=None):
            self.epochs += 1

    counting = Counting()
    tuner.refit(X, Y, epochs=2, callbacks=[counting])
    assert counting.epochs == 2


def test_nothing_is_written_to_the_project(tuner):
    place = tuner._glimr.place
    before = {path: path.stat().st_mtime_ns for path in place.rglob("*")}
    tuner.refit(X, Y)
    assert {path: path.stat().st_mtime_ns for path in place.rglob("*")} == before


def test_a_hypermodel_brings_its_data(project):
    folds = []

    class Loaded(gk.HyperModel):
        def data(self, config):
            folds.append(config.fold)
            return (X, Y), (None if config.fold is None else VALIDATION)

        def build(self, config):
            return build(config)

    tuner = gk.RandomSearch(
        Loaded(), "val_accuracy", max_trials=1, cv_folds=2, executor="inline", **project
    )
    tuner.search(epochs=1, verbose=0)
    folds.clear()
    model = tuner.refit(batch_size=96)
    assert folds == [None]
    assert model.optimizer.iterations == 1
    with pytest.raises(ValueError, match="two places"):
        tuner.refit(X, Y)


def test_folds_tell_for_how_many_epochs(project):
    tuner = gk.RandomSearch(
        Recording(), "val_accuracy", max_trials=1, cv_folds=3, executor="inline", **project
    )
    tuner.search(X, Y, epochs=4, verbose=0)
    curves = gk.experiment_table(tuner).pivot(
        index="training_iteration", columns="cv_index", values="val_accuracy"
    )
    tuner.hypermodel.given.clear()
    tuner.refit(X, Y)
    [(_, _, kwargs)] = tuner.hypermodel.given
    assert kwargs["epochs"] == curves.mean(axis=1).idxmax()


@pytest.mark.parametrize(
    ("wrong", "error", "named"),
    [
        ({"seeds": 0}, ValueError, "seeds"),
        ({"epochs": 0}, ValueError, "epochs"),
        ({"trial_id": "77"}, ProjectError, "trial_id='77'"),
    ],
)
def test_bad_arguments_are_named_before_anything_is_trained(tuner, wrong, error, named):
    with pytest.raises(error, match=named):
        tuner.refit(X, Y, **wrong)
    assert tuner.hypermodel.given == []


def test_without_data_or_trials_there_is_nothing_to_train(tuner, project):
    with pytest.raises(ValueError, match="no data to train on"):
        gk.RandomSearch(build, "val_accuracy", **project).refit()
    empty = gk.RandomSearch(
        build, "val_accuracy", directory=project["directory"], project_name="empty"
    )
    with pytest.raises(ProjectError):
        empty.refit(X, Y)


def test_a_loop_of_ones_own_is_refused(project):
    class Own(gk.RandomSearch):
        def run_trial(self, trial, x, y, **kwargs):
            return 0.5

    class Whole(gk.HyperModel):
        def run(self, config):
            return 0.5

    for tuner in (
        Own(build, "val_accuracy", max_trials=1, executor="inline", **project),
        gk.RandomSearch(Whole(), "val_accuracy", max_trials=1, executor="inline", **project),
    ):
        with pytest.raises(ValueError, match=r"`refit`.*your own"):
            tuner.refit(X, Y)
