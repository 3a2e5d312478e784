"""What trials see of GPUs. Ray is told of some that are not there, and gives them out."""

import importlib.util
import itertools
import json
import subprocess
import sys
import textwrap

import pytest

import glimr_keras as gk
from tests.script_environment import ROOT, script_environment

pytestmark = pytest.mark.slow

# Python runs it first in each process, which remembers the environment in which a library is
# imported
SITE = """
import os
import sys


class Finder:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name in ("keras", "tensorflow", "jax"):
            sys.__dict__.setdefault("imported_in", {}).setdefault(name, dict(os.environ))


sys.meta_path.insert(0, Finder)
"""

PREPARED = """
import json, os, pathlib, sys, time
import glimr_keras as gk
import keras
import ray
from tests import tiny_models

place = pathlib.Path({place!r})
BACKEND = keras.backend.backend()


class Tells(gk.HyperModel):
    # Writes down what there is in the process, and when it trains. Trials wait for as many
    # processes as there are to be

    def __init__(self, at_once):
        self.at_once = at_once

    def wait(self):
        (place / f"{{os.getpid()}}.begun").touch()
        until = time.monotonic() + 60
        while len(list(place.glob("*.begun"))) < self.at_once and time.monotonic() < until:
            time.sleep(0.05)

    def build(self, config):
        return tiny_models.build(config)

    def fit(self, config, model, *args, callbacks, **kwargs):
        note = dict(ids=sorted(map(int, ray.get_gpu_ids())), pid=os.getpid(), began=time.time())
        note["node"] = ray.get_runtime_context().get_node_id()
        names = ("CUDA_VISIBLE_DEVICES", "XLA_PYTHON_CLIENT_MEM_FRACTION", "KERAS_BACKEND")
        for name in names:
            note[name] = os.environ.get(name)
        for library in ("keras", BACKEND):
            before = sys.imported_in[library]
            assert all(before.get(name) == note[name] for name in names), (library, before, note)
        if BACKEND == "tensorflow":
            import tensorflow as tf
            note["threads"] = tf.config.threading.get_intra_op_parallelism_threads()
        if tiny_models.is_trial(callbacks):
            self.wait()
        history = model.fit(*args, callbacks=callbacks, **kwargs)
        if tiny_models.is_trial(callbacks):
            time.sleep(0.3)
            note["ended"] = time.time()
            with (place / f"{{os.getpid()}}.jsonl").open("a") as file:
                file.write(json.dumps(note) + chr(10))
        return history


class Measured(Tells):
    # On GPUs of 80 GiB, of which each trial takes 30. When the first one has ended, trials wait for
    # the two processes that then share the GPU

    def wait(self):
        self.at_once = 3 if any(place.glob("*.jsonl")) else 1
        super().wait()

    def build(self, config):
        from glimr_keras.training import gpus
        gpus.peak, gpus.total = lambda backend: 30 * 2**30, lambda: 80 * 2**30
        return super().build(config)


class Lacks(Tells):
    # Has no room beside others

    def fit(self, config, model, *args, callbacks, **kwargs):
        share = ray.get_runtime_context().get_assigned_resources()["GPU"]
        if tiny_models.is_trial(callbacks) and share < 1:
            raise MemoryError
        return super().fit(config, model, *args, callbacks=callbacks, **kwargs)


def search(name, max_trials, at_once=1, hypermodel=Tells, **settings):
    # Searches, and prints what trials wrote down
    settings |= dict(directory=str(place / "runs"), project_name=name, seed=0)
    tuner = gk.RandomSearch(hypermodel(at_once), "val_loss", max_trials, **settings)
    data = dict(validation_data=tiny_models.VALIDATION, epochs=1)
    tuner.search(*tiny_models.TRAIN, **data)
    assert set(tuner.results_dataframe()["status"]) == {{"COMPLETED"}}
    notes = []
    for file in place.glob("*.jsonl"):
        notes += [json.loads(line) for line in file.read_text().splitlines()]
        file.unlink()
    for file in place.glob("*.begun"):
        file.unlink()
    print("NOTES", json.dumps(notes), flush=True)


if BACKEND == "tensorflow":
    from tensorflow.python.eager import context
    has_devices = lambda: bool(context.context_safe() and context.context()._context_handle)
else:
    from jax._src import xla_bridge
    has_devices = xla_bridge.backends_are_initialized
"""


