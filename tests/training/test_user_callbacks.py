"""Callbacks that write files do so for each trial, and a tuner of one's own is told of epochs and
batches.
"""

import concurrent.futures
import copy
import csv
import dataclasses
import operator
import pathlib

import keras
import pytest

import glimr_keras as gk
from glimr_keras.training.messages import ExecutionSpec
from glimr_keras.training.user_callbacks import _Published, of_trial
from tests import tiny_models

FIT = {"validation_data": tiny_models.VALIDATION, "epochs": 2, "verbose": 0}


@pytest.fixture
def run(tmp_path):
    return ExecutionSpec("07", 0, {"units": 4}, (1, 7), str(tmp_path / "trial_07"))


def test_paths_are_of_the_trial_and_the_execution(run, tmp_path):
    kinds = {
        "filepath": lambda: keras.callbacks.ModelCheckpoint(tmp_path / "best.keras"),
        "filename": lambda: keras.callbacks.CSVLogger(tmp_path / "log.csv"),
        "backup_dir": lambda: keras.callbacks.BackupAndRestore(tmp_path / "backup"),
    }
    for attribute, make in kinds.items():
        name = pathlib.Path(getattr(make(), attribute)).name
        for execution, folder in ((0, "trial_07"), (2, "trial_07/execution_2")):
            callback, *_ = of_trial(
                [make()], dataclasses.replace(run, execution=execution), gk.HyperParameters()
            )
            assert pathlib.Path(getattr(callback, attribute)) == tmp_path / folder / name
            assert (tmp_path / folder).is_dir()


def test_other_callbacks_are_left_alone(run):
    stopping = keras.callbacks.EarlyStopping()
    assert of_trial([stopping], run, gk.HyperParameters()) == [stopping]


def test_a_log_of_each_trial_and_that_of_the_last_where_it_was_asked_for(tmp_path):
    tuner = gk.RandomSearch(
        tiny_models.build, "val_loss", 2, directory=tmp_path, project_name="p", executor="inline"
    )
    tuner.search(
        *tiny_models.TRAIN, callbacks=[keras.callbacks.CSVLogger(tmp_path / "log.csv")], **FIT
    )
    rows = {}
    for path in ("trial_0/log.csv", "trial_1/log.csv", "log.csv"):
        with (tmp_path / path).open() as file:
            rows[path] = list(csv.DictReader(file))
    assert all([row["epoch"] for row in found] == ["0", "1"] for found in rows.values())
    assert rows["log.csv"] == rows["trial_1/log.csv"] != rows["trial_0/log.csv"]


def test_tensorboard_has_a_directory_for_each_execution_with_the_hyperparameters(tmp_path):
    pytest.importorskip("tensorboard")
    tuner = gk.RandomSearch(
        tiny_models.build,
        "val_loss",
        1,
        executions_per_trial=2,
        directory=tmp_path,
        project_name="p",
        executor="inline",
    )
    tuner.search(
        *tiny_models.TRAIN, callbacks=[keras.callbacks.TensorBoard(tmp_path / "logs")], **FIT
    )
    for execution in (0, 1):
        place = tmp_path / "logs" / "0" / f"execution{execution}"
        events = [path for path in place.rglob("events*") if path.parent == place]
        assert {path.name for path in place.iterdir() if path.is_dir()} >= {"train", "validation"}
        assert any(b"hparams" in path.read_bytes() for path in events)


class OwnLoop(gk.RandomSearch):
    """Trains by itself, with the callbacks as they come."""

    def run_trial(self, trial, *args, **kwargs):
        model = self.hypermodel.build(trial.hyperparameters)
        kwargs["callbacks"] = copy.deepcopy(kwargs["callbacks"])
        return model.fit(*args, **kwargs)


class FilteredCallback(gk.RandomSearch):
    def run_trial(self, trial, *args, **kwargs):
        return super().run_trial(trial, *args, **kwargs)


