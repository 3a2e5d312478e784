"""A Ray that does not start, or is not where it is said to be."""

import socket
import subprocess
import sys
import textwrap

import pytest

import glimr_keras as gk
from glimr_keras.executors import ray_start
from glimr_keras.executors.ray_executor import RayExecutor
from tests import tiny_models
from tests.script_environment import script_environment


@pytest.fixture
def nowhere(monkeypatch):
    """An address at which nothing listens, in a process that has joined no Ray."""
    monkeypatch.setattr(ray_start, "_PATIENCE_S", 0.1)
    monkeypatch.setattr(ray_start.ray, "is_initialized", lambda: False)
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{found.getsockname()[1]}"


@pytest.mark.parametrize("scheme", ["", "ray://"])
def test_a_variable_that_names_no_ray_is_named(nowhere, project, monkeypatch, scheme):
    monkeypatch.setenv("RAY_ADDRESS", scheme + nowhere)
    tuner = gk.RayTuner(tiny_models.build, "val_loss", 2, max_concurrent_trials=2, **project)
    with pytest.raises(
        gk.errors.ResourcesError,
        match=rf"variable RAY_ADDRESS='{scheme}{nowhere}'.*ConnectionRefused.*remove the variable",
    ):
        tuner.search(*tiny_models.TRAIN, validation_data=tiny_models.VALIDATION, verbose=0)


def test_an_argument_that_names_no_ray_is_named(nowhere):
    with pytest.raises(gk.errors.ResourcesError, match=r"`address='.*leave `address` out"):
        RayExecutor({"cpu": 1}, address=nowhere).prepare(None)


class FakeRay:
    """Starts at the second or a later attempt."""

    def __init__(self, at):
        self.at, self.starts, self.ends = at, 0, 0

    def is_initialized(self):
        return False

    def init(self, **options):
        self.starts += 1
        if self.starts < self.at:
            raise RuntimeError("The current node timed out during startup.")

    def get_runtime_context(self):
        return self

    def get_node_id(self):
        return "here"

    def shutdown(self):
        self.ends += 1


