"""Bags, attention pooling and losses of known labels on the other backends: the same tests, in a
process of their own.
"""

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
def test_bags_attention_and_known_labels(backend):
    tests = [
        "tests/models/test_bags.py",
        "tests/models/test_missing_labels.py",
        "tests/layers/test_attention.py",
    ]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests, "-k", "not ray"],
        cwd=ROOT,
        env=script_environment(KERAS_BACKEND=backend),
        capture_output=True,
        text=True,
        timeout=1200,
        check=False,
    )
    assert done.returncode == 0, done.stdout
