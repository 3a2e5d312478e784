"""Callbacks that write files do so for each trial, and a tuner of one's own is told of epochs and batches."""

import csv
import dataclasses
import pathlib

import keras
import pytest

import glimr_keras as gk
from glimr_keras.trial_callbacks import HookCallback, of_trial
from glimr_keras.trials import Run
from tests import models

FIT = {"validation_data": models.VALIDATION, "epochs": 2, "verbose": 0}


@pytest.fixture
def run(tmp_path):
    return Run("07", 0, {"units": 4}, (1, 7), str(tmp_path / "trial_07"))


def test_paths_are_of_the_trial_and_the_execution(run, tmp_path):
    kinds = {
        "filepath": lambda: keras.callbacks.ModelCheckpoint(tmp_path / "best.keras"),
        "filename": lambda: keras.callbacks.CSVLogger(tmp_path / "log.csv"),
        "backup_dir": lambda: keras.callbacks.BackupAndRestore(tmp_path / "backup"),
    }
    for attribute, make in kinds.items():
        name = pathlib.Path(getattr(make(), attribute)).name
        for execution, folder in ((0, "trial_07"), (2, "trial_07/execution_2")):
            callback, *_ = of_trial([make()], dataclasses.replace(run, execution=execution), gk.HyperParameters())
            assert pathlib.Path(getattr(callback, attribute)) == tmp_path / folder / name
            assert (tmp_path / folder).is_dir()


def test_other_callbacks_are_left_alone(run):
    stopping = keras.callbacks.EarlyStopping()
    assert of_trial([stopping], run, gk.HyperParameters()) == [stopping]


def test_a_log_of_each_trial_and_that_of_the_last_where_it_was_asked_for(tmp_path):
    tuner = gk.RandomSearch(models.build, "val_loss", 2, directory=tmp_path, project_name="p", executor="inline")
    tuner.search(*models.TRAIN, callbacks=[keras.callbacks.CSVLogger(tmp_path / "log.csv")], **FIT)
    rows = {}
    for path in ("trial_0/log.csv", "trial_1/log.csv", "log.csv"):
        with (tmp_path / path).open() as file:
            rows[path] = list(csv.DictReader(file))
    assert all([row["epoch"] for row in found] == ["0", "1"] for found in rows.values())
    assert rows["log.csv"] == rows["trial_1/log.csv"] != rows["trial_0/log.csv"]


def test_tensorboard_has_a_directory_for_each_execution_with_the_hyperparameters(tmp_path):
    pytest.importorskip("tensorboard")
    tuner = gk.RandomSearch(
        models.build, "val_loss", 1, executions_per_trial=2, directory=tmp_path, project_name="p", executor="inline"
    )
    tuner.search(*models.TRAIN, callbacks=[keras.callbacks.TensorBoard(tmp_path / "logs")], **FIT)
    for execution in (0, 1):
        place = tmp_path / "logs" / "0" / f"execution{execution}"
        events = [path for path in place.rglob("events*") if path.parent == place]
        assert {path.name for path in place.iterdir() if path.is_dir()} >= {"train", "validation"}
        assert any(b"hparams" in path.read_bytes() for path in events)


class Told:
    is_told_of_batches = False

    def __init__(self):
        self.heard = []

    def __getattr__(self, name):
        return lambda trial, model, number, logs=None: self.heard.append((name, trial, number, sorted(logs or {})))


@pytest.mark.parametrize("batches", [False, True])
def test_a_tuner_is_told_of_batches_only_if_it_wants(batches):
    tuner = Told()
    tuner.is_told_of_batches = batches
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(2)])
    model.compile("sgd", "mse")
    model.fit(models.TRAIN[0], models.TRAIN[0][:, :2], epochs=2, verbose=0, callbacks=HookCallback.of(tuner, "trial"))
    told = [(name, number) for name, trial, number, _ in tuner.heard if trial == "trial"]
    of_epochs = [each for each in told if "epoch" in each[0]]
    assert of_epochs == [("on_epoch_begin", 0), ("on_epoch_end", 0), ("on_epoch_begin", 1), ("on_epoch_end", 1)]
    assert (told == of_epochs) is not batches
    assert all(logs == ["loss"] for name, _, _, logs in tuner.heard if name.endswith("_end"))
    if batches:
        assert told[1:5] == [("on_batch_begin", 0), ("on_batch_end", 0), ("on_batch_begin", 1), ("on_batch_end", 1)]
