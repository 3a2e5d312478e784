"""Predictions that are kept: in workers, of trainings that go on, fail, are promoted or paused."""

import os
import pathlib
import signal

import keras
import numpy as np
import pandas as pd
import pytest
from ray import tune

import glimr_keras as gk
from glimr_keras.project import predictions
from glimr_keras.trials.layout import execution_directory
from tests import tiny_models

VX, VY = tiny_models.VALIDATION
DATA = {"validation_data": (VX, VY), "verbose": 0}


def tuner_of(model, place, trials=2, kind=gk.RayTuner, **arguments):
    arguments = {"executor": "inline", "keep_predictions": True, **arguments}
    return kind(model, "val_loss", trials, seed=0, directory=str(place), **arguments)


def kept(tuner, trial_id="0", execution=0):
    return predictions.read(execution_directory(tuner._glimr.place, trial_id, execution))


def check_all(tuner):
    """Look at each training whether its losses are those of its predictions."""
    table = gk.experiment_table(tuner)
    for (trial_id, execution), rows in table.groupby(["trial_id", "execution"]):
        found = kept(tuner, trial_id, execution)
        assert found.epochs == tuple(rows["training_iteration"])
        losses = [
            keras.losses.sparse_categorical_crossentropy(found.labels, found.at(epoch))
            for epoch in found.epochs
        ]
        assert [float(np.mean(each)) for each in losses] == pytest.approx(
            rows["val_loss"].tolist(), rel=1e-5
        )
    return table


def with_dropout(config):
    return tiny_models.traced(tiny_models.build_normalized(config))


def jitted(config):
    model = with_dropout(config)
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"], jit_compile=True)
    return model


def averaged(config):
    model = with_dropout(config)
    model.compile(
        keras.optimizers.Adam(0.05, use_ema=True, ema_momentum=0.9),
        "sparse_categorical_crossentropy",
    )
    return model


def test_they_are_those_of_the_weights_that_are_validated(tmp_path):
    swap = keras.callbacks.SwapEMAWeights()
    tuner = tuner_of(averaged, tmp_path, 1)
    tuner.search(*tiny_models.TRAIN, epochs=3, callbacks=[swap], **DATA)
    check_all(tuner)


@pytest.mark.parametrize("model", [with_dropout, jitted])
def test_models_that_train_by_graphs_of_others_do_the_same(local_ray, tmp_path, model):
    tables = []
    for keep in (True, False):
        tuner = tuner_of(
            model,
            tmp_path,
            executor="ray",
            executions_per_trial=2,
            max_concurrent_trials=1,
            project_name=str(keep),
            keep_predictions=keep,
        )
        tuner.search(*tiny_models.TRAIN, epochs=3, **DATA)
        table = check_all(tuner) if keep else gk.experiment_table(tuner)
        tables.append(table.drop(columns="checkpoint_path"))
    assert tables[0]["reused_graph"].any()
    pd.testing.assert_frame_equal(*tables, check_exact=True)


def test_forks_keep_them_too(local_ray, tmp_path):  # which takes over what is long
    tuner = tuner_of(tiny_models.build, tmp_path, executor="auto", cv_folds=2)
    tuner.search(tiny_models.X, tiny_models.Y, epochs=2, verbose=0)
    check_all(tuner)


class Dies(gk.HyperModel):
    """Its process is killed once, in the middle of an epoch."""

    def __init__(self, place):
        self.place = str(place)

    def build(self, config):
        return tiny_models.build_normalized(config)

    def fit(self, config, model, *args, callbacks=(), **kwargs):
        if tiny_models.is_trial(callbacks):
            callbacks = [*callbacks, keras.callbacks.LambdaCallback(on_epoch_begin=self.die)]
        return model.fit(*args, callbacks=callbacks, **kwargs)

    def die(self, epoch, logs):
        file = pathlib.Path(self.place) / "begun"
        epochs = [*(file.read_text().split() if file.exists() else ()), str(epoch)]
        file.write_text(" ".join(epochs))
        if epochs == ["0", "1", "2"]:
            os.kill(os.getpid(), signal.SIGKILL)


def test_a_training_that_is_killed_goes_on_with_those_that_it_has(local_ray, tmp_path):
    tuner = tuner_of(Dies(tmp_path), tmp_path, 1, executor="ray", state_interval_s=0)
    tuner.search(*tiny_models.TRAIN, epochs=4, **DATA)
    assert (tmp_path / "begun").read_text().split() == ["0", "1", "2", "2", "3"]
    check_all(tuner)
    assert kept(tuner).epochs == (1, 2, 3, 4)


def test_one_without_a_state_begins_anew(local_ray, tmp_path):
    tuner = tuner_of(Dies(tmp_path), tmp_path, 1, executor="ray", state_interval_s=None)
    tuner.search(*tiny_models.TRAIN, epochs=3, **DATA)
    assert (tmp_path / "begun").read_text().split() == ["0", "1", "2", "0", "1", "2"]
    check_all(tuner)


class FailsOnce(Dies):
    """Its training fails once, after two epochs, and then ends sooner."""

    def die(self, epoch, logs):
        file = pathlib.Path(self.place) / "begun"
        if epoch == 2 and not file.exists():
            file.write_text("failed")
            raise RuntimeError("once")


@pytest.mark.parametrize("retries", [1, 0])
def test_a_training_that_failed_leaves_nothing_for_the_next_one(tmp_path, retries):
    tuner = tuner_of(FailsOnce(tmp_path), tmp_path, 1, max_retries_per_trial=retries)
    tuner.search(*tiny_models.TRAIN, epochs=3, **DATA)
    if not retries:
        assert kept(tuner).epochs == (1, 2)
        tuner = tuner_of(FailsOnce(tmp_path), tmp_path, 1, retry_failed=True)
        tuner.search(*tiny_models.TRAIN, epochs=1, **DATA)
        assert kept(tuner).epochs == (1,)
    else:
        assert kept(tuner).epochs == (1, 2, 3) and kept(tuner).attempt == 1
    check_all(tuner)


def test_a_promoted_trial_has_the_epochs_that_it_trained_itself(tmp_path):
    tuner = gk.Hyperband(
        tiny_models.build,
        "val_loss",
        max_epochs=4,
        factor=2,
        seed=0,
        executor="inline",
        directory=str(tmp_path),
        keep_predictions=True,
    )
    tuner.search(*tiny_models.TRAIN, **DATA)
    table = check_all(tuner)
    first = table.groupby("trial_id")["training_iteration"].min()
    assert first.max() > 1  # one went on from another's state


class Paused(gk.HyperModel):
    def build(self, config):
        rate = config.Float("rate", 1e-3, 1e-1)
        model = tiny_models.build(gk.HyperParameters())
        model.optimizer.learning_rate = rate
        return model


def test_a_trial_that_is_paused_and_takes_over_anothers_state_keeps_its_epochs(local_ray, tmp_path):
    scheduler = tune.schedulers.PopulationBasedTraining(
        time_attr="training_iteration",
        perturbation_interval=2,
        hyperparam_mutations={"rate": tune.uniform(1e-3, 1e-1)},
    )
    tuner = tuner_of(Paused(), tmp_path, 3, executor="ray", scheduler=scheduler)
    tuner.search(*tiny_models.TRAIN, epochs=6, **DATA)
    table = check_all(tuner)
    assert (table.groupby("trial_id").size() == 6).all()
