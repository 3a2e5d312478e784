"""What is awkward to tune elsewhere: batch size, epochs, augmentation, the length of a window, the
choice of columns.
"""

import keras
import numpy as np

import glimr_keras as gk
from tests import tiny_models


def searched(project, hypermodel, max_trials=6, **options):
    return gk.RandomSearch(
        hypermodel,
        "val_loss",
        max_trials=max_trials,
        seed=1,
        executor="inline",
        **project,
        **options,
    )


class Records(keras.callbacks.Callback):
    """Keeps what each training did."""

    seen: list = []  # noqa: RUF012  # shared by the copies that trials get

    def on_train_begin(self, logs=None):
        Records.seen.append(self.params | {"inputs": self.model.inputs[0].shape[1:]})


def test_batch_size_and_epochs_are_ordinary_hyperparameters(project):
    class Model(gk.HyperModel):
        def build(self, config):
            return tiny_models.build(config)

        def fit(self, config, model, *args, **kwargs):
            size, epochs = config.Choice("batch_size", [8, 16]), config.Int("epochs", 1, 3)
            return model.fit(*args, **kwargs | {"batch_size": size, "epochs": epochs})

    Records.seen.clear()
    tuner = searched(project, Model())
    tuner.search(
        *tiny_models.TRAIN, validation_data=tiny_models.VALIDATION, callbacks=[Records()], verbose=0
    )
    table = tuner.results_dataframe().sort_values("trial_id")
    assert [64 // size for size in table["batch_size"]] == [seen["steps"] for seen in Records.seen]
    assert list(table["epochs"]) == [
        seen["epochs"] for seen in Records.seen
    ]  # the column of what was trained
    assert list(table["hyperparameters/epochs"]) == list(table["epochs"])


def test_augmentation_is_drawn_in_the_pipeline_of_a_trial(project):
    images = np.random.default_rng(0).random((32, 8, 8, 1)).astype("float32")
    labels = (images.mean(axis=(1, 2, 3)) > 0.5).astype("int32")

    class Model(gk.HyperModel):
        def data(self, config):
            import tensorflow as tf

            train = tf.data.Dataset.from_tensor_slices((images, labels)).batch(
                config.Choice("batch_size", [8, 16])
            )
            if config.Boolean("flip"):
                flip = keras.layers.RandomFlip(
                    config.Choice("flip_mode", ["horizontal", "vertical"]), seed=1
                )
                train = train.map(lambda image, label: (flip(image, training=True), label))
            return train, (images, labels)

        def build(self, config):
            layers = [
                keras.Input((8, 8, 1)),
                keras.layers.Flatten(),
                keras.layers.Dense(2, "softmax"),
            ]
            return tiny_models.compiled(keras.Sequential(layers))

    tuner = searched(project, Model())
    tuner.search(epochs=1, verbose=0)
    table = tuner.results_dataframe()
    assert (table["status"] == "COMPLETED").all()
    assert set(table["flip"]) == {True, False}
    assert (table["flip_mode"].notna() == table["flip"]).all()


def test_the_length_of_an_input_window_shapes_data_and_model(project):
    series = np.sin(np.arange(200) / 5).astype("float32")

    class Model(gk.HyperModel):
        def data(self, config):
            length = config.Int("window", 4, 16, step=4)
            windows = np.lib.stride_tricks.sliding_window_view(series, length + 1).copy()
            return (windows[:150, :-1], windows[:150, -1]), (windows[150:, :-1], windows[150:, -1])

        def build(self, config):
            model = keras.Sequential([keras.Input((config["window"],)), keras.layers.Dense(1)])
            model.compile("adam", "mse")
            return model

    Records.seen.clear()
    tuner = searched(project, Model(), max_trials=4)
    tuner.search(epochs=1, callbacks=[Records()], verbose=0)
    table = tuner.results_dataframe().sort_values("trial_id")
    assert [(length,) for length in table["window"]] == [seen["inputs"] for seen in Records.seen]
    assert tuner.get_best_models()[0].inputs[0].shape[1] in (4, 8, 12, 16)


def test_columns_of_the_data_are_chosen(project):
    class Model(gk.HyperModel):
        def columns(self, config):
            return [
                number for number in range(6) if config.Boolean(f"column_{number}", default=True)
            ] or [0]

        def data(self, config):
            chosen = self.columns(config)
            return tuple((x[:, chosen], y) for x, y in (tiny_models.TRAIN, tiny_models.VALIDATION))

        def build(self, config):
            return tiny_models.compiled(
                keras.Sequential(
                    [keras.Input((len(self.columns(config)),)), keras.layers.Dense(2, "softmax")]
                )
            )

    Records.seen.clear()
    tuner = searched(project, Model(), max_trials=4)
    tuner.search(epochs=1, callbacks=[Records()], verbose=0)
    columns = (
        tuner.results_dataframe()
        .sort_values("trial_id")[[f"column_{number}" for number in range(6)]]
        .astype(int)
        .sum(axis=1)
        .clip(lower=1)
    )
    assert list(columns) == [seen["inputs"][0] for seen in Records.seen]
