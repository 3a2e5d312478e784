"""Tunes a small image classifier on scikit-learn's handwritten digits, and prints the best model's
test accuracy.

    python examples/quickstart.py

It takes about a minute on two cores: 20 trials, two at a time, on a Ray that starts by itself.
"""

import tempfile

import glimr_keras as gk
import keras
import sklearn.datasets
import sklearn.model_selection


def load_digits():
    """1,797 images of 8 x 8 pixels in [0, 1], split into training, validation and test parts."""
    digits = sklearn.datasets.load_digits()
    images = (digits.images / 16.0).astype("float32")[..., None]
    split = sklearn.model_selection.train_test_split
    images, test_images, labels, test_labels = split(
        images, digits.target, test_size=0.2, random_state=0
    )
    train, val, train_labels, val_labels = split(images, labels, test_size=0.2, random_state=0)
    return (train, train_labels), (val, val_labels), (test_images, test_labels)


class Digits(gk.HyperModel):
    """A convolutional network; `config` gives each hyperparameter where it is used."""

    def data(self, config):
        train, validation, _ = load_digits()
        return train, validation

    def build(self, config):
        activation = config.Choice("activation", ["relu", "gelu", "swish"])
        model = keras.Sequential([keras.Input((8, 8, 1))])
        for i in range(config.Int("conv_layers", 1, 2)):
            model.add(
                keras.layers.Conv2D(
                    config.Int(f"filters_{i}", 16, 48, step=16),
                    3,
                    padding="same",
                    activation=activation,
                )
            )
        model.add(keras.layers.MaxPooling2D())
        model.add(keras.layers.Flatten())
        model.add(keras.layers.Dense(config.Int("units", 32, 128, step=32), activation=activation))
        model.add(keras.layers.Dropout(config.Float("dropout", 0.0, 0.5)))
        model.add(keras.layers.Dense(10, activation="softmax"))
        model.compile(
            optimizer=keras.optimizers.Adam(
                config.Float("learning_rate", 3e-4, 1e-2, sampling="log")
            ),
            loss="sparse_categorical_crossentropy",
            metrics=["accuracy"],
        )
        return model

    def fit(self, config, model, *args, **kwargs):
        return model.fit(*args, batch_size=config.Choice("batch_size", [32, 64]), **kwargs)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as directory:
        tuner = gk.RayTuner(
            Digits(), objective="val_accuracy", max_trials=20, directory=directory, seed=1
        )
        tuner.search(epochs=12)

        tuner.results_summary(num_trials=3)
        table = tuner.results_dataframe().sort_values("score", ascending=False)
        columns = [
            "trial_id",
            "score",
            "best_epoch",
            "duration",
            "conv_layers",
            "units",
            "learning_rate",
        ]
        print(f"\n{table[columns].head(5).to_string(index=False)}\n")

        model = tuner.get_best_models()[0]
        _, _, (test_images, test_labels) = load_digits()
        accuracy = model.evaluate(test_images, test_labels, verbose=0, return_dict=True)["accuracy"]
        print(f"test accuracy: {accuracy:.4f}")
