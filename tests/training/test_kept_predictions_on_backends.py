"""Predictions that are kept on other backends, and of a model on several devices."""

import subprocess
import sys
import textwrap

import pytest

from tests.script_environment import script_environment
from tests.training.test_backends import BACKENDS

pytestmark = pytest.mark.slow

PREPARED = """
import random
import sys
import keras
import numpy as np
import glimr_keras as gk
from tests import tiny_models

VX, VY = tiny_models.VALIDATION


class Draws(keras.layers.Layer):
    # Draws in inference too

    def __init__(self):
        super().__init__()
        self.seeds = keras.random.SeedGenerator(7)

    def call(self, inputs):
        return inputs + 0.1 * keras.random.normal((6,), seed=self.seeds)


class Batches(keras.utils.PyDataset):
    def __len__(self):
        return 4

    def __getitem__(self, index):
        part = slice(10 * index, 10 * index + 10)
        return VX[part] + np.random.random() * 0, VY[part]


def build(config):
    layers = [keras.layers.Dense(config.Int("units", 4, 8)), keras.layers.Dropout(0.3)]
    layers += [keras.layers.BatchNormalization(), keras.layers.Dense(2, "softmax")]
    if draws:
        layers.insert(0, Draws())
    model = keras.Sequential([keras.Input((6,)), *layers])
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


draws = False
ORDER = ["trial_id", "execution", "training_iteration"]


def searched(keep, executor, validation, **arguments):
    name = f"{keep}_{executor}_{type(validation).__name__}_{draws}"
    tuner = gk.RandomSearch(
        build, "val_loss", 1, executions_per_trial=2, seed=0, directory=sys.argv[1],
        project_name=name, executor=executor, keep_predictions=keep, max_concurrent_trials=1,
    )
    tuner.search(*tiny_models.TRAIN, validation_data=validation, epochs=3, verbose=0)
    table = gk.experiment_table(tuner).sort_values(ORDER).reset_index(drop=True)
    return tuner, table.drop(columns=["checkpoint_path", "reused_graph"], errors="ignore")


def check(executor, validation=(VX, VY)):
    # Whether results are the same as without, and predictions those of the epochs
    tuner, table = searched(True, executor, validation)
    _, wanted = searched(False, executor, validation)
    for (trial_id, execution), rows in table.groupby(["trial_id", "execution"]):
        found = tuner._glimr.predictions(trial_id, execution)
        chances = [found.at(epoch)[np.arange(32), found.labels] for epoch in found.epochs]
        losses = [-np.log(np.clip(each, 1e-7, 1)).mean() for each in chances]
        close = np.allclose(losses, rows["val_loss"], rtol=1e-4)
        if found.epochs != (1, 2, 3) or not (close or draws):
            return found.epochs, losses, rows["val_loss"].tolist()
    return table.equals(wanted)

if __name__ == "__main__":
"""

SEVERAL = """
    import tensorflow as tf

    (cpu,) = tf.config.list_physical_devices("CPU")
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    one = gk.RandomSearch
    gk.RandomSearch = lambda *args, **kwargs: one(
        *args, distribution_strategy=tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]), **kwargs
    )
    print(check("inline"))
    try:
        check("inline", Batches())
    except gk.errors.FatalError as error:
        print("spread over several devices" in str(error))
"""

SINGLE = """
    print(check("inline", Batches()), check("ray"))
    draws = True
    print(check("inline"))
"""


def run(tmp_path, body, **environment):
    """Runs a script, and returns what it prints."""
    script = tmp_path / "script.py"
    script.write_text(PREPARED + textwrap.indent(textwrap.dedent(body), "    "))
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path)],
        env=script_environment(**environment),
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    return done.stdout.splitlines(), done.stderr


@pytest.mark.parametrize("backend", BACKENDS)
def test_on_other_backends_all_is_the_same_to_the_bit(tmp_path, backend):
    found, errors = run(tmp_path, SINGLE, KERAS_BACKEND=backend)
    assert found == ["True True", "True"], errors


def test_a_model_on_several_devices_predicts_in_order(tmp_path):
    found, errors = run(tmp_path, SEVERAL)
    assert found == ["True", "True"], errors
