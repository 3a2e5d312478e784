"""One search in several trackers at once, each with a run for every trial: MLflow, Weights & Biases
(offline: nothing leaves this machine), TensorBoard with its tab of hyperparameters, and CSV files.

    python examples/trackers.py            # in ./tracked
    python examples/trackers.py DIRECTORY

Those that are not installed are left out: `pip install mlflow wandb tensorboard`. Running it again
adds trials to the same search, and runs to the same places.
"""

import contextlib
import importlib.util
import pathlib
import sys

import glimr_keras as gk
import keras
import sklearn.datasets
from ray.tune.logger import CSVLoggerCallback

TRIALS = 4


class Digits(gk.HyperModel):
    """A small classifier of 8 x 8 digits."""

    def data(self, config):
        images, labels = sklearn.datasets.load_digits(return_X_y=True)
        images = (images / 16).astype("float32")
        return (images[:1300], labels[:1300]), (images[1300:], labels[1300:])

    def build(self, config):
        units = config.Int("units", 16, 128, step=16)
        rate = config.Float("learning_rate", 1e-4, 1e-1, sampling="log")
        model = keras.Sequential(
            [
                keras.Input((64,)),
                keras.layers.Dense(units, activation=config.Choice("activation", ["relu", "gelu"])),
                keras.layers.Dense(10, activation="softmax"),
            ]
        )
        model.compile(
            keras.optimizers.Adam(rate), "sparse_categorical_crossentropy", metrics=["accuracy"]
        )
        return model


@contextlib.contextmanager
def mlflow_in(directory):
    """The script's own run, below which MLflow shows those of the trials."""
    import mlflow

    mlflow.set_tracking_uri(f"sqlite:///{directory / 'mlflow.db'}")
    if mlflow.get_experiment_by_name("digits") is None:
        mlflow.create_experiment("digits", (directory / "mlflow-files").as_uri())
    mlflow.set_experiment("digits")
    with mlflow.start_run(run_name="search"):
        yield mlflow.keras.MlflowCallback()
    runs = mlflow.search_runs(filter_string="tags.trial_id != ''", order_by=["metrics.val_loss"])
    shown = ["tags.trial_id", "status", "params.units", "params.learning_rate", "metrics.val_loss"]
    print(f"\nIn MLflow:\n{runs[shown].to_string(index=False)}")
    print(f"To look: mlflow ui --backend-store-uri {mlflow.get_tracking_uri()}")


@contextlib.contextmanager
def wandb_in(directory):
    """The script's own run, which W&B's callbacks need; those of the trials are in its project."""
    import wandb
    from wandb.integration.keras import WandbMetricsLogger

    run = wandb.init(
        project="digits",
        mode="offline",
        dir=directory,
        job_type="search",
        settings=wandb.Settings(silent=True),
    )
    with run:
        yield WandbMetricsLogger()
    runs = sorted(path.name for path in (directory / "wandb").glob("offline-run-*"))
    print(f"\nIn W&B: {len(runs)} runs, the last of which is {runs[-1]}")
    print(f"To send them: wandb sync {directory / 'wandb'}/offline-run-*")


@contextlib.contextmanager
def tensorboard_in(directory):
    """Keras' own callback: each trial has a directory, and its hyperparameters beside it."""
    logs = directory / "tensorboard"
    yield keras.callbacks.TensorBoard(logs)
    print(f"\nIn TensorBoard: {len(list(logs.glob('*/execution*')))} runs")
    print(f"To look: tensorboard --logdir {logs}")


def main(directory):
    """Search, and say where to look."""
    directory = pathlib.Path(directory).absolute()
    directory.mkdir(parents=True, exist_ok=True)
    trackers = {"mlflow": mlflow_in, "wandb": wandb_in, "tensorboard": tensorboard_in}
    there = [name for name in trackers if importlib.util.find_spec(name) is not None]
    there = [name for name in there if name != "wandb" or importlib.util.find_spec("tensorflow")]
    with contextlib.ExitStack() as tracking:
        callbacks = [tracking.enter_context(trackers[name](directory)) for name in there]
        done = len(list((directory / "digits").glob("trial_*")))
        tuner = gk.RandomSearch(
            Digits(),
            "val_loss",
            max_trials=done + TRIALS,
            directory=directory,
            project_name="digits",
            callbacks=[*callbacks, CSVLoggerCallback()],  # Ray's loggers may be beside Keras' own
        )
        tuner.search(epochs=5)
    print(f"\nAs CSV files: {directory / 'digits'}/trial_*/progress.csv")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "tracked")