@pytest.fixture
def fake_ray(monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(ray_start, "_own", None)

    def fake(at):
        monkeypatch.setattr(ray_start, "ray", FakeRay(at))
        return ray_start.ray

    return fake


def test_a_start_that_fails_is_tried_once_more(fake_ray):
    ray = fake_ray(at=2)
    ray_start.ensure_ray(None, chatty=False)
    assert (ray.starts, ray.ends) == (2, 1)


def test_a_start_that_fails_twice_says_what_to_do(fake_ray):
    ray = fake_ray(at=3)
    with pytest.raises(
        gk.errors.ResourcesError, match=r"node timed out.*`ray start --head`.*executor=\"inline\""
    ):
        ray_start.ensure_ray(None, chatty=False)
    assert (ray.starts, ray.ends) == (2, 2)


@pytest.mark.parametrize("is_own", [True, False])
def test_a_ray_that_is_gone_is_not_asked(fake_ray, nowhere, monkeypatch, is_own):
    """Ray itself would wait a minute, and then end the process."""
    ray = fake_ray(at=1)
    monkeypatch.setattr(ray, "is_initialized", lambda: True)
    monkeypatch.setattr(ray, "gcs_address", nowhere, raising=False)
    monkeypatch.setattr(ray, "nodes", lambda: pytest.fail("it is asked"), raising=False)
    if is_own:
        monkeypatch.setattr(ray_start, "_own", "here")
        ray_start.ensure_ray(None, chatty=False)
        assert (ray.starts, ray.ends) == (1, 1)
        return
    with pytest.raises(gk.errors.ResourcesError, match=r"any machine that is alive.*shutdown"):
        ray_start.ensure_ray(None, chatty=False)
    assert (ray.starts, ray.ends) == (0, 0)


def test_a_client_of_a_ray_asks_its_server(fake_ray, nowhere, monkeypatch):
    ray = fake_ray(at=1)
    monkeypatch.setattr(ray, "is_initialized", lambda: True)
    monkeypatch.setattr(ray, "gcs_address", nowhere, raising=False)
    monkeypatch.setattr(ray, "nodes", lambda: [machine("here", nowhere)], raising=False)
    monkeypatch.setattr(ray_start.client, "is_connected", lambda: True)
    ray_start.ensure_ray(None, chatty=False)
    assert (ray.starts, ray.ends) == (0, 0)


def machine(name, address):
    """What Ray says of one that it believes to be alive."""
    host, _, port = address.partition(":")
    return {"NodeID": name, "Alive": True, "NodeManagerAddress": host, "NodeManagerPort": port}


@pytest.mark.parametrize("is_listening", [True, False])
def test_the_machine_of_this_process_is_asked_itself(fake_ray, nowhere, monkeypatch, is_listening):
    """Ray may believe it to be alive for half a minute."""
    ray = fake_ray(at=1)
    monkeypatch.setattr(ray_start, "_own", "here")
    monkeypatch.setattr(ray, "is_initialized", lambda: True)
    with socket.create_server(("127.0.0.1", 0)) as server:
        somewhere = f"127.0.0.1:{server.getsockname()[1]}"
        machines = [
            machine("there", nowhere if is_listening else somewhere),
            machine("here", somewhere if is_listening else nowhere),
        ]
        monkeypatch.setattr(ray, "gcs_address", somewhere, raising=False)
        monkeypatch.setattr(ray, "nodes", lambda: machines, raising=False)
        ray_start.ensure_ray(None, chatty=False)
    assert (ray.starts, ray.ends) == ((0, 0) if is_listening else (1, 1))


def run(tmp_path, text, **variables):
    """Runs a user's script."""
    path = tmp_path / "script.py"
    path.write_text(textwrap.dedent(text))
    return subprocess.run(
        [sys.executable, str(path)],
        env=script_environment(**variables),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.mark.slow
def test_a_ray_that_cannot_start(tmp_path):
    done = run(
        tmp_path,
        """
        from glimr_keras.executors.ray_executor import RayExecutor
        RayExecutor({"cpu": 1}).prepare(None)
        """,
        RAY_TMPDIR=str(tmp_path / ("long" * 30)),  # too long for the names of sockets
    )
    assert "ResourcesError: Ray must start on this machine" in done.stderr
    assert "Received, 2 times: OSError: " in done.stderr


@pytest.mark.slow
def test_searches_go_on_with_another_ray_when_theirs_is_gone(tmp_path):
    """Ended by the user, and killed; with an array that is in the memory of the one before."""
    done = run(
        tmp_path,
        f"""
        import numpy as np
        import psutil
        import ray
        import glimr_keras as gk
        from tests import tiny_models

        x = np.repeat(tiny_models.X, 1000, axis=0)
        y = np.repeat(tiny_models.Y, 1000)
        assert x.nbytes > 2**21

        def search(name):
            place = dict(directory={str(tmp_path)!r}, project_name=name, executor="ray")
            tuner = gk.RayTuner(
                tiny_models.build, "val_loss", 2, max_concurrent_trials=2, **place
            )
            validation = tiny_models.VALIDATION
            tuner.search(
                x, y, validation_data=validation, epochs=1, steps_per_epoch=2, verbose=0
            )
            print(name, tuner.results_dataframe()["status"].tolist(), flush=True)

        search("first")
        ray.shutdown()
        search("second")
        for process in psutil.Process().children(recursive=True):
            if "raylet" in process.name():
                process.kill()
        search("third")
        """,
    )
    names = ("first", "second", "third")
    said = [line for line in done.stdout.splitlines() if line.startswith(names)]  # Ray says more
    assert said == [f"{name} ['COMPLETED', 'COMPLETED']" for name in names], done.stderr
