"""One model on several devices of a process, which are made of the CPU."""

import subprocess
import sys
import textwrap

import pytest

from tests.script_environment import script_environment

SCRIPT = """
import sys
import tempfile
import numpy as np
import tensorflow as tf

(cpu,) = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)

import glimr_keras as gk
from glimr_keras.models import compile_overrides
from glimr_keras.models.compile_overrides import CompileOverrides
from tests import tiny_models

# In the place of a process with two GPUs
two = lambda: tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
compile_overrides._over_all_gpus = two
of = CompileOverrides.of.__func__
spread = lambda kind, tuner: of(kind, tuner).over_all_gpus()


class Model(gk.HyperModel):
    def build(self, config):
        return tiny_models.traced(tiny_models.build(config))

    def fit(self, config, model, *args, **kwargs):
        strategy = model._distribute_strategy
        config.Fixed("devices", 1 if strategy is None else strategy.num_replicas_in_sync)
        return model.fit(*args, batch_size=16, **kwargs)


def searched():
    place = dict(directory=tempfile.mkdtemp(), project_name="p", executor="inline", seed=0)
    tuner = gk.Hyperband(Model(), "val_loss", max_epochs=4, factor=2, **place)
    tuner.search(*tiny_models.TRAIN, validation_data=tiny_models.VALIDATION, verbose=0)
    table = tuner.results_dataframe()
    CompileOverrides.of = classmethod(of)  # the script's process has one device
    best = tuner.get_best_models()[0]
    loss = best.evaluate(*tiny_models.VALIDATION, verbose=0, return_dict=True)["loss"]
    assert abs(loss - table["score"].min()) < 1e-5
    return table


alone = searched()
CompileOverrides.of = classmethod(spread)
both = searched()
print(set(alone["devices"]), set(both["devices"]), set(both["status"]), (both["epochs"] > 2).any())
print(np.allclose(alone["score"], both["score"], rtol=1e-3))
"""


@pytest.mark.slow
def test_promoted_trainings_go_on_over_two_devices_with_the_same_results(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(SCRIPT))
    done = subprocess.run(
        [sys.executable, str(script)],
        env=script_environment(),
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.stdout.splitlines() == ["{1} {2} {'COMPLETED'} True", "True"], done.stderr
