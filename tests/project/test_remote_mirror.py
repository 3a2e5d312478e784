"""Projects at URIs: on a local S3 server, and on file systems that fsspec knows."""

import dataclasses
import functools
import hashlib
import json
import os
import pathlib
import shutil
import threading
import time
import uuid

import keras
import pytest

import glimr_keras as gk
from glimr_keras.errors import CheckpointError, ProjectError, StorageError
from glimr_keras.project import (
    checkpoints,
    remote_claim,
    remote_files,
    remote_mirror,
    training_states,
)
from glimr_keras.project.journal import Journal
from glimr_keras.results.sources import project_of
from tests import faulty, tiny_models
from tests.project import plain_searches
from tests.project.plain_searches import Plain
from tests.results import made

moto = pytest.importorskip("moto.server")
SEARCH = {"validation_data": tiny_models.VALIDATION, "epochs": faulty.EPOCHS, "verbose": 0}


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


searched = functools.partial(plain_searches.searched, epochs=faulty.EPOCHS)


def test_a_search_is_read_and_continued_from_another_machine(bucket, machine):
    tuner = searched(bucket, 2)
    scores = tuner.results_dataframe()["score"].tolist()
    machine("second")
    opened = gk.RayTuner.open(f"{bucket}/p", Plain())
    assert opened.results_dataframe()["score"].tolist() == scores
    (model,) = opened.get_best_models()
    loss, _ = model.evaluate(*tiny_models.VALIDATION, verbose=0)
    assert loss == pytest.approx(min(scores))
    table = searched(bucket, 3).results_dataframe()
    assert set(scores) < set(table["score"])
    assert len(table) == 3
    machine("first")
    assert len(tuner.results_dataframe()) == 3
    machine("third")
    saved = gk.default_checkpoints(gk.experiment_table(f"{bucket}/p"))
    assert len(saved) == 3
    assert all(checkpoints.exists(path) for path in saved["checkpoint_path"])


def test_only_what_belongs_to_the_project_is_there(bucket, machine):
    tuner = searched(bucket, 2, keep_top_k=1)
    mirror = remote_mirror.Mirror(f"{bucket}/p")
    best = tuner.results_dataframe().sort_values("score")["trial_id"].iloc[0]
    names = {".glimr_keras/journal.jsonl"} | {
        f"trial_{best}/checkpoint.{end}" for end in ("json", "weights.h5")
    }
    assert set(mirror._remote.names()) == names
    searched(bucket, 1, overwrite=True)
    assert set(mirror._remote.names()) == {
        name.replace(f"trial_{best}", "trial_0") for name in names
    }


def test_two_machines_that_went_different_ways_are_told(bucket, machine):
    searched(bucket, 1)
    machine("second")
    searched(bucket, 2)
    machine("first")
    journal = remote_mirror.Mirror(f"{bucket}/p").directory / ".glimr_keras" / "journal.jsonl"
    journal.write_bytes(journal.read_bytes() + b'{"record": "note"}\n')
    with pytest.raises(ProjectError, match="were both continued since they were the same"):
        searched(bucket, 3)


class Killed(BaseException):
    """In the place of a kill."""


def kill():
    raise Killed


def test_a_training_goes_on_on_another_machine(bucket, machine, notes, monkeypatch):
    monkeypatch.setattr(remote_mirror, "SECONDS", 0.05)
    tuner = faulty.tuner_of(bucket, notes, "mid-epoch", kill, "inline")
    tuner.hypermodel.seconds = 0.6
    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr(remote_mirror.Mirror, "close", lambda mirror: None)
        tuner.search(*tiny_models.TRAIN, **SEARCH)
    tuner._glimr.mirror._done.set()
    tuner._glimr.mirror._thread.join()
    monkeypatch.setattr(remote_claim, "SECONDS", 0.0)  # a minute later
    machine("second")
    again = faulty.tuner_of(bucket, notes, executor="inline")
    again.search(*tiny_models.TRAIN, **SEARCH)
    table = again.results_dataframe()
    assert sorted(table["units"]) == faulty.UNITS
    assert set(table["status"]) == {"COMPLETED"}
    assert table["score"].tolist() == pytest.approx(
        [faulty.score(units, 1) for units in table["units"]]
    )
    assert [
        note["epoch"] for note in faulty.noted(notes) if note["what"] == "began" and note["epoch"]
    ] == [1]
    assert not [name for name in again._glimr.mirror._remote.names() if "/latest/" in name]


