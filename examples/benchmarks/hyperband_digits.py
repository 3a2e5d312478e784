"""One Hyperband search on digits, of keras_tuner or glimr_keras; writes down every epoch's time and
validation accuracy.

python hyperband_digits.py glimr_keras SEED DIRECTORY MAX_EPOCHS
"""

import json
import pathlib
import sys
import time

import keras
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split


class Recorder(keras.callbacks.Callback):
    """Appends a line for each epoch; one short line at a time, so processes may share the file."""

    def __init__(self, path, started):
        super().__init__()
        self.path, self.started = path, started

    def on_epoch_end(self, epoch, logs=None):
        with pathlib.Path(self.path).open("a") as file:
            file.write(json.dumps([time.time() - self.started, float(logs["val_accuracy"])]) + "\n")


def build(hp):
    model = keras.Sequential([keras.Input((64,))])
    for number in range(hp.Int("layers", 1, 3)):
        model.add(
            keras.layers.Dense(
                hp.Int(f"units_{number}", 8, 128, step=8),
                activation=hp.Choice("activation", ["relu", "tanh"]),
            )
        )
    model.add(keras.layers.Dropout(hp.Float("dropout", 0.0, 0.6)))
    model.add(keras.layers.Dense(10, activation="softmax"))
    rate = hp.Float("learning_rate", 1e-4, 1e-1, sampling="log")
    model.compile(
        keras.optimizers.Adam(rate), "sparse_categorical_crossentropy", metrics=["accuracy"]
    )
    return model


def main():
    library, seed, directory, max_epochs = (
        sys.argv[1],
        int(sys.argv[2]),
        sys.argv[3],
        int(sys.argv[4]),
    )
    if library == "glimr_keras":
        import glimr_keras as tuners
    else:
        import keras_tuner as tuners
    x, y = load_digits(return_X_y=True)
    x_train, x_valid, y_train, y_valid = train_test_split(
        (x / 16).astype("float32"), y, test_size=0.25, random_state=0, stratify=y
    )
    tuner = tuners.Hyperband(
        build, "val_accuracy", max_epochs=max_epochs, factor=3, seed=seed, directory=directory
    )
    recorder = Recorder(str(pathlib.Path(directory, "epochs.jsonl").absolute()), time.time())
    tuner.search(
        x_train, y_train, validation_data=(x_valid, y_valid), callbacks=[recorder], verbose=0
    )


if __name__ == "__main__":
    main()
