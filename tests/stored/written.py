"""What wrote the files beside this module: a project, an experiment of `Search` that was
interrupted, and an ensemble.

They were written by the last version in which `glimr_keras` was one folder of modules, and are not
to be written again: they show that what users have stored still opens.

    python -c "from tests.stored import written; written.main()" DIRECTORY
"""

import pathlib
import shutil
import sys

import keras
import numpy as np
from ray import tune

import glimr_keras as gk

RNG = np.random.default_rng(0)
X = RNG.normal(size=(64, 6)).astype("float32")
Y = (X.sum(axis=1) > 0).astype("int32")


def mean_of(outputs):
    """An option of the space that is an object."""
    return keras.ops.mean(outputs, axis=-1)


def sum_of(outputs):
    """Another."""
    return keras.ops.sum(outputs, axis=-1)


SPACE = {
    "pooling": tune.choice([mean_of, sum_of]),
    "units": tune.qrandint(2, 16, 2),
    "dropout": tune.quniform(0.0, 0.5, 0.1),
    "scale": tune.randn(1.0, 0.1),
    "head": tune.choice([{"kind": "linear"}, {"kind": "hidden", "width": tune.randint(2, 8)}]),
}


class Model(gk.HyperModel):
    """Declared and define-by-run hyperparameters in one model."""

    def space(self):
        return SPACE

    def build(self, config):
        inputs = keras.Input((6,))
        hidden = keras.layers.Dense(config["units"], config.Choice("activation", ["relu", "tanh"]))(
            inputs
        )
        hidden = keras.layers.Dropout(config["dropout"])(hidden)
        if config["head"]["kind"] == "hidden":
            hidden = keras.layers.Dense(config["head"]["width"])(hidden)
        model = keras.Model(inputs, keras.layers.Dense(2, "softmax")(hidden))
        rate = config.Float("learning_rate", 1e-3, 1e-1, sampling="log")
        model.compile(
            keras.optimizers.Adam(rate), "sparse_categorical_crossentropy", metrics=["accuracy"]
        )
        return model


def tuner_of(directory):
    """The project's tuner; two trials with two folds each, of which it also has the weights."""
    return gk.RandomSearch(
        Model(),
        objective="val_accuracy",
        max_trials=2,
        seed=3,
        cv_folds=2,
        executor="inline",
        directory=directory,
        project_name="project",
    )


TASKS = {
    "tasks": {
        "label": {
            "units": 2,
            "activation": "softmax",
            "loss": {"name": "crossentropy", "loss": keras.losses.SparseCategoricalCrossentropy},
            "loss_weight": 1.0,
            "metrics": {"name": "accuracy", "metric": keras.metrics.SparseCategoricalAccuracy},
        }
    },
    "optimization": gk.optimization_space() | {"epochs": 2},
    "data": {"batch_size": tune.choice([16, 32])},
}


def builder(config):
    """glimr's builder."""
    inputs = keras.Input((6,))
    outputs = keras.layers.Dense(2, "softmax", name="label")(inputs)
    losses, weights = gk.keras_losses(config)
    return keras.Model(inputs, {"label": outputs}), losses, weights, gk.keras_metrics(config)


def loader(batch_size, draw):
    """glimr's loader; `draw` is a function of the package, as its arguments may be."""
    import tensorflow as tf

    assert callable(draw)
    parts = [(X[:48], Y[:48]), (X[48:], Y[48:])]
    return tuple(
        tf.data.Dataset.from_tensor_slices((x, {"label": y})).batch(batch_size) for x, y in parts
    )


class Never(tune.Stopper):
    """Stops nothing. (Ray's own stoppers are pickled with code of one version of Python.)"""

    def __call__(self, trial_id, result):
        return False

    def stop_all(self):
        return False


def main():
    """Writes all of it."""
    directory = pathlib.Path(sys.argv[1])
    tuner = tuner_of(directory)
    tuner.search(X, Y, epochs=2, verbose=0)
    models = tuner.get_best_models(1)
    together = gk.ensemble(models)
    together.save(directory / "ensemble.keras")
    np.savez(directory / "ensemble.npz", outputs=together.predict(X[:4], verbose=0))
    arguments = {"stopper": Never(), "loader_kwargs": {"draw": gk.sample_space}, "seed": 1}
    search = gk.Search(TASKS, builder, loader, metric="label_accuracy", **arguments)
    search.experiment(directory, "search", num_samples=2, max_concurrent_trials=1)
    journal = directory / "search" / ".glimr_keras" / "journal.jsonl"
    lines = journal.read_text().splitlines(keepends=True)
    second = next(number for number, line in enumerate(lines) if '"trial_id": "1"' in line)
    journal.write_text(
        "".join(lines[:second])
    )  # as if the script had been killed before the second trial
    shutil.rmtree(directory / "search" / "trial_1")