def test_a_server_that_is_gone_is_said_and_nothing_is_lost(bucket, machine, monkeypatch):
    tuner = searched(bucket, 1)
    with monkeypatch.context() as patched:
        patched.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
        patched.setenv("AWS_MAX_ATTEMPTS", "1")
        with pytest.raises(
            StorageError,
            match=r"cannot be read or written: .*The local copy of the project.* is in .*first",
        ):
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
    older = {
        path: path.read_bytes()
        for path in pathlib.Path(tuner.project_dir).glob("trial_0/checkpoint.*")
    }
    again = searched(bucket, 1, overwrite=True)
    newer = {
        path: path.read_bytes()
        for path in pathlib.Path(again.project_dir).glob("trial_0/checkpoint.*")
    }
    mirror = remote_mirror.Mirror(f"{bucket}/p")
    for path, content in older.items():
        mirror._remote.put(path.relative_to(mirror.directory).as_posix(), content)
    (mirror.directory / ".glimr_keras" / "sent.json").unlink()  # the server was gone at the end
    again.get_best_models()
    gk.experiment_table(f"{bucket}/p")
    assert {path: path.read_bytes() for path in newer} == newer


# The rest looks at single steps, with a directory in the place of the server


HEADER = b'{"record": "project", "project_id": "a"}\n'


class Place:
    """A project in a directory that stands for the URI, and several machines' local copies."""

    def __init__(self, path, machine):
        self.path, self.machine = path, machine

    def at(self, name, journal=None):
        """The mirror on a machine, with this journal."""
        self.machine(name)
        mirror = remote_mirror.Mirror(f"file://{self.path}")
        if journal is not None:
            (mirror.directory / ".glimr_keras").mkdir(parents=True, exist_ok=True)
            (mirror.directory / remote_mirror._JOURNAL).write_bytes(journal)
        return mirror

    def names(self):
        return {
            path.relative_to(self.path).as_posix()
            for path in self.path.rglob("*")
            if path.is_file()
        }


@pytest.fixture
def place(tmp_path, machine, monkeypatch):
    monkeypatch.setattr(remote_mirror, "SECONDS", 3600.0)
    monkeypatch.setattr(remote_mirror, "_PAUSES", (0.0,))
    monkeypatch.setattr(remote_claim, "_MOMENT", 0.0)
    return Place(tmp_path / "there", machine)


@pytest.fixture
def quick_claims(monkeypatch):
    monkeypatch.setattr(remote_claim, "SECONDS", 2.0)
    monkeypatch.setattr(remote_claim, "_BEAT", 0.2)
    monkeypatch.setattr(remote_claim, "_LOOK", 0.05)


def files_of(content, epoch=1, score=1.0):
    digest = hashlib.blake2b(content, digest_size=16).hexdigest()
    description = dataclasses.asdict(checkpoints.Checkpoint(epoch, score=score, digest=digest))
    return {checkpoints.DESCRIPTION: json.dumps(description).encode(), checkpoints.WEIGHTS: content}


def put_state(mirror, epoch, best=b"best"):
    state = files_of(f"state {epoch}".encode(), epoch)
    state |= {f"best/{name}": content for name, content in files_of(best).items()}
    training_states.put_state(mirror.directory / "trial_0" / "latest", state)
    return state


def content_of(directory):
    return checkpoints.packed(directory)[checkpoints.WEIGHTS]


