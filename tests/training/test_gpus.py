"""How much of a GPU's memory a process takes, with GPUs that are not there."""

import subprocess
import sys
import textwrap
import types

import pytest

from glimr_keras.training import gpus
from tests.script_environment import script_environment

GIB = 2**30


@pytest.fixture(autouse=True)
def forgotten():
    gpus._totals.cache_clear()
    yield
    gpus._totals.cache_clear()


@pytest.fixture
def nvidia_smi(monkeypatch):
    """A tool that lists GPUs of 80 and 40 GiB; returns what it was called with."""
    calls = []

    def run(command, **how):
        calls.append(command)
        chosen = command[command.index("-i") + 1] if "-i" in command else "0,1"
        sizes = {"0": "81920", "1": "40960"}
        lines = "\n".join(sizes[number] for number in chosen.split(","))
        return types.SimpleNamespace(stdout=f"{lines}\n")

    monkeypatch.setattr(gpus.subprocess, "run", run)
    return calls


@pytest.mark.parametrize(
    ("visible", "size"), [(None, 40 * GIB), ("0", 80 * GIB), ("1", 40 * GIB), ("", None)]
)
def test_the_size_is_that_of_the_smallest_of_its_own(nvidia_smi, monkeypatch, visible, size):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert gpus.total() == gpus.total() == size
    assert len(nvidia_smi) == (visible != "")  # asked once


@pytest.mark.parametrize(
    "error", [FileNotFoundError(), subprocess.TimeoutExpired("nvidia-smi", 30)], ids=repr
)
def test_without_the_tool_it_is_not_known(monkeypatch, error):
    def run(*command, **how):
        raise error

    monkeypatch.setattr(gpus.subprocess, "run", run)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    assert gpus.total() is None


class Config:
    """Of a TensorFlow that has two GPUs."""

    def __init__(self):
        self.experimental, self.forgotten = self, []

    def list_physical_devices(self, kind):
        return ["first", "second"]

    def list_logical_devices(self, kind):
        return [types.SimpleNamespace(name=f"/device:GPU:{number}") for number in range(2)]

    def get_memory_info(self, name):
        return {"peak": {"GPU:0": 5, "GPU:1": 7}[name]}

    def reset_memory_stats(self, name):
        self.forgotten.append(name)


@pytest.fixture
def tensorflow(monkeypatch):
    config = Config()
    monkeypatch.setitem(sys.modules, "tensorflow", types.SimpleNamespace(config=config))
    return config


def test_tensorflow_has_its_part():
    """In a process of its own, whose devices have not begun."""
    code = """
    from glimr_keras.training import gpus
    from tensorflow.python.eager import context

    gpus.bound_memory("tensorflow", 0.25)
    print(context.context().config.gpu_options.per_process_gpu_memory_fraction)
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    done = subprocess.run(
        command, env=script_environment(), capture_output=True, text=True, timeout=300, check=False
    )
    assert float(done.stdout) == pytest.approx(0.225), done.stderr


def test_a_whole_gpu_is_not_bounded():
    assert gpus.variables("jax", 1.0) == {}
    assert gpus.variables("tensorflow", 0.5) == {}


@pytest.mark.parametrize("name", ["XLA_PYTHON_CLIENT_MEM_FRACTION", "XLA_CLIENT_MEM_FRACTION"])
def test_a_bound_of_the_users_own_is_kept(monkeypatch, name):
    monkeypatch.setenv(name, "0.1")
    assert gpus.variables("jax", 0.25) == {}


def test_a_gpu_that_keras_does_not_see_is_said(tensorflow):
    assert gpus.missing("tensorflow") is None
    assert "Keras on numpy sees none in its process" in gpus.missing("numpy")


def test_the_most_that_tensorflow_took(tensorflow):
    assert gpus.count("tensorflow") == 2
    assert gpus.peak("tensorflow") == 7
    gpus.forget_peak("tensorflow")
    assert tensorflow.forgotten == ["GPU:0", "GPU:1"]


class Cuda:
    """Of a torch that has two GPUs."""

    def __init__(self):
        self.fractions, self.forgotten = {}, []

    def device_count(self):
        return 2

    def set_per_process_memory_fraction(self, fraction, gpu):
        self.fractions[gpu] = fraction

    def max_memory_allocated(self, gpu):
        return [3, 2][gpu]

    def reset_peak_memory_stats(self, gpu):
        self.forgotten.append(gpu)


def test_torch_has_its_part(monkeypatch):
    cuda = Cuda()
    monkeypatch.setitem(sys.modules, "torch", types.SimpleNamespace(cuda=cuda))
    gpus.bound_memory("torch", 0.5)
    assert cuda.fractions == {0: 0.45, 1: 0.45}
    assert (gpus.count("torch"), gpus.peak("torch")) == (2, 3)
    gpus.forget_peak("torch")
    assert cuda.forgotten == [0, 1]


@pytest.mark.parametrize(
    ("stats", "peak"), [({"peak_bytes_in_use": 9}, 9), (None, None), ({}, None)]
)
def test_jax_has_its_part_and_says_the_most_since_it_began(monkeypatch, stats, peak):
    assert gpus.variables("jax", 0.25) == {"XLA_PYTHON_CLIENT_MEM_FRACTION": "0.2250"}
    device = types.SimpleNamespace(platform="gpu", memory_stats=lambda: stats)
    jax = types.SimpleNamespace(local_devices=lambda: [device])
    monkeypatch.setitem(sys.modules, "jax", jax)
    assert (gpus.count("jax"), gpus.peak("jax")) == (1, peak)
    gpus.forget_peak("jax")


def test_what_has_no_gpus_took_nothing():
    assert gpus.peak("tensorflow") is None
    assert gpus.peak("numpy") is None
    assert gpus.count("numpy") == 0
