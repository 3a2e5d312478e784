"""`EarlyStopping`, `ModelCheckpoint`, `CSVLogger`, `ReduceLROnPlateau` and `TerminateOnNaN`, given
to `search`.
"""

import os

import numpy as np
from keras_tuner import Hyperband, RandomSearch
from tensorflow import keras

x, y = np.random.rand(64, 2), np.zeros(64)


def build_model(hp):
    model = keras.Sequential(
        [keras.layers.Dense(1, kernel_initializer="zeros", use_bias=hp.Boolean("bias"))]
    )
    model.compile(
        keras.optimizers.SGD(hp.Float("lr", 1e-3, 1e-1, sampling="log")), loss="mse"
    )  # there is nothing to learn
    return model


def main(directory, **tuner_options):
    stop_early = keras.callbacks.EarlyStopping(
        monitor="val_loss", patience=2, restore_best_weights=True
    )
    checkpoint = keras.callbacks.ModelCheckpoint(
        os.path.join(directory, "{epoch:02d}.keras"), save_freq="epoch"
    )
    log = keras.callbacks.CSVLogger(os.path.join(directory, "log.csv"))
    tuner = RandomSearch(
        build_model,
        objective="val_loss",
        max_trials=1,
        directory=directory,
        project_name="callbacks",
        **tuner_options,
    )
    tuner.search(
        x,
        y,
        epochs=10,
        validation_data=(x, y),
        callbacks=[
            stop_early,
            checkpoint,
            log,
            keras.callbacks.ReduceLROnPlateau(patience=1),
            keras.callbacks.TerminateOnNaN(),
        ],
    )
    with open(os.path.join(directory, "log.csv")) as file:
        header = file.readline().strip().split(",")
        epochs = [line.split(",")[0] for line in file]
    band = Hyperband(
        build_model,
        "val_loss",
        max_epochs=2,
        factor=2,
        directory=directory,
        project_name="stopped",
        **tuner_options,
    )
    band.search(x, y, validation_data=(x, y), callbacks=[stop_early], verbose=0)
    return {
        "statuses": sorted(
            {
                trial.status
                for trial in [*tuner.oracle.trials.values(), *band.oracle.trials.values()]
            }
        ),
        "scores": [trial.score for trial in tuner.oracle.trials.values()],
        "checkpoints": sorted(
            name for _, _, files in os.walk(directory) for name in files if name.endswith(".keras")
        ),
        "header": [name for name in header if name != "learning_rate"],
        "epochs": epochs,
        "the given callbacks are not used themselves": [
            stop_early.stopped_epoch,
            getattr(stop_early, "model", None) is None,
        ],
    }
