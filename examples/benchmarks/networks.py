"""Trains a grid of small networks on scikit-learn's digits once, and writes their learning curves.

    python examples/benchmarks/networks.py

Needs scikit-learn. It takes about half an hour on two cores. The table is in the repository, so
this need not be run again.
"""

import gzip
import pathlib
import tempfile

import glimr_keras as gk
import keras
import numpy as np
from sklearn import datasets
from sklearn.model_selection import train_test_split

EPOCHS = 27
LIMIT = 100.0
STEPS = 21
"""So many steps run without a return to Python in between."""


class Digits(gk.HyperModel):
    """A network of equal layers."""

    objective = "val_loss"

    def __init__(self):
        x, y = datasets.load_digits(return_X_y=True)
        x_train, x_valid, y_train, y_valid = train_test_split(
            (x / 16).astype("float32"), y, test_size=0.25, random_state=0, stratify=y
        )
        self.train, self.valid = (x_train, y_train), (x_valid, y_valid)

    def build(self, config):
        model = keras.Sequential([keras.Input((64,))])
        units = config.Choice("units", [8, 16, 32, 64, 128])
        dropout = config.Choice("dropout", [0.0, 0.3])
        activation = config.Choice("activation", ["relu", "tanh"])
        for _ in range(config.Choice("layers", [1, 2, 3])):
            model.add(keras.layers.Dense(units, activation=activation))
            model.add(keras.layers.Dropout(dropout))
        model.add(keras.layers.Dense(10, activation="softmax"))
        kind = config.Choice("optimizer", ["adam", "sgd"])
        rate = config.Choice("learning_rate", [1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1])
        optimizer = keras.optimizers.get({"class_name": kind, "config": {"learning_rate": rate}})
        loss = "sparse_categorical_crossentropy"
        model.compile(optimizer, loss, jit_compile=False, steps_per_execution=STEPS)
        return model


def main():
    hypermodel = Digits()
    with tempfile.TemporaryDirectory() as directory:
        tuner = gk.GridSearch(hypermodel, "val_loss", directory=directory, keep_top_k=1)
        tuner.search(
            *hypermodel.train,
            validation_data=hypermodel.valid,
            batch_size=32,
            epochs=EPOCHS,
            verbose=1,
        )
        epochs = gk.experiment_table(tuner)
    named = [column for column in epochs if column.startswith("config/")]
    searched = [column for column in named if epochs[column].nunique() > 1]
    curves = epochs.pivot(index=searched, columns="training_iteration", values="val_loss")
    finite = curves.where(np.isfinite(curves))
    curves = finite.fillna(finite.max(axis=None)).clip(upper=LIMIT)  # trainings that diverged
    curves.index.names = [column.removeprefix("config/") for column in searched]
    path = pathlib.Path(__file__).parent / "digits.csv.gz"
    with gzip.GzipFile(path, "wb", mtime=0) as file:
        file.write(curves.sort_index().round(4).reset_index().to_csv(index=False).encode())


if __name__ == "__main__":
    main()
