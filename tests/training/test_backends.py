"""A search on another Keras backend, without TensorFlow."""

import importlib.util
import subprocess
import sys
import textwrap

import pytest

from tests.script_environment import ROOT, script_environment

SCRIPT = """
import sys
import glimr_keras as gk
import keras
from tests import tiny_models

class Model(gk.HyperModel):
    def build(self, config):
        return tiny_models.build_normalized(config)

    def fit(self, config, model, *args, **kwargs):
        history = model.fit(*args, **kwargs)
        config.Fixed("tensorflow", "tensorflow" in sys.modules)
        config.Fixed("backend", keras.backend.backend())
        return history

if __name__ == "__main__":
    tuner = gk.RayTuner(Model(), "val_loss", 2, directory=sys.argv[1], seed=0, executor=sys.argv[2])
    tuner.search(*tiny_models.TRAIN, validation_data=tiny_models.VALIDATION, epochs=2, verbose=0)
    table = tuner.results_dataframe()
    best = tuner.get_best_models()[0]
    loss = best.evaluate(*tiny_models.VALIDATION, verbose=0, return_dict=True)["loss"]
    found = [set(table[name]) for name in ("status", "backend", "tensorflow")]
    print(*found, "tensorflow" in sys.modules)
    print(abs(loss - table["score"].min()) < 1e-6)
"""

SHARED = """
import numpy as np
from jax import numpy as jnp
from tests.transport.test_array_kinds import LARGE, sent

values = jnp.arange(LARGE // 4, dtype="float32")
arrived, inside, apart = sent(values)
print(type(arrived) is type(values), bool((arrived == values).all()), inside < LARGE / 10)
print(apart == LARGE)
"""


PARALLEL = """
import keras
import numpy as np
from glimr_keras.models.build import build
from glimr_keras.models.compile_overrides import CompileOverrides
from glimr_keras.models.hypermodel import as_hypermodel
from glimr_keras.space.hyperparameters import HyperParameters
from glimr_keras.training.keras_session import Session
from tests import tiny_models

def traced(config):
    return tiny_models.traced(tiny_models.build(config))

def losses(overrides):
    with session.fresh(7):
        model = build(as_hypermodel(traced), HyperParameters(), overrides)
        distribution = keras.distribution.distribution()
        devices = None if distribution is None else distribution.device_mesh.shape
        return devices, model.fit(*tiny_models.TRAIN, batch_size=16, verbose=0).history["loss"]

session = Session.current()
one, (two, same), again = [
    losses(each)
    for each in (CompileOverrides(), CompileOverrides().over_all_gpus(), CompileOverrides())
]
print(one == again, one[0] is None, two == (2,), np.allclose(one[1], same, rtol=1e-4))
"""

# Python runs it first in each process, in which TensorFlow then is not installed
WITHOUT_TENSORFLOW = """
from importlib.machinery import PathFinder

find = PathFinder.find_spec


def find_spec(kind, name, path=None, target=None):
    return None if name.partition(".")[0] == "tensorflow" else find(name, path, target)


PathFinder.find_spec = classmethod(find_spec)
"""

pytestmark = pytest.mark.slow


def needs(backend):
    """Skips a test where a backend is not installed."""
    is_missing = importlib.util.find_spec(backend) is None
    return pytest.mark.skipif(is_missing, reason=f"{backend} is not installed")


BACKENDS = [pytest.param(backend, marks=needs(backend)) for backend in ("jax", "torch")]


@needs("jax")
def test_arrays_of_jax_are_shared():
    """In a process of its own: one with JAX in it warns of each fork."""
    command = [sys.executable, "-c", SHARED]
    done = subprocess.run(
        command, env=script_environment(), capture_output=True, text=True, timeout=600, check=False
    )
    assert done.stdout.split() == ["True"] * 4, done.stderr


@needs("jax")
def test_jax_trains_one_model_on_all_devices_of_a_process():
    """Two that are made of the CPU; each batch is spread over them."""
    flags = "--xla_force_host_platform_device_count=2"
    environment = script_environment(KERAS_BACKEND="jax", XLA_FLAGS=flags)
    command = [sys.executable, "-c", PARALLEL]
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.stdout.split() == ["True"] * 4, done.stderr


@pytest.mark.parametrize("executor", ["ray", "inline"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_search_runs_where_tensorflow_is_not_installed(tmp_path, backend, executor):
    (tmp_path / "sitecustomize.py").write_text(WITHOUT_TENSORFLOW)
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(SCRIPT))
    environment = script_environment(KERAS_BACKEND=backend)
    environment["PYTHONPATH"] = f"{tmp_path}:{ROOT}"
    command = [sys.executable, str(script), str(tmp_path), executor]
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=600, check=False
    )
    said = ["{'COMPLETED'} {'" + backend + "'} {False} False", "True"]
    assert done.stdout.splitlines() == said, done.stderr
