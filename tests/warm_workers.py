"""Ray workers that need no time to import Keras: forks of one process that has imported it.

A search's worker processes end with it, and importing TensorFlow and Keras takes each of them some
seconds of a CPU. The tests' Ray starts workers with this file as their `python`: it asks the
process that has the imports to fork, and ends. Scripts that tests run have workers of the usual
kind.
"""

import contextlib
import json
import logging
import os
import pathlib
import socket
import subprocess
import sys
import tempfile


@contextlib.contextmanager
def runtime_env():
    """Yield the `runtime_env` of a Ray that has such workers; none where processes cannot fork
    safely.
    """
    if sys.platform != "linux":
        yield {}
        return
    with tempfile.TemporaryDirectory(prefix="warm-") as directory:
        address = str(pathlib.Path(directory) / "socket")
        command = [sys.executable, __file__, address]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        with subprocess.Popen(command, **pipes) as server:
            server.stdout.readline()
            yield {"py_executable": f"{sys.executable} -S -E {__file__} {address}"}


@contextlib.contextmanager
def local_ray(num_cpus):
    """Have a Ray on this machine with such workers, which says nothing."""
    import ray

    quiet = {"include_dashboard": False, "log_to_driver": False, "logging_level": logging.ERROR}
    with runtime_env() as environment:
        ray.init(num_cpus=num_cpus, runtime_env=environment, **quiet)
        try:
            yield
        finally:
            ray.shutdown()


def ask_for_a_worker(address, command):
    """Have `serve` start a worker with this process' environment and directory."""
    request = {"command": command, "environment": dict(os.environ), "directory": os.getcwd()}  # noqa: PTH109
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(address)
        connection.sendall(json.dumps(request).encode())


def serve(address):
    """Import what takes long, and fork for each request, until standard input is closed.

    Ray is not imported: it would read settings from this environment, not from the worker's.
    """
    import gc
    import select
    import signal

    import keras  # noqa: F401
    import pandas  # noqa: F401
    import tensorflow  # noqa: F401

    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(address)
        listening.listen(64)
        print("ready", flush=True)
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the system forgets workers that ended
        gc.freeze()
        while sys.stdin not in select.select([listening, sys.stdin], [], [])[0]:
            connection, _ = listening.accept()
            with connection, connection.makefile("rb") as stream:
                request = json.load(stream)
            if os.fork() == 0:
                listening.close()
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                become_a_worker(**request)


def become_a_worker(command, environment, directory):
    """Run Ray's script in this fork, to its end."""
    import runpy

    import numpy as np

    np.random.seed()  # all forks have one state; Python seeds its own generator
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(directory)
    script, *_ = sys.argv = command
    sys.path[0] = str(pathlib.Path(script).parent)
    runpy.run_path(script, run_name="__main__")
    sys.exit()


if __name__ == "__main__":
    address, *command = sys.argv[1:]
    ask_for_a_worker(address, command) if command else serve(address)
