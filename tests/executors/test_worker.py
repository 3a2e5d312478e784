"""What all workers' processes do alike."""

import signal
import subprocess
import sys

import pytest

HANGS = """
import signal, sys, time
if sys.argv[1] == "windows":
    del signal.setitimer
from glimr_keras.executors import worker
worker.hanging = lambda limit: limit
with worker.ended_after(60.0):
    pass
with worker.ended_after(None):
    pass
print("begins", flush=True)
with worker.ended_after(0.5):
    while True:
        pass
"""


@pytest.mark.parametrize("system", ["windows", "here"])
def test_a_process_that_hangs_is_ended(system):
    ended = subprocess.run(
        [sys.executable, "-c", HANGS, system],
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )
    expected = 1 if system == "windows" or not hasattr(signal, "SIGALRM") else -signal.SIGALRM
    assert (ended.stdout, ended.returncode) == ("begins\n", expected)
