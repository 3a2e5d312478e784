"""Directories that killed processes left."""

import socket
import subprocess
import sys

from glimr_keras._utils import scratch

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
