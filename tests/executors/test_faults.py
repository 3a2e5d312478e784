"""Faults of every kind at every moment: no trial is lost or completed twice, scores are what they
are without, and the search ends at its budget.
"""

import contextlib
import errno
import functools
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

import glimr_keras as gk
from glimr_keras._utils import files
from glimr_keras.errors import CheckpointError, ProjectError, StorageError
from glimr_keras.project import checkpoints, journal
from tests import faulty, tiny_models
from tests.script_environment import ROOT, script_environment

pytestmark = pytest.mark.slow
SEARCH = {"validation_data": tiny_models.VALIDATION, "epochs": faulty.EPOCHS, "verbose": 0}


@pytest.fixture
def notes(tmp_path):
    (tmp_path / "notes").mkdir()
    return tmp_path / "notes"


def check(tmp_path, restarts=True):
    """That the project is as it would be without the fault.

    Args:
        restarts: Whether a training may have been begun twice.
    """
    assert (tmp_path / "notes" / "happened").exists()
    results = gk.RayTuner.open(tmp_path / "project")
    table = results.results_dataframe()
    assert sorted(table["units"]) == faulty.UNITS
    assert set(table["status"]) == {"COMPLETED"}
    for _, row in table.iterrows():
        assert row["score"] == pytest.approx(faulty.score(row["units"], 1))
        assert row["epochs"] == faulty.EPOCHS
    rows = gk.experiment_table(results)
    assert len(rows) == len(faulty.UNITS) * faulty.EPOCHS
    assert rows["val_loss"].tolist() == pytest.approx(
        [
            faulty.score(row["config/units"], row["training_iteration"] - 1)
            for _, row in rows.iterrows()
        ]
    )
    saved = rows.dropna(subset="checkpoint_path")
    assert (saved["training_iteration"] == 2).all()
    assert len(saved) == len(faulty.UNITS)
    completed = [
        note["units"] for note in faulty.noted(tmp_path / "notes") if note["what"] == "completed"
    ]
    assert sorted(completed) == faulty.UNITS
    assert not list(tmp_path.glob("project/**/latest"))
    return [note for note in faulty.noted(tmp_path / "notes") if note["what"] == "began"]


def begins_again(notes_of_begin):
    """At which epochs trainings went on, counted from 0."""
    return [note["epoch"] for note in notes_of_begin if note["epoch"] > 0]


@pytest.mark.parametrize("moment", faulty.MOMENTS)
def test_a_killed_worker(local_ray, tmp_path, notes, moment):
    in_driver = moment in ("journal", "between", "end")
    act = functools.partial(faulty.kill_a_worker, notes) if in_driver else faulty.kill_me
    tuner = faulty.tuner_of(tmp_path, notes, moment, act)
    with faulty.FaultyJournal(notes, moment, act):
        tuner.search(*tiny_models.TRAIN, **SEARCH)
    began = check(tmp_path)
    if moment in ("mid-epoch", "checkpoint"):
        assert begins_again(began) == [1]


