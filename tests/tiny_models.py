"""The models and data that the tests train: tiny, real, and made on the spot."""

import time

import keras
import numpy as np

import glimr_keras as gk
from glimr_keras.training.trial_callback import TrialCallback

RNG = np.random.default_rng(0)
X = RNG.normal(3.0, 2.0, size=(96, 6)).astype("float32")
Y = (X.sum(axis=1) > 18).astype("int32")
TRAIN, VALIDATION = (X[:64], Y[:64]), (X[64:], Y[64:])


def compiled(model, config=None):
    """Compiles for two classes, with a searched learning rate if there is a configuration.

    Steps are not traced, which takes longer than these few; scripts and examples trace theirs.
    """
    rate = 0.01 if config is None else config.Float("learning_rate", 1e-3, 1e-1, sampling="log")
    model.compile(
        keras.optimizers.Adam(rate),
        "sparse_categorical_crossentropy",
        metrics=["accuracy"],
        run_eagerly=True,
    )
    return model


def traced(model):
    """The same model with its steps traced, as users have it."""
    model.run_eagerly = False
    return model


def is_trial(callbacks):
    """Whether a `fit` with these callbacks is a trial's, and not the look before the search."""
    return any(isinstance(callback, TrialCallback) for callback in callbacks)


def train_by_hand(model, callbacks, epochs, logs, initial_epoch=0, seconds=0.0):
    """A loop that trains nothing and reports `logs(epoch)`, epochs counted from 0; each takes some
    seconds.
    """
    for callback in callbacks:
        callback.set_model(model)
    for epoch in range(initial_epoch, epochs):
        for callback in callbacks:
            callback.on_epoch_begin(epoch)
        time.sleep(seconds)
        for callback in callbacks:
            callback.on_epoch_end(epoch, logs=logs(epoch))


def build(config):
    """A functional model."""
    inputs = keras.Input((6,))
    hidden = keras.layers.Dense(config.Int("units", 2, 16), activation="relu")(inputs)
    return compiled(
        keras.Model(inputs, keras.layers.Dense(2, activation="softmax")(hidden)), config
    )


def build_deferred(config):
    """A `Sequential` that does not know its input shape."""
    return compiled(
        keras.Sequential(
            [keras.layers.Dense(config.Int("units", 2, 16)), keras.layers.Dense(2, "softmax")]
        )
    )


def build_normalized(config):
    """With a layer adapted in `build`, batch statistics and dropout."""
    normalization = keras.layers.Normalization()
    normalization.adapt(TRAIN[0])
    layers = [
        keras.Input((6,)),
        normalization,
        keras.layers.Dense(config.Int("units", 4, 16)),
        keras.layers.Dropout(0.3),
    ]
    return compiled(
        keras.Sequential(
            [*layers, keras.layers.BatchNormalization(), keras.layers.Dense(2, "softmax")]
        )
    )


class Subclassed(keras.Model):
    """A subclassed model without a `build` of its own."""

    def __init__(self, units):
        super().__init__()
        self.hidden, self.out = (
            keras.layers.Dense(units, activation="relu"),
            keras.layers.Dense(2, "softmax"),
        )

    def call(self, inputs):
        return self.out(self.hidden(inputs))


class SubclassedDict(Subclassed):
    """The same with two named inputs."""

    def call(self, inputs):
        return self.out(
            self.hidden(keras.ops.concatenate([inputs["left"], inputs["right"]], axis=-1))
        )


def build_subclassed(config):
    return compiled(Subclassed(config.Int("units", 2, 16)))


def build_subclassed_dict(config):
    return compiled(SubclassedDict(config.Int("units", 2, 16)))


def build_two_inputs(config):
    """Two inputs by name, two outputs by name."""
    left, right = keras.Input((3,), name="left"), keras.Input((3,), name="right")
    joined = keras.layers.Concatenate()(
        [keras.layers.Dense(config.Int("units", 2, 8))(left), right]
    )
    outputs = {
        "label": keras.layers.Dense(2, "softmax", name="label")(joined),
        "sum": keras.layers.Dense(1, name="sum")(joined),
    }
    model = keras.Model({"left": left, "right": right}, outputs)
    losses = {"label": "sparse_categorical_crossentropy", "sum": "mse"}
    model.compile("adam", losses, metrics={"label": ["accuracy"], "sum": ["mae"]})
    return model


def halves(data):
    """The same samples as two named inputs."""
    return {"left": data[0][:, :3], "right": data[0][:, 3:]}


class WithData(gk.HyperModel):
    """Has its own data, with a layer adapted there and used in `build`."""

    def data(self, config):
        self.normalization = keras.layers.Normalization()
        self.normalization.adapt(TRAIN[0])
        self.batch_size = config.Choice("batch_size", [8, 16])
        return TRAIN, VALIDATION

    def build(self, config):
        layers = [
            keras.Input((6,)),
            self.normalization,
            keras.layers.Dense(config.Int("units", 2, 16)),
        ]
        return compiled(keras.Sequential([*layers, keras.layers.Dense(2, "softmax")]))

    def fit(self, config, model, *args, **kwargs):
        return model.fit(*args, batch_size=self.batch_size, **kwargs)
