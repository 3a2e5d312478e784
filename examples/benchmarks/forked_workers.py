"""Ray's worker processes as forks of one that has imported what they import.

A process that imports Keras takes 270 MB of its own and some seconds, so a laptop has no room for
200. Forks share what was imported. Ray, Ray Tune and glimr_keras do not know of it: a worker is
still a process that Ray has started, and connects to it as any other does.
"""

import argparse
import contextlib
import json
import os
import pathlib
import select
import signal
import socket
import sys
import tempfile

_LAUNCHER = """#!{python} -ISu
import json, os, socket, subprocess, sys, time
if len(sys.argv) < 2 or not sys.argv[1].endswith("/setup_worker.py"):
    os.execv({python!r}, [{python!r}, *sys.argv[1:]])
try:
    os.close(os.open({address!r} + ".started", os.O_CREAT | os.O_EXCL))
except FileExistsError:
    pass
else:  # the first one; Ray reads these when it is imported, and the first workers have no job
    environment = dict(os.environ, RAY_JOB_ID={job!r})
    command = [{python!r}, {server!r}, {address!r}]
    subprocess.Popen(command, env=environment, start_new_session=True)
connection = socket.socket(socket.AF_UNIX)
while connection.connect_ex({address!r}):
    time.sleep(0.1)
order = json.dumps([sys.argv[2:], dict(os.environ), os.getcwd()]).encode() + b"\\n"
connection.sendall(order)
connection.recv(1)  # until the worker has ended
"""
_JOB = "01000000"
"""What Ray calls the first script that connects to it."""


@contextlib.contextmanager
def forked_workers():
    """Has a Ray that is started inside fork its workers."""
    python = sys.executable
    with tempfile.TemporaryDirectory() as directory:
        address, launcher = pathlib.Path(directory, "fork"), pathlib.Path(directory, "python")
        text = _LAUNCHER.format(python=python, address=str(address), server=__file__, job=_JOB)
        launcher.write_text(text)
        launcher.chmod(0o755)
        sys.executable = str(launcher)
        try:
            yield
        finally:
            sys.executable = python


def serve(address: str) -> None:
    import gc
    import runpy

    import glimr_keras.executors.ray_worker  # noqa: F401  # with Ray Tune and Keras

    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for forks
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(address)
        listening.listen(1000)
        while True:
            if not select.select([listening], [], [], 1.0)[0]:
                os.kill(int(os.environ["RAY_RAYLET_PID"]), 0)  # an error when Ray has ended
                continue
            connection, _ = listening.accept()
            if os.fork() == 0:
                break
            connection.close()
    with connection.makefile("rb") as stream:
        arguments, environment, directory = json.loads(stream.readline())
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.setpgid(0, 0)  # as Ray ends whole groups
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(directory)
    parser = argparse.ArgumentParser()  # as that of `setup_worker.py`
    parser.add_argument("--language")
    parser.add_argument("--serialized-runtime-env-context", type=json.loads)
    given, values = parser.parse_known_args(arguments)
    os.environ.update(given.serialized_runtime_env_context["env_vars"])
    sys.argv = values
    runpy.run_path(values[0], run_name="__main__")


if __name__ == "__main__":
    serve(sys.argv[1])
