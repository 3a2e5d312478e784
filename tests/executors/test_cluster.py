"""A search on several machines: as they come and go, and where they do not see each other's files.
Each is a Ray node here.
"""

import json
import subprocess
import sys
import textwrap

import numpy as np
import pytest

import glimr_keras as gk
from glimr_keras.project import predictions
from tests.script_environment import script_environment

pytestmark = pytest.mark.slow
PREPARED = """
import json, os, pathlib, signal, subprocess, sys, threading, time
import glimr_keras as gk
import keras
import ray
from ray.cluster_utils import Cluster
from tests import tiny_models

place = pathlib.Path({place!r})


class Noting(gk.HyperModel):
    # Writes down on which machine it trains

    def __init__(self, seconds):
        self.seconds = seconds

    def build(self, config):
        hidden = keras.layers.Dense(config.Int("units", 2, 30))
        layers = [keras.Input((6,)), hidden, keras.layers.Dense(2)]
        return tiny_models.compiled(keras.Sequential(layers))

    def fit(self, config, model, *args, callbacks, epochs, initial_epoch=0, **kwargs):
        node = ray.get_runtime_context().get_node_id()
        here = dict(node=node, pid=os.getpid(), at=time.time())
        note = dict(units=config["units"], began=initial_epoch, **here)
        if tiny_models.is_trial(callbacks):
            with (place / f"{{os.getpid()}}.jsonl").open("a") as file:
                file.write(json.dumps(note) + chr(10))
        logs = lambda epoch: {{"val_loss": config["units"] + abs(epoch - 2)}}
        tiny_models.train_by_hand(model, callbacks, epochs, logs, initial_epoch, self.seconds)


def notes():
    files = place.glob("*.jsonl")
    lines = [json.loads(line) for file in files for line in file.read_text().splitlines()]
    return sorted(lines, key=lambda line: line["at"])


def when(condition, action):
    # Does something from another thread as soon as there is reason to
    def wait():
        while not condition():
            time.sleep(0.1)
        action()

    threading.Thread(target=wait, daemon=True).start()


def search(tuner, epochs):
    validation = tiny_models.VALIDATION
    tuner.search(*tiny_models.TRAIN, validation_data=validation, epochs=epochs, verbose=0)
    print(json.dumps(notes()))


def machine(before=""):
    # Starts a machine with one CPU, and waits until it has joined
    known = {{node["NodeID"] for node in ray.nodes() if node["Alive"]}}
    start = (
        f"{{sys.executable}} -m ray.scripts.scripts start --block --num-cpus 1 --address "
        f"{{cluster.address}}"
    )
    command = f"{{before}} exec {{start}}"
    quiet = dict(stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    command = ["unshare", "-m", "sh", "-c", command] if before else command
    process = subprocess.Popen(command, shell=not before, start_new_session=True, **quiet)
    while True:
        new = {{node["NodeID"] for node in ray.nodes() if node["Alive"]}} - known
        if new:
            return new.pop(), process
        time.sleep(0.2)


def lose(process):
    os.killpg(process.pid, signal.SIGKILL)


cluster = Cluster(initialize_head=True, head_node_args={{"num_cpus": 0}})
settings = dict(directory=str(place / "runs"), project_name="project", address=cluster.address)
settings["state_interval_s"] = 0
"""