def test_weights_from_before_another_machine_went_on_are_not_sent(place, monkeypatch):
    monkeypatch.setattr(remote_claim, "SECONDS", 0.0)  # the first was lost more than a minute ago
    first = place.at("first", HEADER)
    first.start()
    checkpoints.put(first.directory / "trial_0", files_of(b"old"))  # not sent any more
    put_state(first, 7)
    second = place.at("second")
    second.pull()
    second.start()
    (second.directory / remote_mirror._JOURNAL).write_bytes(HEADER + b'{"record": "epoch"}\n')
    checkpoints.put(second.directory / "trial_0", files_of(b"new", score=0.5))
    second.close()
    first.pull()
    assert not (first.directory / "trial_0" / "latest").exists()
    first.start()
    first.close()
    assert content_of(place.path / "trial_0") == b"new"
    first.fetch(first.directory / "trial_0", 0.5)
    assert content_of(first.directory / "trial_0") == b"new"


OTHER = b'{"record": "project", "project_id": "b"}\n'
TRIAL = b'{"record": "trial", "trial_id": "0", "values": {}, "sampling_key": []}\n'
OF_OTHERS = ("trial_notes/mine.txt", "trial_7/mine.txt", "trial_7/execution_1/mine.txt", "mine.txt")
OF_PROJECT = (
    "trial_0/logs/one.txt",
    "trial_8/new.weights.h5",
    "trial_8/latest/epoch_1/checkpoint.json",
)


def put_all(mirror, *names):
    for name in names:
        mirror._remote.put(name, b"content")


def test_overwriting_removes_what_is_of_the_project_alone(place):
    first = place.at("first", HEADER + TRIAL)
    first.start()
    first.close()
    put_all(first, *OF_OTHERS, *OF_PROJECT)
    second = place.at("second", OTHER)
    second.start(overwrite=True)
    second.close()
    assert place.names() == {remote_mirror._JOURNAL, *OF_OTHERS}


def test_overwriting_where_there_is_no_project_removes_nothing(place):
    mirror = place.at("first", HEADER)
    put_all(mirror, *OF_OTHERS, *OF_PROJECT)
    mirror.start(overwrite=True)
    assert place.names() >= {*OF_OTHERS, *OF_PROJECT}
    mirror.close()


def test_nothing_is_removed_where_another_search_runs(place, quick_claims):
    first = place.at("first", HEADER + TRIAL)
    first.start()
    put_all(first, *OF_PROJECT)
    before = place.names()
    with (
        pytest.warns(UserWarning, match="Another search has claimed the project at file"),
        pytest.raises(ProjectError, match="Another search is running in the project at file"),
    ):
        place.at("second", OTHER).start(overwrite=True)
    assert place.names() == before
    first.close()


def stop_beating(mirror):
    """As a kill does."""
    mirror._claim._ends.set()
    mirror._claim._thread.join()


def test_a_claim_is_void_for_the_same_copy(place):
    first = place.at("first", HEADER)
    first.start()
    place.at("first").start()  # as after a kill
    first.close()


def test_a_search_that_runs_is_found_out_and_one_that_was_killed_is_waited_for(place, quick_claims):
    first, second = place.at("first", HEADER), place.at("second")
    first.start()
    second.pull()
    with (
        pytest.warns(UserWarning, match="Waiting for up to . s to see whether it still runs"),
        pytest.raises(ProjectError, match="Another search is running"),
    ):
        second.start()
    stop_beating(first)
    with pytest.warns(UserWarning, match="Waiting for up to"):
        second.start()
    second.close()
    assert remote_mirror._CLAIM not in place.names()


def test_a_search_that_ends_meanwhile_is_not_waited_for_any_longer(place, monkeypatch):
    first, second = place.at("first", HEADER), place.at("second")
    first.start()
    second.pull()
    monkeypatch.setattr(remote_claim.time, "sleep", lambda seconds: first.close())
    with pytest.warns(UserWarning, match="Waiting for up to"):
        second.start()
    second.close()


@pytest.mark.parametrize("hours", [-5, 5])
def test_clocks_of_machines_may_differ(place, quick_claims, monkeypatch, hours):
    first, second = place.at("first", HEADER), place.at("second")
    with monkeypatch.context() as patched:
        now = time.time()
        patched.setattr(time, "time", lambda: now + 3600 * hours)
        first.start()
    second.pull()
    with pytest.warns(UserWarning), pytest.raises(ProjectError, match="Another search is running"):
        second.start()
    first.close()