@pytest.mark.parametrize("kind", [OwnLoop, FilteredCallback, gk.RandomSearch])
def test_whoever_trains_files_are_of_the_trial_and_the_best_model_is_where_it_was_asked_for(
    tmp_path, kind
):
    tuner = kind(
        tiny_models.build,
        "val_loss",
        3,
        seed=2,
        directory=tmp_path,
        project_name="p",
        executor="inline",
    )
    callbacks = [
        keras.callbacks.ModelCheckpoint(tmp_path / "best.keras", save_best_only=True),
        keras.callbacks.ModelCheckpoint(tmp_path / "last.keras"),
        keras.callbacks.CSVLogger(tmp_path / "log.csv"),
        keras.callbacks.TensorBoard(tmp_path / "logs"),
    ]
    tuner.search(*tiny_models.TRAIN, callbacks=callbacks, **FIT)
    for name in ("best.keras", "last.keras", "log.csv"):
        assert sorted(path.parent.name for path in tmp_path.glob(f"trial_*/{name}")) == [
            "trial_0",
            "trial_1",
            "trial_2",
        ]
    assert sorted(path.name for path in tmp_path.glob("logs/*/*")) == ["execution0"] * 3
    assert all(
        {"train", "validation"} <= {each.name for each in path.iterdir()}
        for path in tmp_path.glob("logs/*/*")
    )
    scores = [trial.score for trial in tuner.oracle.trials.values()]
    assert scores.index(min(scores)) != 2
    best = keras.models.load_model(tmp_path / "best.keras")
    assert best.evaluate(*tiny_models.VALIDATION, verbose=0)[0] == pytest.approx(
        min(scores), abs=1e-6
    )
    assert (tmp_path / "last.keras").read_bytes() == (
        tmp_path / "trial_2" / "last.keras"
    ).read_bytes()

    again = kind(
        tiny_models.build,
        "val_loss",
        1,
        seed=5,
        directory=tmp_path,
        project_name="p",
        executor="inline",
        overwrite=True,
    )
    again.search(*tiny_models.TRAIN, callbacks=callbacks, **FIT)
    best = keras.models.load_model(tmp_path / "best.keras")
    (trial,) = again.oracle.trials.values()
    assert best.evaluate(*tiny_models.VALIDATION, verbose=0)[0] == pytest.approx(
        trial.score, abs=1e-6
    )


@pytest.mark.parametrize("best", [False, True])
def test_trainings_may_end_together(tmp_path, best):
    wanted = tmp_path / "x.keras"

    def publish(number):
        writer = keras.callbacks.ModelCheckpoint(tmp_path / f"{number}.keras", save_best_only=best)
        pathlib.Path(writer.filepath).write_bytes(bytes([number]) * 200_000)
        writer.best, writer.monitor_op = (number + 5) % 20, operator.lt
        for _ in range(20):
            _Published(writer, "filepath", wanted, "project").on_train_end()

    with concurrent.futures.ThreadPoolExecutor() as pool:
        list(pool.map(publish, range(20)))
    (found,) = set(wanted.read_bytes())
    assert wanted.stat().st_size == 200_000
    assert not best or found == 15


def test_backups_are_of_the_trial_whatever_was_made_of_their_directory(tmp_path):
    backup = keras.callbacks.BackupAndRestore(tmp_path / "backup", delete_checkpoint=False)
    tuner = gk.RandomSearch(
        tiny_models.build, "val_loss", 2, directory=tmp_path, project_name="p", executor="inline"
    )
    tuner.search(*tiny_models.TRAIN, callbacks=[backup], **FIT)
    assert not (tmp_path / "backup").exists()
    assert (
        len({path.read_bytes() for path in tmp_path.glob("trial_*/backup/latest.weights.h5")}) == 2
    )


def test_a_place_that_the_user_changes_is_the_users(run, tmp_path):
    logger = keras.callbacks.CSVLogger(tmp_path / "log.csv")
    once = of_trial([logger], run, gk.HyperParameters())
    assert of_trial(once, run, gk.HyperParameters()) == once
    logger.filename = str(tmp_path / "mine" / "log.csv")
    of_trial(once, run, gk.HyperParameters())
    assert logger.filename == str(tmp_path / "mine" / "trial_07" / "log.csv")


@pytest.mark.parametrize("kind", [OwnLoop, FilteredCallback, gk.RandomSearch])
def test_the_hyperparameters_that_tensorboard_shows_are_those_that_build_asked_for(tmp_path, kind):
    pytest.importorskip("tensorboard")
    tuner = kind(
        tiny_models.build, "val_loss", 1, directory=tmp_path, project_name="p", executor="inline"
    )
    tuner.search(
        *tiny_models.TRAIN, callbacks=[keras.callbacks.TensorBoard(tmp_path / "logs")], **FIT
    )
    place = tmp_path / "logs" / "0" / "execution0"
    written = b"".join(path.read_bytes() for path in place.iterdir() if path.is_file())
    assert all(name in written for name in (b"hparams", b"units", b"learning_rate"))