def run_script(tmp_path, kind, moment, executor="ray", ray_files=None):
    """Runs the search as a script to its end, whatever that is."""
    command = [
        sys.executable,
        str(ROOT / "tests" / "faulty.py"),
        str(tmp_path),
        kind,
        moment,
        executor,
    ]
    return subprocess.run(
        command,
        env=script_environment(ray_files),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def remaining(ray_files):
    """Command lines of processes of the scripts' Ray that are there after half a minute."""
    patience = time.monotonic() + 30
    while True:
        lines = [
            " ".join(process.info["cmdline"] or ()) for process in psutil.process_iter(["cmdline"])
        ]
        found = [line for line in lines if ray_files in line]
        if not found or time.monotonic() > patience:
            return found
        time.sleep(0.2)


def run_here(tmp_path, notes):
    """Runs the search in this process, or goes on with it."""
    faulty.tuner_of(tmp_path, notes, executor="inline").search(*tiny_models.TRAIN, **SEARCH)


@pytest.mark.parametrize("moment", faulty.MOMENTS)
def test_a_killed_driver(tmp_path, notes, moment):
    assert run_script(tmp_path, "driver", moment, "inline").returncode == -signal.SIGKILL
    run_here(tmp_path, notes)
    began = check(tmp_path)
    if moment in ("mid-epoch", "checkpoint"):
        assert begins_again(began) == [1]


def test_a_killed_driver_leaves_no_process_behind(tmp_path, notes, ray_files):
    script = run_script(tmp_path, "driver", "mid-epoch", ray_files=ray_files)
    assert script.returncode == -signal.SIGKILL
    assert remaining(ray_files) == []
    run_here(tmp_path, notes)
    check(tmp_path)


def test_a_killed_ray(tmp_path, notes, ray_files):
    run_script(tmp_path, "raylet", "mid-epoch", ray_files=ray_files)
    assert remaining(ray_files) == []
    run_here(tmp_path, notes)
    check(tmp_path)


# Storage


def mounted(place):
    """Mounts a small file system; whether that may be done."""
    command = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", place]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@pytest.fixture
def small_disk(request, tmp_path, monkeypatch):
    """A directory with little room, and functions that take all of it and give it back.

    A file system of its own where that may be mounted; else, and where a test wants that, every
    write to the journal and of a checkpoint fails as it would there.
    """
    place = tmp_path / "disk"
    place.mkdir()
    if getattr(request, "param", "mounted") == "mounted" and mounted(place):
        ballast = place / "ballast"

        def fill():
            with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
                while True:
                    file.write(bytes(1024))

        yield place, fill, ballast.unlink
        subprocess.run(["umount", "-l", place], check=True)
        return

    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def fill():
        monkeypatch.setattr(journal.os, "fstat", full)
        monkeypatch.setattr(checkpoints, "write_whole", full)
        monkeypatch.setattr(files, "write_whole", full)

    yield place, fill, monkeypatch.undo


@pytest.mark.parametrize(
    ("small_disk", "moment"),
    [*(("mounted", moment) for moment in faulty.MOMENTS), ("patched", "journal")],
    indirect=["small_disk"],
)
def test_a_full_disk(small_disk, moment):
    place, fill, free = small_disk
    (place / "notes").mkdir()
    tuner = faulty.tuner_of(place, place / "notes", moment, fill, "inline")
    ends = (
        contextlib.nullcontext()
        if moment == "end"
        else pytest.raises(StorageError, match="cannot be written")
    )
    with faulty.FaultyJournal(place / "notes", moment, fill), ends:
        tuner.search(*tiny_models.TRAIN, **SEARCH)
    free()
    run_here(place, place / "notes")
    check(place)


@pytest.mark.parametrize(
    ("moment", "file"),
    [
        ("mid-epoch", "checkpoint.json"),
        ("checkpoint", "checkpoint.weights.h5"),
        ("journal", "checkpoint.weights.h5"),
    ],
)
def test_a_state_that_cannot_be_read(tmp_path, notes, moment, file):
    """The training begins anew."""
    assert run_script(tmp_path, "driver", moment, "inline").returncode == -signal.SIGKILL
    states = list(tmp_path.glob(f"project/**/latest/*/{file}"))
    assert states
    for state in states:
        state.write_bytes(state.read_bytes()[:-20])
    run_here(tmp_path, notes)
    assert begins_again(check(tmp_path)) == []


@pytest.mark.parametrize("file", ["checkpoint.weights.h5", "checkpoint.json"])
def test_weights_that_cannot_be_read_give_the_next_best_model(tmp_path, notes, file):
    tuner = faulty.tuner_of(tmp_path, notes, executor="inline")
    tuner.search(*tiny_models.TRAIN, **SEARCH)
    best, *_ = sorted(tmp_path.glob(f"project/trial_*/{file}"))
    best.write_bytes(b"")
    with pytest.warns(UserWarning, match="Trial 0000 is left out: The checkpoint in .* is damaged"):
        (model,) = tuner.get_best_models()
    assert model.layers[0].units == faulty.UNITS[1]
    with pytest.warns(UserWarning, match="Trial 0000 is left out"):
        assert len(tuner.get_best_models(3)) == 2
    for other in tmp_path.glob(f"project/trial_*/{file}"):
        other.write_bytes(b"")
    with pytest.raises(
        CheckpointError,
        match=r"no models to load: none of the 3 trials with a score has .* is damaged",
    ) as none:
        tuner.get_best_models()
    assert "run_trial" not in str(none.value)


def test_a_journal_that_cannot_be_read_is_refused_and_left_alone(tmp_path, notes):
    run_here(tmp_path, notes)
    path = tmp_path / "project" / ".glimr_keras" / "journal.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:3], lines[3][:20] + b"\n", *lines[4:]]))
    before = path.read_bytes()
    with pytest.raises(ProjectError, match="is damaged in line 4"):
        run_here(tmp_path, notes)
    assert path.read_bytes() == before
