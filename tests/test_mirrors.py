"""Projects at URIs: on a local S3 server, and on file systems that fsspec knows."""

import threading
import uuid

import keras
import pytest

import glimr_keras as gk
from glimr_keras import checkpoints, mirrors
from glimr_keras.errors import ProjectError, StorageError
from tests import faulty, models

moto = pytest.importorskip("moto.server")
SEARCH = {"validation_data": models.VALIDATION, "epochs": faulty.EPOCHS, "verbose": 0}


@pytest.fixture(scope="module")
def server():
    server = moto.ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    yield "http://{}:{}".format(*server.get_host_and_port())
    server.stop()


@pytest.fixture
def bucket(server, monkeypatch):
    """The URI of an empty directory on the server."""
    import boto3

    for name, value in {
        "AWS_ENDPOINT_URL": server,
        "AWS_ACCESS_KEY_ID": "nobody",
        "AWS_SECRET_ACCESS_KEY": "nothing",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }.items():
        monkeypatch.setenv(name, value)
    name = f"bucket-{uuid.uuid4().hex}"
    boto3.client("s3").create_bucket(Bucket=name)
    return f"s3://{name}/runs"


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Moves to a machine with nothing on it."""

    def move(name):
        monkeypatch.setenv("GLIMR_KERAS_CACHE", str(tmp_path / name))

    move("first")
    return move


@pytest.fixture
def notes(tmp_path):
    (tmp_path / "notes").mkdir()
    return tmp_path / "notes"


class Plain(gk.HyperModel):
    def build(self, config):
        return models.build(config)


def searched(directory, trials, **kwargs):
    tuner = gk.RandomSearch(
        Plain(), "val_loss", trials, seed=0, directory=directory, project_name="p", executor="inline", **kwargs
    )
    tuner.search(*models.TRAIN, **SEARCH)
    return tuner


def test_a_search_is_read_and_continued_from_another_machine(bucket, machine):
    tuner = searched(bucket, 2)
    scores = tuner.results_dataframe()["score"].tolist()
    machine("second")
    opened = gk.RayTuner.open(f"{bucket}/p", Plain())
    assert opened.results_dataframe()["score"].tolist() == scores
    (model,) = opened.get_best_models()
    loss, _ = model.evaluate(*models.VALIDATION, verbose=0)
    assert loss == pytest.approx(min(scores))
    table = searched(bucket, 3).results_dataframe()
    assert table["score"].tolist()[:2] == scores
    assert len(table) == 3
    machine("first")
    assert len(tuner.results_dataframe()) == 3
    machine("third")
    saved = gk.default_checkpoints(gk.experiment_table(f"{bucket}/p"))
    assert len(saved) == 3
    assert all(checkpoints.exists(path) for path in saved["checkpoint_path"])


def test_only_what_belongs_to_the_project_is_there(bucket, machine):
    tuner = searched(bucket, 2, keep_top_k=1)
    mirror = mirrors.Mirror(f"{bucket}/p")
    best = tuner.results_dataframe().sort_values("score")["trial_id"].iloc[0]
    names = {".glimr_keras/journal.jsonl"} | {f"trial_{best}/checkpoint.{end}" for end in ("json", "weights.h5")}
    assert set(mirror._names()) == names
    searched(bucket, 1, overwrite=True)
    assert set(mirror._names()) == {name.replace(f"trial_{best}", "trial_0") for name in names}


def test_two_machines_that_went_different_ways_are_told(bucket, machine):
    searched(bucket, 1)
    machine("second")
    searched(bucket, 2)
    machine("first")
    journal = mirrors.Mirror(f"{bucket}/p").directory / ".glimr_keras" / "journal.jsonl"
    journal.write_bytes(journal.read_bytes() + b'{"record": "note"}\n')
    with pytest.raises(ProjectError, match="were both continued since they were the same"):
        searched(bucket, 3)


class Killed(BaseException):
    """In the place of a kill."""


def kill():
    raise Killed


def test_a_training_goes_on_on_another_machine(bucket, machine, notes, monkeypatch):
    monkeypatch.setattr(mirrors, "SECONDS", 0.05)
    tuner = faulty.tuner_of(bucket, notes, "mid-epoch", kill, "inline")
    tuner.hypermodel.seconds = 0.6
    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr(mirrors.Mirror, "close", lambda mirror: None)
        tuner.search(*models.TRAIN, **SEARCH)
    tuner._mirror._done.set()
    tuner._mirror._thread.join()
    machine("second")
    again = faulty.tuner_of(bucket, notes, executor="inline")
    again.search(*models.TRAIN, **SEARCH)
    table = again.results_dataframe()
    assert sorted(table["units"]) == faulty.UNITS
    assert set(table["status"]) == {"COMPLETED"}
    assert table["score"].tolist() == pytest.approx([faulty.score(units, 1) for units in table["units"]])
    assert [note["epoch"] for note in faulty.noted(notes) if note["what"] == "began" and note["epoch"]] == [1]
    assert not [name for name in again._mirror._names() if "/latest/" in name]


def test_a_server_that_is_gone_is_said_and_nothing_is_lost(bucket, machine, monkeypatch):
    tuner = searched(bucket, 1)
    with monkeypatch.context() as patched:
        patched.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
        patched.setenv("AWS_MAX_ATTEMPTS", "1")
        with pytest.raises(StorageError, match=r"cannot be read or written: .*The local copy of the project.* is in .*first"):
            searched(bucket, 2)
    assert len(searched(bucket, 2).results_dataframe()) == 2
    assert len(tuner.results_dataframe()) == 2


def test_what_fsspec_knows(machine):
    searched("memory://runs", 1)
    machine("second")
    assert len(gk.RayTuner.open("memory://runs/p").results_dataframe()) == 1
    with pytest.raises(StorageError, match="There is no file system for nonsense://runs"):
        gk.RayTuner.open("nonsense://runs")


def test_what_is_here_and_was_not_sent_yet_is_not_replaced(bucket, machine, monkeypatch):
    tuner = searched(bucket, 1)
    older = {path: path.read_bytes() for path in tuner.project_dir.glob("trial_0/checkpoint.*")}
    again = searched(bucket, 1, overwrite=True)
    newer = {path: path.read_bytes() for path in again.project_dir.glob("trial_0/checkpoint.*")}
    mirror = mirrors.Mirror(f"{bucket}/p")
    for path, content in older.items():
        mirror._put(path.relative_to(mirror.directory).as_posix(), content)
    again.get_best_models()
    gk.experiment_table(f"{bucket}/p")
    assert {path: path.read_bytes() for path in newer} == newer


def test_two_machines_that_search_at_once_are_told(bucket, machine, monkeypatch):
    monkeypatch.setattr(mirrors, "SECONDS", 3600.0)
    searched(bucket, 1)

    class Interrupted(Plain):
        def fit(self, config, model, *args, **kwargs):
            machine("second")
            searched(bucket, 2)
            machine("first")
            return super().fit(config, model, *args, **kwargs)

    tuner = gk.RandomSearch(Interrupted(), "val_loss", 3, seed=0, directory=bucket, project_name="p", executor="inline")
    with pytest.raises(ProjectError, match=r"Another search has written to the project at s3://.*was done here is in .*first"):
        tuner.search(*models.TRAIN, **SEARCH)
    machine("third")
    table = gk.RayTuner.open(f"{bucket}/p").results_dataframe()
    assert len(table) == 2
    assert set(table["status"]) == {"COMPLETED"}


def test_what_cannot_be_sent_now_is_sent_later(bucket, machine, monkeypatch):
    monkeypatch.setattr(mirrors, "SECONDS", 0.02)
    send, failed, sent = mirrors.Mirror.send, [], threading.Event()

    def first_fails(mirror):
        if not failed:
            failed.append(True)
            raise StorageError("for now")
        send(mirror)
        if threading.current_thread() is mirror._thread:
            sent.set()

    class Waiting(Plain):
        def fit(self, *args, **kwargs):
            assert sent.wait(60)
            return super().fit(*args, **kwargs)

    monkeypatch.setattr(mirrors.Mirror, "send", first_fails)
    tuner = gk.RandomSearch(Waiting(), "val_loss", 1, directory=bucket, project_name="p", executor="inline")
    tuner.search(*models.TRAIN, **SEARCH)
    assert failed
    assert set(tuner.results_dataframe()["status"]) == {"COMPLETED"}


def test_what_is_gone_at_the_uri_is_sent_again(bucket, machine):
    searched(bucket, 1)
    mirror = mirrors.Mirror(f"{bucket}/p")
    names = set(mirror._names())
    for name in names:
        mirror._delete(name)
    searched(bucket, 1)
    assert set(mirror._names()) == names


def test_a_damaged_local_copy_is_brought_again(bucket, machine):
    tuner = searched(bucket, 1)
    weights = tuner.project_dir / "trial_0" / checkpoints.WEIGHTS
    content = weights.read_bytes()
    weights.write_bytes(b"nothing")
    tuner.get_best_models()
    assert weights.read_bytes() == content


def test_weights_whose_sending_was_not_ended_are_found(bucket, machine):
    searched(bucket, 1)
    mirror = mirrors.Mirror(f"{bucket}/p")
    there = f"{mirror._root}/trial_0/"
    mirror._files.move(there + checkpoints.WEIGHTS, there + checkpoints.NEW)
    machine("second")
    (model,) = gk.RayTuner.open(f"{bucket}/p", Plain()).get_best_models()
    assert model.built


def test_reading_removes_no_local_copy(bucket, machine):
    tuner = searched(bucket, 2)
    machine("second")
    searched(bucket, 1, overwrite=True)
    machine("first")
    assert len(tuner.results_dataframe()) == 1
    (aside,) = tuner.project_dir.parent.glob(f"{tuner.project_dir.name}.*")
    assert len(gk.RayTuner.open(aside).results_dataframe()) == 2


def test_states_at_the_uri_are_never_ahead_of_the_journal(bucket, machine, notes, monkeypatch):
    monkeypatch.setattr(mirrors, "SECONDS", 3600.0)
    order = []
    put = mirrors.Mirror._put
    monkeypatch.setattr(mirrors.Mirror, "_put", lambda mirror, name, content: (order.append(name), put(mirror, name, content)))

    class Sending(Plain):
        def fit(self, config, model, *args, callbacks=(), **kwargs):
            class Sends(keras.callbacks.Callback):
                def on_epoch_begin(self, epoch, logs=None):
                    tuner._mirror.send()

            return super().fit(config, model, *args, callbacks=[*callbacks, Sends()], **kwargs)

    tuner = gk.RandomSearch(Sending(), "val_loss", 1, directory=bucket, project_name="p", executor="inline", state_interval_s=0)
    tuner.search(*models.TRAIN, **{**SEARCH, "epochs": 3})
    described = [name for name in order if name.endswith((".json", ".jsonl"))]
    states = [place for place, name in enumerate(described) if "/latest/" in name and "/best/" not in name]
    assert states
    for place in states:
        assert any(name.endswith(".jsonl") for name in described[:place])