def test_an_old_claim_is_not_waited_for(place):
    first, second = place.at("first", HEADER), place.at("second")
    first.start()
    stop_beating(first)
    earlier = time.time() - remote_claim.SECONDS - 1
    os.utime(place.path / remote_mirror._CLAIM, (earlier, earlier))
    second.pull()
    second.start()
    second.close()


def test_the_last_that_claims_has_the_project(place, monkeypatch):
    first, second = place.at("first", HEADER), place.at("second", HEADER)

    def claims_too(seconds):
        monkeypatch.setattr(remote_claim.time, "sleep", lambda seconds: None)
        second._claim._write()

    monkeypatch.setattr(remote_claim.time, "sleep", claims_too)
    with pytest.raises(ProjectError, match="Another search is running"):
        first.start()
    assert second._claim._there()["owner"] == second._claim.owner  # which stays


def test_a_search_whose_claim_was_taken_sends_nothing_more(place):
    first = place.at("first", HEADER)
    first.start()
    place.at("second", HEADER)._claim._write()
    (first.directory / remote_mirror._JOURNAL).write_bytes(HEADER + TRIAL)
    for _ in range(2):
        with pytest.raises(ProjectError, match="Another search is running"):
            first.send()
    assert (place.path / remote_mirror._JOURNAL).read_bytes() == HEADER


def test_a_claim_is_written_again_while_something_large_is_sent(place, quick_claims):
    mirror = place.at("first", HEADER)
    mirror._remote.put(remote_mirror._CLAIM, b"[" * 100_000)  # of no search
    mirror.start()
    before = mirror._claim._there()
    for _ in range(200):
        if mirror._claim._there() != before:
            break
        time.sleep(0.05)
    assert mirror._claim._there() != before
    mirror.close()
    assert remote_mirror._CLAIM not in place.names()


def test_a_claim_that_is_gone_is_written_again(place):
    mirror = place.at("first", HEADER)
    mirror.start()
    mirror._remote.delete(remote_mirror._CLAIM)
    mirror.send()
    assert mirror._claim._there()["owner"] == mirror._claim.owner
    mirror.close()


def test_damaged_weights_are_brought_again_by_whoever_asks(place):
    first = place.at("first", HEADER)
    checkpoints.put(first.directory / "trial_0", files_of(b"right"))
    first.start()
    first.close()
    (first.directory / "trial_0" / checkpoints.WEIGHTS).write_bytes(b"wrong")
    first.fetch_all()
    assert content_of(first.directory / "trial_0") == b"right"


def test_the_journal_is_sent_after_the_weights_that_it_tells_of(place, monkeypatch):
    mirror = place.at("first", HEADER)
    mirror.start()
    read = mirror._journal_here

    def a_training_ends_just_before():
        checkpoints.put(mirror.directory / "trial_0", files_of(b"weights"))
        (mirror.directory / remote_mirror._JOURNAL).write_bytes(
            HEADER + b'{"record": "execution"}\n{"record": "tor'
        )
        return read()

    monkeypatch.setattr(mirror, "_journal_here", a_training_ends_just_before)
    put = mirror._remote.put_whole

    def look(name, *what):
        put(name, *what)
        if b"execution" in (place.path / remote_mirror._JOURNAL).read_bytes():
            assert checkpoints.fits(
                (place.path / "trial_0" / checkpoints.DESCRIPTION).read_bytes(), b"weights"
            )

    monkeypatch.setattr(mirror._remote, "put_whole", look)
    mirror.send()
    assert content_of(place.path / "trial_0") == b"weights"
    assert (
        place.path / remote_mirror._JOURNAL
    ).read_bytes() == HEADER + b'{"record": "execution"}\n'


def test_the_only_state_that_is_there_stays_until_there_is_a_newer_one(place, monkeypatch):
    mirror = place.at("first", HEADER)
    put_state(mirror, 1)
    mirror.start()
    mirror.send()
    put_state(mirror, 2)
    with monkeypatch.context() as patched:
        patched.setattr(
            checkpoints, "packed", lambda directory: raises(CheckpointError("being written"))
        )
        mirror.send()
    assert {name.split("/")[2] for name in place.names() if "latest" in name} == {"epoch_000001"}
    mirror.send()
    assert {name.split("/")[2] for name in place.names() if "latest" in name} == {"epoch_000002"}
    shutil.rmtree(mirror.directory / "trial_0" / "latest")
    mirror.close()
    assert not [name for name in place.names() if "latest" in name]


