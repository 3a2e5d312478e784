"""`TuneReportCheckpoint` in a Ray Tune function of your own, with plain `model.fit`: it reports,
checkpoints and resumes.

    python examples/ray_callback.py

Every trial is interrupted once on purpose, and goes on from its last checkpoint: weights, optimizer
and epoch.
"""

import logging
import tempfile

import glimr_keras as gk
import keras
import ray
import sklearn.datasets
from ray import tune


def build(config):
    """A small classifier of 8 x 8 digits; in your own function, `config` is Ray's plain dict."""
    model = keras.Sequential(
        [
            keras.Input((64,)),
            keras.layers.Dense(config["units"], activation="relu"),
            keras.layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile(
        keras.optimizers.Adam(config["lr"]), "sparse_categorical_crossentropy", metrics=["accuracy"]
    )
    return model


class InterruptOnce(keras.callbacks.Callback):
    """Stands for a machine that is lost in the middle of a training."""

    def __init__(self, start):
        super().__init__()
        self.start = start

    def on_epoch_begin(self, epoch, logs=None):
        if self.start == 0 and epoch == 3:
            raise RuntimeError("interrupted")


def train(config):
    """What Ray Tune calls in a worker, and calls again after an interruption."""
    x, y = sklearn.datasets.load_digits(return_X_y=True)
    model = build(config)
    start = gk.TuneReportCheckpoint.restore(model)  # epochs done: 0 the first time
    model.fit(
        x / 16.0,
        y,
        validation_split=0.2,
        epochs=6,
        initial_epoch=start,
        verbose=0,
        callbacks=[
            gk.TuneReportCheckpoint({"accuracy": "val_accuracy"}, checkpoint=1),
            InterruptOnce(start),
        ],
    )


if __name__ == "__main__":
    ray.init(include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    with tempfile.TemporaryDirectory() as directory:
        tuner = tune.Tuner(
            train,
            param_space={"units": tune.grid_search([16, 64]), "lr": 0.003},
            tune_config=tune.TuneConfig(metric="accuracy", mode="max", reuse_actors=True),
            run_config=tune.RunConfig(
                storage_path=directory,
                name="digits",
                verbose=0,
                failure_config=tune.FailureConfig(max_failures=1),
            ),
        )
        results = tuner.fit()
        best = results.get_best_result()
        model = build(best.config)
        epochs = gk.TuneReportCheckpoint.restore(model, best.checkpoint)
        print(
            f"best units: {best.config['units']}, accuracy {best.metrics['accuracy']:.3f} after "
            f"{epochs} epochs"
        )
