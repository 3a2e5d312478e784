"""Batched, shuffled `tf.data` pipelines, an adapted `Normalization` layer, steps per epoch."""

import keras
import keras_tuner
import numpy as np
import tensorflow as tf

features = np.random.rand(90, 3).astype("float32") * 10
targets = features @ np.array([[1.0], [2.0], [3.0]], dtype="float32")
train = (
    tf.data.Dataset.from_tensor_slices((features, targets))
    .shuffle(90, seed=1)
    .batch(30)
    .prefetch(tf.data.AUTOTUNE)
)
valid = tf.data.Dataset.from_tensor_slices((features[:30], targets[:30])).batch(15).cache()


class Normalised(keras_tuner.HyperModel):
    def __init__(self, data):
        super().__init__()
        self.mean, self.variance = data.mean(axis=0), data.var(axis=0)

    def build(self, hp):
        inputs = keras.Input(shape=(3,))
        x = keras.layers.Normalization(mean=self.mean, variance=self.variance)(inputs)
        x = keras.layers.Dense(hp.Int("units", 2, 8, sampling="log"), "tanh")(x)
        model = keras.Model(inputs, keras.layers.Dense(1)(x))
        model.compile(keras.optimizers.RMSprop(1e-3), "mse", metrics=["mean_absolute_error"])
        return model


def main(directory, **tuner_options):
    tuner = keras_tuner.RandomSearch(
        Normalised(features),
        "val_mean_absolute_error",
        max_trials=2,
        directory=directory,
        project_name="tf",
        **tuner_options,
    )
    tuner.search(train, validation_data=valid, epochs=2, callbacks=[])
    steps = keras_tuner.RandomSearch(
        Normalised(features),
        "loss",
        max_trials=1,
        directory=directory,
        project_name="steps",
        **tuner_options,
    )
    steps.search(train.repeat(), epochs=1, steps_per_epoch=2, verbose=0)
    model = tuner.get_best_models()[0]
    best = tuner.oracle.get_best_trials()[0]
    error = model.evaluate(valid, verbose=0, return_dict=True)["mean_absolute_error"]
    return {
        "score": bool(np.isclose(error, best.score, rtol=1e-3)),
        "direction": best.metrics.get_direction("val_mean_absolute_error"),
        "statuses": [
            t.status for t in [*tuner.oracle.trials.values(), *steps.oracle.trials.values()]
        ],
        "metrics": sorted(best.metrics.metrics),
        "shape": list(model.predict(train, verbose=0).shape),
        "normalised": bool(np.allclose(model.layers[1].mean, features.mean(axis=0), rtol=1e-3)),
    }