def raises(error):
    raise error


def test_a_session_that_begins_sends_the_weights_before_the_journal(place):
    """The server was gone at the end of the last one."""
    mirror = place.at("first", HEADER + b'{"record": "execution"}\n')
    checkpoints.put(mirror.directory / "trial_0", files_of(b"weights"))
    mirror.start()
    assert (place.path / remote_mirror._JOURNAL).read_bytes() == HEADER
    mirror.close()
    assert content_of(place.path / "trial_0") == b"weights"
    assert b"execution" in (place.path / remote_mirror._JOURNAL).read_bytes()


def test_a_tuner_that_searches_again_knows_what_others_brought_here_meanwhile(place):
    mine = place.at("first", HEADER)
    checkpoints.put(mine.directory / "trial_0", files_of(b"old"))
    mine.start()
    mine.close()
    other = place.at("second", b'{"record": "project", "project_id": "b"}\n')
    (place.path / remote_mirror._JOURNAL).unlink()
    checkpoints.put(other.directory / "trial_0", files_of(b"other"))
    other.start()
    other.close()
    place.at("first").pull()  # by another object of this process
    mine.start()
    mine.close()
    assert content_of(place.path / "trial_0") == b"other"


def test_weights_that_are_removed_stay_there_until_the_journal_says_why(place, monkeypatch):
    mirror = place.at("first", HEADER)
    checkpoints.put(mirror.directory / "trial_0", files_of(b"weights"))
    mirror.start()
    mirror.send()
    put = mirror._put_weights

    def better_ends_meanwhile(folder):
        checkpoints.remove(mirror.directory / "trial_0")
        return put(folder)

    checkpoints.put(mirror.directory / "trial_1", files_of(b"better"))
    with monkeypatch.context() as patched:
        patched.setattr(mirror, "_put_weights", better_ends_meanwhile)
        mirror.send()
    assert content_of(place.path / "trial_0") == b"weights"
    mirror.close()
    assert not (place.path / "trial_0" / checkpoints.WEIGHTS).exists()


def test_of_several_trainings_each_has_its_newest_state_there(place, monkeypatch):
    mirror = place.at("first", HEADER)
    for number in range(3):
        training_states.put_state(
            mirror.directory / f"trial_{number}" / "latest", files_of(b"1", 1)
        )
    mirror.start()
    put = mirror._remote.put

    def slowly(name, content):
        put(name, content)
        for number in range(3):  # all go on meanwhile
            states = mirror.directory / f"trial_{number}" / "latest"
            epoch = checkpoints.describe(training_states.newest(states)).epoch + 1
            training_states.put_state(states, files_of(str(epoch).encode(), epoch))

    with monkeypatch.context() as patched:
        patched.setattr(mirror._remote, "put", slowly)
        mirror.send()
    for number in range(3):
        assert training_states.newest(place.path / f"trial_{number}" / "latest") is not None


def test_of_two_attempts_the_later_is_taken(place):
    first = place.at("first", HEADER)
    first.start()
    first.close()
    for attempt, epoch in ((0, 5), (1, 2)):
        files = files_of(str(attempt).encode(), epoch)
        described = {**json.loads(files[checkpoints.DESCRIPTION]), "attempt": attempt}
        files[checkpoints.DESCRIPTION] = json.dumps(described).encode()
        checkpoints.put(place.path / "trial_0" / "latest" / f"epoch_{epoch:06d}", files)
    second = place.at("second")
    second.pull()
    second.pull_states()
    assert content_of(training_states.newest(second.directory / "trial_0" / "latest")) == b"1"
    assert content_of(training_states.newest(place.path / "trial_0" / "latest")) == b"1"


