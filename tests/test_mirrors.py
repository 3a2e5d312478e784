"""Projects at URIs: on a local S3 server, and on file systems that fsspec knows."""

import uuid

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
    assert set(mirror._names()) == {name.replace(best, "0000") for name in names}


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
    older = {path: path.read_bytes() for path in tuner.project_dir.glob("trial_0000/checkpoint.*")}
    again = searched(bucket, 1, overwrite=True)
    newer = {path: path.read_bytes() for path in again.project_dir.glob("trial_0000/checkpoint.*")}
    mirror = mirrors.Mirror(f"{bucket}/p")
    for path, content in older.items():
        mirror._put(path.relative_to(mirror.directory).as_posix(), content)
    again.get_best_models()
    gk.experiment_table(f"{bucket}/p")
    assert {path: path.read_bytes() for path in newer} == newer
