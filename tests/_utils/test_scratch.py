"""Directories that killed processes left."""

import os
import pathlib
import socket
import subprocess
import sys

import pytest

import glimr_keras as gk
from glimr_keras._utils import scratch
from tests import tiny_models

LEAVES = (
    "import pathlib, sys; from glimr_keras._utils import scratch; "
    "print(scratch.make(within=pathlib.Path(sys.argv[1])))"
)


def test_what_a_dead_process_left_is_removed_and_nothing_else(tmp_path):
    mine = scratch.make(within=tmp_path)
    left = subprocess.run(
        [sys.executable, "-c", LEAVES, tmp_path], capture_output=True, text=True, check=True
    ).stdout.strip()
    huge = f"glimr_keras-{socket.gethostname()}-{10**30}-x"
    others = [
        tmp_path / name
        for name in ("glimr_keras-elsewhere-99999999-x", "glimr_keras-", "glimr_keras-a-b-c", huge)
    ]
    for other in others:
        other.mkdir()
    assert tmp_path / left != mine
    scratch.tidy(within=tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted([mine, *others])


def test_a_search_removes_what_killed_scripts_left(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    left = subprocess.run(
        [sys.executable, "-c", LEAVES, tmp_path], capture_output=True, text=True, check=True
    ).stdout.strip()
    assert pathlib.Path(left).is_dir()
    tuner = gk.RandomSearch(
        tiny_models.build, "val_loss", 1, directory=tmp_path / "runs", executor="inline"
    )
    tuner.search(*tiny_models.TRAIN, validation_data=tiny_models.VALIDATION, verbose=0)
    assert not pathlib.Path(left).exists()


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="only where files have owners")
def test_processes_of_one_parent_share_a_directory_that_goes_with_it(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    place = scratch.of_parent("jax")
    assert place == scratch.of_parent("jax")
    scratch.tidy()
    assert place.is_dir()
    monkeypatch.setattr(os, "getppid", lambda: 2**22 + 1)  # which no process has
    gone = scratch.of_parent("jax")
    assert gone != place
    scratch.tidy()
    assert (place.is_dir(), gone.exists()) == (True, False)
    scratch.of_parent("jax").chmod(0o777)
    assert scratch.of_parent("jax") is None