def test_a_copy_that_was_brought_is_brought_again_when_there_is_a_newer_one(place):
    first = place.at("first", HEADER)
    first.start()
    checkpoints.put(first.directory / "trial_0", files_of(b"early", 1))
    first.send()
    second = place.at("second")
    second.pull()
    second.fetch_all()
    checkpoints.put(first.directory / "trial_0", files_of(b"late", 2))
    first.close()
    place.at("second").fetch_all()
    assert content_of(second.directory / "trial_0") == b"late"


def test_states_are_taken_whole(place, monkeypatch):
    first = place.at("first", HEADER)
    first.start()
    put_state(first, 1)
    order = []
    put = first._remote.put_whole
    monkeypatch.setattr(
        first._remote, "put_whole", lambda name, *what: (order.append(name), put(name, *what))
    )
    first.close()
    described = [name for name in order if name.endswith(checkpoints.DESCRIPTION)]
    assert [name.removeprefix("trial_0/latest/epoch_000001/") for name in described] == [
        "best/checkpoint.json",
        "checkpoint.json",
    ]
    state = place.path / "trial_0" / "latest" / "epoch_000001"
    (state / checkpoints.WEIGHTS).rename(state / checkpoints.NEW)  # the sending was cut short
    second = place.at("second")
    second.pull()
    second.pull_states()
    here = training_states.newest(second.directory / "trial_0" / "latest")
    assert (content_of(here), content_of(here / "best")) == (b"state 1", b"best")
    second.start()
    second.close()
    names = {
        f"trial_0/latest/epoch_000001/{part}"
        for part in ("checkpoint.json", "checkpoint.weights.h5")
    }
    assert names <= place.names()
    assert not [name for name in place.names() if checkpoints.NEW in name]


def test_what_is_there_of_states_that_are_no_more_is_removed(place):
    mirror = place.at("first", HEADER)
    put_state(mirror, 1)
    mirror.start()
    mirror.close()
    shutil.rmtree(mirror.directory / "trial_0" / "latest")
    (
        mirror.directory / ".glimr_keras" / "sent.json"
    ).unlink()  # it was killed before it wrote that down
    again = place.at("first")
    again.start()
    again.close()
    assert place.names() == {remote_mirror._JOURNAL}


def test_a_project_that_was_removed_there_is_not_begun_again_halfway(place):
    mirror = place.at("first", HEADER)
    mirror.start()
    (place.path / remote_mirror._JOURNAL).unlink()
    with pytest.raises(ProjectError, match="or it was removed there"):
        mirror.send()
    with pytest.raises(ProjectError, match="or it was removed there"):
        mirror.check()


def test_a_project_that_is_searched_here_is_not_put_aside(place):
    mirror = place.at("first", HEADER)
    mirror.start()
    mirror.close()
    searching = Journal(mirror.directory)
    (mirror.directory / remote_mirror._JOURNAL).write_bytes(
        b'{"record": "project", "project_id": "b"}\n'
    )
    searching.claim()
    place.at("first").pull()
    assert mirror.directory.exists()
    searching.close()
    place.at("first").pull()
    assert (mirror.directory / remote_mirror._JOURNAL).read_bytes() == HEADER


def test_overwriting_is_not_forgotten_when_the_server_was_gone(bucket, machine, monkeypatch):
    before = searched(bucket, 1)._glimr.read().project_id
    tuner = gk.RandomSearch(
        Plain(),
        "val_loss",
        1,
        directory=bucket,
        project_name="p",
        executor="inline",
        overwrite=True,
    )
    with monkeypatch.context() as patched:
        patched.setattr(
            remote_mirror.Mirror, "start", lambda mirror, overwrites: raises(StorageError("gone"))
        )
        with pytest.raises(StorageError, match="gone"):
            tuner.search(*tiny_models.TRAIN, **SEARCH)
    tuner.search(*tiny_models.TRAIN, **SEARCH)
    machine("second")
    assert gk.RayTuner.open(f"{bucket}/p")._glimr.read().project_id != before


def test_an_interruption_is_not_hidden_by_a_server_that_is_gone(bucket, machine, monkeypatch):
    sent = []

    class Interrupted(gk.RandomSearch):
        def on_trial_end(self, trial):
            raise KeyboardInterrupt

    def send(mirror):
        sent.append(mirror)
        raise StorageError("gone")

    tuner = Interrupted(
        Plain(), "val_loss", 1, directory=bucket, project_name="p", executor="inline"
    )
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(remote_mirror.Mirror, "send", send)
        tuner.search(*tiny_models.TRAIN, **SEARCH)
    assert sent
    assert tuner._glimr.mirror._thread is None