def run(tmp_path, ray_files, body):
    """Runs a script and returns what its trainings wrote down, and the table of its results."""
    path = tmp_path / "script.py"
    path.write_text(PREPARED.format(place=str(tmp_path)) + textwrap.dedent(body))
    done = subprocess.run(
        [sys.executable, str(path)],
        env=script_environment(ray_files),
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    table = gk.RayTuner.open(tmp_path / "runs" / "project").results_dataframe()
    return json.loads(done.stdout.splitlines()[-1]), table


def test_trials_of_a_machine_that_is_lost_move_and_one_that_joins_gets_work(tmp_path, ray_files):
    notes, table = run(
        tmp_path,
        ray_files,
        """
        ray.init(address=cluster.address, log_to_driver=False)
        machines = dict([machine(), machine()])

        def goes_and_comes():
            lose(machines[notes()[-1]["node"]])
            machines.update([machine()])

        when(lambda: len(notes()) >= 3, goes_and_comes)
        tuner = gk.RandomSearch(Noting(1.0), "val_loss", 11, seed=0, **settings)
        search(tuner, 4)
        for process in machines.values():
            lose(process)
        ray.shutdown()
        cluster.shutdown()
        """,
    )
    assert len(table) == 11
    assert set(table["status"]) == {"COMPLETED"}
    assert (table["epochs"] == 4).all()
    machines = list(dict.fromkeys(note["node"] for note in notes))
    assert len(machines) == 3
    assert len(notes) == 11 + 1  # one was begun twice
    assert table["score"].tolist() == table["units"].tolist()


def test_a_machine_that_does_not_see_the_project_sends_its_checkpoints(tmp_path, ray_files):
    hidden = tmp_path / "runs"
    hidden.mkdir()
    mounts = subprocess.run(
        ["unshare", "-m", "mount", "-t", "tmpfs", "tmpfs", hidden], capture_output=True, check=False
    )
    if mounts.returncode != 0:
        pytest.skip("file systems cannot be hidden from a process here")
    notes, table = run(
        tmp_path,
        ray_files,
        """
        ray.init(address=cluster.address, log_to_driver=False)
        _, other = machine(before=f"mount -t tmpfs tmpfs {place / 'runs'} &&")
        late = lambda: notes() and (time.time() - notes()[0]["at"] > 1.8)
        when(late, lambda: os.kill(notes()[0]["pid"], signal.SIGKILL))
        tuner = gk.RandomSearch(Noting(0.5), "val_loss", 3, seed=0, **settings)
        search(tuner, 5)
        lose(other)
        ray.shutdown()
        cluster.shutdown()
        """,
    )
    assert table["status"].tolist() == ["COMPLETED"] * 3
    again = [note for note in notes if note["began"] > 0]
    assert (
        len(again) == 1
    )  # it went on from its state, which had been sent to the driver and came back
    tuner = gk.RayTuner.open(tmp_path / "runs" / "project")
    saved = gk.default_checkpoints(gk.experiment_table(tuner))
    assert saved["training_iteration"].tolist() == [3] * 3
    assert not list(tmp_path.glob("runs/**/latest"))


def test_a_machine_that_does_not_see_the_project_sends_its_predictions(tmp_path, ray_files):
    hidden = tmp_path / "runs"
    hidden.mkdir()
    mounts = subprocess.run(
        ["unshare", "-m", "mount", "-t", "tmpfs", "tmpfs", hidden], capture_output=True, check=False
    )
    if mounts.returncode != 0:
        pytest.skip("file systems cannot be hidden from a process here")
    notes, table = run(
        tmp_path,
        ray_files,
        """
        class Training(Noting):
            def fit(self, config, model, *args, callbacks, initial_epoch=0, **kwargs):
                here = dict(node="", pid=os.getpid(), at=time.time(), began=initial_epoch)
                if tiny_models.is_trial(callbacks):
                    with (place / f"{os.getpid()}.jsonl").open("a") as file:
                        file.write(json.dumps(here) + chr(10))
                slowly = keras.callbacks.LambdaCallback(on_epoch_end=lambda *args: time.sleep(0.5))
                kwargs |= dict(callbacks=[*callbacks, slowly], initial_epoch=initial_epoch)
                return model.fit(*args, **kwargs)

            def build(self, config):
                hidden = keras.layers.Dense(config.Int("units", 2, 30))
                layers = [keras.Input((6,)), hidden, keras.layers.Dense(2, "softmax")]
                return tiny_models.compiled(keras.Sequential(layers))

        ray.init(address=cluster.address, log_to_driver=False)
        _, other = machine(before=f"mount -t tmpfs tmpfs {place / 'runs'} &&")
        late = lambda: notes() and (time.time() - notes()[0]["at"] > 2.5)
        when(late, lambda: os.kill(notes()[0]["pid"], signal.SIGKILL))
        settings["keep_predictions"] = True
        tuner = gk.RandomSearch(Training(0), "val_loss", 2, seed=0, **settings)
        search(tuner, 6)
        lose(other)
        ray.shutdown()
        cluster.shutdown()
        """,
    )
    assert table["status"].tolist() == ["COMPLETED"] * 2
    assert [note["began"] > 0 for note in notes].count(True) == 1
    epochs = gk.experiment_table(tmp_path / "runs" / "project")
    for trial_id, rows in epochs.groupby("trial_id"):
        found = predictions.read(hidden / "project" / f"trial_{trial_id}")
        assert found.epochs == tuple(rows["training_iteration"]) == (1, 2, 3, 4, 5, 6)
        chances = [found.at(epoch)[np.arange(32), found.labels] for epoch in found.epochs]
        losses = [-np.log(each).mean() for each in chances]
        assert losses == pytest.approx(rows["val_loss"].tolist(), rel=1e-4)