def run(tmp_path, ray_files, body, **variables):
    """Runs a script. Returns what it printed beside the notes of each search, and these."""
    (tmp_path / "sitecustomize.py").write_text(SITE)
    path = tmp_path / "script.py"
    path.write_text(PREPARED.format(place=str(tmp_path)) + textwrap.dedent(body))
    environment = script_environment(ray_files, **variables)
    environment["PYTHONPATH"] = f"{tmp_path}:{ROOT}"
    done = subprocess.run(
        [sys.executable, str(path)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    notes = [json.loads(line.removeprefix("NOTES ")) for line in lines if line.startswith("NOTES ")]
    return [line for line in lines if not line.startswith("NOTES ")], notes


def most_at_once(notes):
    """How many of them there were at one time."""
    ends = sorted([(each["began"], 1) for each in notes] + [(each["ended"], -1) for each in notes])
    return max(itertools.accumulate(change for _, change in ends))


def test_each_trial_has_its_share_and_no_other(tmp_path, ray_files):
    said, (whole, none, shared, both) = run(
        tmp_path,
        ray_files,
        """
        ray.init(num_cpus=8, num_gpus=2, include_dashboard=False, log_to_driver=False)
        search("whole", 4, at_once=2)
        search("none", 4, at_once=2, resources_per_trial={"cpu": 2}, max_concurrent_trials=2)
        shared = dict(trials_per_gpu=2, resources_per_trial={"cpu": 1}, max_concurrent_trials=3)
        search("shared", 6, at_once=3, **shared)
        search("both", 2, resources_per_trial={"gpu": 2})
        print("devices", has_devices())
        """,
    )
    text = "\n".join(said)
    for line in (
        "2 trials at a time, each with 1 GPU and 4 CPUs.",
        "2 trials at a time, each with 2 CPUs.",
        "3 trials at a time, each with 1/2 of a GPU and 1 CPU.",
        "1 trial at a time, with 2 GPUs and 8 CPUs.",
    ):
        assert line in text
    # Nothing of TensorFlow's was begun in the driver, which would take a part of each GPU
    assert said[-1] == "devices False"
    assert {tuple(note["ids"]) for note in whole} == {(0,), (1,)}
    assert all(note["CUDA_VISIBLE_DEVICES"] == str(note["ids"][0]) for note in whole)
    assert len({note["pid"] for note in whole}) == 2
    assert {note["threads"] for note in whole} == {4}
    assert most_at_once(whole) == 2
    assert {(tuple(note["ids"]), note["CUDA_VISIBLE_DEVICES"]) for note in none} == {((), "")}
    assert {note["threads"] for note in none} == {2}
    assert {tuple(note["ids"]) for note in shared} == {(0,), (1,)}
    assert most_at_once(shared) == 3
    assert {tuple(note["ids"]) for note in both} == {(0, 1)}
    assert {note["CUDA_VISIBLE_DEVICES"] for note in both} == {"0,1"}


def test_what_the_first_trials_take_says_how_many_share_a_gpu(tmp_path, ray_files):
    said, (packed, whole, alone) = run(
        tmp_path,
        ray_files,
        """
        ray.init(num_cpus=4, num_gpus=1, include_dashboard=False, log_to_driver=False)
        search("packed", 5, 1, Measured, trials_per_gpu="auto")
        search("whole", 1, 1, Measured)
        search("alone", 2, 1, Lacks, trials_per_gpu=2)
        """,
    )
    text = "\n".join(said)
    for line in (
        "1 trial at a time, with 1 GPU and 4 CPUs.",
        "2 trials fit on a GPU: now 2 trials at a time, each with 1/2 of a GPU and 2 CPUs.",
        "Each trial took at most 30.0 of the 80 GiB of its GPU: `trials_per_gpu=2`",
    ):
        assert line in text
    assert len(packed) == 5
    assert most_at_once(packed) == 2
    assert len({note["pid"] for note in packed}) == 3  # one measured, two share the GPU
    assert most_at_once(whole) == 1
    assert len(alone) == 2
    assert most_at_once(alone) == 1
    results = gk.RayTuner.open(tmp_path / "runs" / "packed").results_dataframe()
    assert list(results["gpu_memory"]) == [30 * 2**30] * 5
    journal = (tmp_path / "runs" / "alone" / ".glimr_keras" / "journal.jsonl").read_text()
    assert journal.count('"record": "retry"') == 2


@pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="jax is not installed")
def test_jax_is_told_its_part_of_the_memory_before_it_is_imported(tmp_path, ray_files):
    said, (shared,) = run(
        tmp_path,
        ray_files,
        """
        ray.init(num_cpus=2, num_gpus=1, include_dashboard=False, log_to_driver=False)
        search("shared", 2, at_once=2, trials_per_gpu=2)
        print("devices", has_devices())
        """,
        KERAS_BACKEND="jax",
    )
    assert {note["XLA_PYTHON_CLIENT_MEM_FRACTION"] for note in shared} == {"0.4500"}
    assert said[-1] == "devices False"  # nothing of JAX's was begun in the driver


def test_on_a_mixed_cluster_trials_are_where_the_gpus_are(tmp_path, ray_files):
    said, (notes,) = run(
        tmp_path,
        ray_files,
        """
        from ray.cluster_utils import Cluster
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 4})
        there = cluster.add_node(num_cpus=4, num_gpus=2)
        print(there.node_id)
        search("mixed", 3, at_once=2, address=cluster.address)
        ray.shutdown()
        cluster.shutdown()
        """,
    )
    assert "2 trials at a time, each with 1 GPU and 2 CPUs." in "\n".join(said)
    assert {note["node"] for note in notes} == {said[0]}
    assert {tuple(note["ids"]) for note in notes} == {(0,), (1,)}
