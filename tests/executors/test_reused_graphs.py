"""Searches in Ray workers, where equal graphs are traced once: the same tables with and without."""

import subprocess
import sys
import textwrap

import keras
import pandas as pd
import pytest

import glimr_keras as gk
from glimr_keras.results.stored_tables import project_of
from tests import tiny_models
from tests.script_environment import script_environment

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:ray.*")
FIT = {"epochs": 3, "batch_size": 16, "verbose": 0}
NOT_THE_SAME = ["duration", "started", "ended", "worker", "reused_graph", "checkpoint_path"]


def build(config):
    model = tiny_models.traced(tiny_models.build_normalized(config))
    model.optimizer.learning_rate = config.Choice("rate", [0.001, 0.01, 0.1])
    return model


def tables_of(directory, name, *data, callbacks=(), **kwargs):
    """The tables of a search, and what `fit` was given beside arrays."""
    fit = {key: kwargs.pop(key) for key in ("validation_data",) if key in kwargs}
    tuner = gk.GridSearch(
        build,
        "val_loss" if fit or "cv_folds" in kwargs else "loss",
        max_trials=3,
        seed=1,
        directory=directory,
        project_name=name,
        max_concurrent_trials=1,
        executor="ray",
        callbacks=list(callbacks),
        **kwargs,
    )
    tuner.search(*data, **fit, **FIT)
    return tuner.results_dataframe(), gk.experiment_table(tuner)


def without_what_differs(table):
    kept = table.drop(columns=NOT_THE_SAME, errors="ignore")
    return kept.sort_values(list(kept.columns[:3])).reset_index(drop=True)


@pytest.mark.parametrize(
    "kwargs",
    [
        {"validation_data": tiny_models.VALIDATION, "executions_per_trial": 2},
        {
            "cv_folds": 3,
            "callbacks": [keras.callbacks.EarlyStopping("val_loss", patience=1)],
        },
    ],
)
def test_the_tables_are_the_same_and_say_what_was_reused(local_ray, tmp_path, kwargs):
    results, epochs = tables_of(tmp_path, "with", *tiny_models.TRAIN, **kwargs)
    expected, of_each = tables_of(
        tmp_path, "without", *tiny_models.TRAIN, reuse_graphs=False, **kwargs
    )
    for found, wanted in ((results, expected), (epochs, of_each)):
        assert "reused_graph" not in wanted
        pd.testing.assert_frame_equal(
            without_what_differs(found), without_what_differs(wanted), check_exact=True
        )
    of_training = epochs.groupby(["trial_id", "execution"])["reused_graph"].agg(set)
    assert sum(used == {True} for used in of_training) == len(of_training) - 1
    assert results["reused_graph"].dtype == bool
    for table in (results, epochs):
        for trial in project_of(table).trials.values():
            assert "reused_graph" not in {*trial.values, *trial.metrics.metrics}


JAX = """
import sys
import keras
import numpy as np
import glimr_keras as gk

keras.utils.set_random_seed(0)
X = np.random.normal(size=(70, 4)).astype("float32")
Y = (X.sum(axis=1) > 0).astype("int32")


class Own(keras.layers.Dense):
    def call(self, inputs):
        return 2 * super().call(inputs)


def build(config):
    hidden = [keras.layers.Dense(3), keras.layers.BatchNormalization(), keras.layers.Dropout(0.2)]
    if config.Boolean("own"):
        hidden.append(Own(3))
    model = keras.Sequential([keras.Input((4,)), *hidden, keras.layers.Dense(1, "sigmoid")])
    rate = config.Choice("rate", [0.01, 0.1])
    model.compile(keras.optimizers.Adam(rate), "binary_crossentropy", metrics=["accuracy"])
    return model


if __name__ == "__main__":
    tables = []
    for reuse in (True, False):
        tuner = gk.GridSearch(
            build, "val_loss", executions_per_trial=2, directory=sys.argv[1], seed=0,
            project_name=str(reuse), reuse_graphs=reuse, executor="ray", max_concurrent_trials=1,
        )
        tuner.search(X[:50], Y[:50], validation_data=(X[50:], Y[50:]), epochs=2, verbose=0)
        tables.append(gk.experiment_table(tuner))
    (used, found), (_, wanted) = (
        (table.get("reused_graph"), table[["execution", "loss", "val_loss", "config/own"]])
        for table in tables
    )
    print(found.equals(wanted), set(used[~found["config/own"].astype(bool)][2:]))
    print(set(used[found["config/own"].astype(bool)]), tables[1].get("reused_graph"))
"""


@pytest.mark.slow
def test_on_jax_results_are_the_same_to_the_bit(tmp_path):
    pytest.importorskip("jax")
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(JAX))
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path)],
        env=script_environment(KERAS_BACKEND="jax"),
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.stdout.splitlines() == ["True {True}", "{False} None"], done.stderr


class OwnFit(gk.HyperModel):
    """Returns whether pipelines over arrays tune themselves in its own `fit`."""

    def build(self, config):
        return tiny_models.build(config)

    def fit(self, config, model, x, y, **kwargs):
        import tensorflow as tf
        from keras.src.backend.tensorflow.trainer import TFEpochIterator

        model.fit(x, y, **kwargs)
        epochs = TFEpochIterator(
            x=x, y=y, steps_per_execution=1, distribute_strategy=tf.distribute.get_strategy()
        )
        return {"loss": float(epochs._get_iterator().options().autotune.enabled is not False)}


@pytest.mark.parametrize("reuse_graphs", [True, False])
def test_a_fit_of_the_users_own_reads_arrays_as_lightly(local_ray, tmp_path, reuse_graphs):
    tuner = gk.RandomSearch(
        OwnFit(),
        gk.Objective("loss", "min"),
        max_trials=1,
        directory=tmp_path,
        executor="ray",
        reuse_graphs=reuse_graphs,
    )
    tuner.search(*tiny_models.TRAIN, **FIT)
    assert tuner.results_dataframe()["score"].tolist() == [float(not reuse_graphs)]
