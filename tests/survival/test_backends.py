"""Losses and metrics on the other backends: the same tests, in a process of their own."""

import importlib.util
import subprocess
import sys

import pytest

from tests.script_environment import ROOT, script_environment

BACKENDS = [
    pytest.param(
        backend,
        marks=pytest.mark.skipif(
            importlib.util.find_spec(backend) is None, reason=f"{backend} is not installed"
        ),
    )
    for backend in ("jax", "torch")
]


@pytest.mark.slow
@pytest.mark.parametrize("backend", BACKENDS)
def test_losses_and_metrics(backend):
    tests = ["tests/survival/test_losses.py", "tests/survival/test_metrics.py"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests],
        cwd=ROOT,
        env=script_environment(KERAS_BACKEND=backend),
        capture_output=True,
        text=True,
        timeout=1200,
        check=False,
    )
    assert done.returncode == 0, done.stdout