def test_a_tuner_is_made_without_a_look_at_the_server(bucket, machine, monkeypatch):
    searched(bucket, 1)
    with monkeypatch.context() as patched:
        patched.setattr(
            remote_files.Remote, "content", lambda remote, name: raises(StorageError("gone"))
        )
        tuner = gk.RandomSearch(
            Plain(), "val_loss", 1, directory=bucket, project_name="p", executor="inline"
        )
        assert len(tuner.oracle.trials) == 1


def test_of_two_machines_that_search_at_once_the_second_loses(bucket, machine, quick_claims):
    class Interrupted(Plain):
        def fit(self, config, model, *args, **kwargs):
            if tiny_models.is_trial(kwargs["callbacks"]):
                machine("second")
                for overwrite in (False, True):
                    with (
                        pytest.warns(UserWarning, match="to see whether it still runs"),
                        pytest.raises(ProjectError, match="Another search is running in the"),
                    ):
                        searched(bucket, 2, overwrite=overwrite)
                machine("first")
            return super().fit(config, model, *args, **kwargs)

    tuner = gk.RandomSearch(
        Interrupted(), "val_loss", 2, seed=0, directory=bucket, project_name="p", executor="inline"
    )
    tuner.search(*tiny_models.TRAIN, **SEARCH)
    machine("third")
    assert set(gk.RayTuner.open(f"{bucket}/p").results_dataframe()["status"]) == {"COMPLETED"}
    searched(bucket, 3)  # at once, since the others have ended
    assert len(gk.RayTuner.open(f"{bucket}/p").results_dataframe()) == 3


def test_two_machines_that_search_at_once_are_told(bucket, machine, monkeypatch):
    monkeypatch.setattr(remote_mirror, "SECONDS", 3600.0)
    monkeypatch.setattr(remote_claim, "SECONDS", 0.0)  # the first does not get to say that it runs
    searched(bucket, 1)

    class Interrupted(Plain):
        def fit(self, config, model, *args, **kwargs):
            if tiny_models.is_trial(kwargs["callbacks"]):
                machine("second")
                searched(bucket, 2)
                machine("first")
            return super().fit(config, model, *args, **kwargs)

    tuner = gk.RandomSearch(
        Interrupted(), "val_loss", 3, seed=0, directory=bucket, project_name="p", executor="inline"
    )
    with pytest.raises(
        ProjectError,
        match=r"Another search has written to the project at s3://.*was done here is in .*first",
    ):
        tuner.search(*tiny_models.TRAIN, **SEARCH)
    machine("third")
    table = gk.RayTuner.open(f"{bucket}/p").results_dataframe()
    assert len(table) == 2
    assert set(table["status"]) == {"COMPLETED"}


@pytest.mark.slow
def test_what_cannot_be_sent_now_is_sent_later(bucket, machine, monkeypatch):
    monkeypatch.setattr(remote_mirror, "SECONDS", 0.02)
    send, failed, sent = remote_mirror.Mirror.send, [], threading.Event()

    def first_fails(mirror):
        if not failed:
            failed.append(True)
            raise StorageError("for now")
        send(mirror)
        if threading.current_thread() is mirror._thread:
            sent.set()

    class Waiting(Plain):
        def fit(self, *args, **kwargs):
            history = super().fit(*args, **kwargs)
            assert history.history["val_loss"]  # the look before the search goes as far as this
            assert sent.wait(60)
            return history

    monkeypatch.setattr(remote_mirror.Mirror, "send", first_fails)
    tuner = gk.RandomSearch(
        Waiting(), "val_loss", 1, directory=bucket, project_name="p", executor="inline"
    )
    tuner.search(*tiny_models.TRAIN, **SEARCH)
    assert failed
    assert set(tuner.results_dataframe()["status"]) == {"COMPLETED"}


