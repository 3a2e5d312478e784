"""The examples run as they stand."""

import os
import pathlib
import re
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[1]


def run_example(name, **settings):
    """Runs an example as a user does, and returns what it prints."""
    environment = {**os.environ, **settings, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(ROOT / "examples" / name)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_quickstart_finds_a_good_model():
    printed = run_example("quickstart.py")
    accuracy = re.fullmatch(r"test accuracy: (0\.\d{4})", printed.splitlines()[-1])
    assert accuracy
    assert float(accuracy[1]) >= 0.97
    assert "20/20 trials" in printed


@pytest.mark.slow
def test_the_callback_resumes_in_a_function_of_the_user():
    assert re.search(r"accuracy 0\.\d+ after 6 epochs", run_example("ray_callback.py"))