def test_what_is_gone_at_the_uri_is_sent_again(bucket, machine):
    searched(bucket, 1)
    mirror = remote_mirror.Mirror(f"{bucket}/p")
    names = set(mirror._remote.names())
    for name in names:
        mirror._remote.delete(name)
    searched(bucket, 1)
    assert set(mirror._remote.names()) == names


def test_a_damaged_local_copy_is_brought_again(bucket, machine):
    tuner = searched(bucket, 1)
    weights = pathlib.Path(tuner.project_dir) / "trial_0" / checkpoints.WEIGHTS
    content = weights.read_bytes()
    weights.write_bytes(b"nothing")
    tuner.get_best_models()
    assert weights.read_bytes() == content


def test_weights_whose_sending_was_not_ended_are_found(bucket, machine):
    searched(bucket, 1)
    mirror = remote_mirror.Mirror(f"{bucket}/p")
    mirror._remote.move(f"trial_0/{checkpoints.WEIGHTS}", f"trial_0/{checkpoints.NEW}")
    machine("second")
    (model,) = gk.RayTuner.open(f"{bucket}/p", Plain()).get_best_models()
    assert model.built


def test_reading_removes_no_local_copy(bucket, machine):
    tuner = searched(bucket, 2)
    machine("second")
    searched(bucket, 1, overwrite=True)
    machine("first")
    copy = pathlib.Path(tuner.project_dir)
    before = {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()}
    for opened in (tuner, gk.RayTuner.open(f"{bucket}/p", Plain())):
        assert len(opened.results_dataframe()) == 1
    assert len(gk.experiment_table(f"{bucket}/p")) == faulty.EPOCHS
    assert len(opened.get_best_models()) == 1
    assert {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()} == before
    assert len(gk.RayTuner.open(copy).results_dataframe()) == 2
    assert len(searched(bucket, 2).results_dataframe()) == 2  # a search puts it aside
    assert len(gk.RayTuner.open(copy).results_dataframe()) == 2
    assert len(gk.RayTuner.open(f"{bucket}/p").results_dataframe()) == 2


def test_states_at_the_uri_are_never_ahead_of_the_journal(bucket, machine, notes, monkeypatch):
    monkeypatch.setattr(remote_mirror, "SECONDS", 3600.0)
    order = []
    put = remote_files.Remote.put_whole
    monkeypatch.setattr(
        remote_files.Remote,
        "put_whole",
        lambda there, name, *what: (order.append(name), put(there, name, *what)),
    )

    class Sending(Plain):
        def fit(self, config, model, *args, callbacks=(), **kwargs):
            class Sends(keras.callbacks.Callback):
                def on_epoch_begin(self, epoch, logs=None):
                    tuner._glimr.mirror.send()

            return super().fit(config, model, *args, callbacks=[*callbacks, Sends()], **kwargs)

    tuner = gk.RandomSearch(
        Sending(),
        "val_loss",
        1,
        directory=bucket,
        project_name="p",
        executor="inline",
        state_interval_s=0,
    )
    tuner.search(*tiny_models.TRAIN, **{**SEARCH, "epochs": 3})
    described = [name for name in order if name.endswith((".json", ".jsonl"))]
    states = [
        place for place, name in enumerate(described) if "/latest/" in name and "/best/" not in name
    ]
    assert states
    for place in states:
        assert any(name.endswith(".jsonl") for name in described[:place])


@pytest.mark.parametrize(
    "read",
    [
        gk.RayTuner.open,
        gk.experiment_table,
        project_of,
        lambda uri: gk.BayesianOptimization(
            Plain(), gk.Objective("val_loss", "min"), 1, warm_start=uri, executor="inline"
        ),
    ],
    ids=["open", "table", "figures", "warm_start"],
)
def test_a_project_that_is_gone_is_not_read_from_its_copy(read, tmp_path, machine, monkeypatch):
    monkeypatch.chdir(tmp_path)
    place = made.written(made.project([made.trial(0, [[0.5]])]), tmp_path / "there" / "p")
    read(f"file://{place}")
    shutil.rmtree(place)
    with pytest.raises(ProjectError, match=r"no project at file://.*/p\. A copy from before is in"):
        read(f"file://{place}")
