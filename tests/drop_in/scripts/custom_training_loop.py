"""A training loop of one's own in `fit`, which drives the callbacks that it is given by hand,
without `on_train_begin`.
"""

import keras
import keras_tuner
import numpy as np
import tensorflow as tf

x = np.random.rand(64, 3).astype("float32")
y = x.mean(axis=1, keepdims=True)


class MyHyperModel(keras_tuner.HyperModel):
    def build(self, hp):
        inputs = keras.Input((3,))
        hidden = keras.layers.Dense(hp.Int("units", 4, 8), activation="relu")(inputs)
        return keras.Model(inputs, keras.layers.Dense(1)(hidden))  # not compiled

    def fit(self, hp, model, x, y, validation_data, callbacks=None, **kwargs):
        batch_size = hp.Int("batch_size", 16, 64, step=2, sampling="log", default=32)
        train_ds = tf.data.Dataset.from_tensor_slices((x, y)).batch(batch_size)
        validation_ds = tf.data.Dataset.from_tensor_slices(validation_data).batch(batch_size)
        optimizer = keras.optimizers.Adam(
            hp.Float("learning_rate", 1e-4, 1e-2, sampling="log", default=1e-3)
        )
        loss_fn = keras.losses.MeanSquaredError()
        epoch_loss_metric = keras.metrics.Mean()
        for callback in callbacks:
            callback.set_model(model)
        best_epoch_loss = float("inf")
        for epoch in range(2):
            for features, labels in train_ds:
                with tf.GradientTape() as tape:
                    loss = loss_fn(labels, model(features))
                gradients = tape.gradient(loss, model.trainable_variables)
                optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
            for features, labels in validation_ds:
                epoch_loss_metric.update_state(loss_fn(labels, model(features)))
            epoch_loss = float(epoch_loss_metric.result().numpy())
            for callback in callbacks:
                callback.on_epoch_end(epoch, logs={"my_metric": epoch_loss})
            epoch_loss_metric.reset_state()
            best_epoch_loss = min(best_epoch_loss, epoch_loss)
        return best_epoch_loss


def main(directory, **tuner_options):
    tuner = keras_tuner.RandomSearch(
        objective=keras_tuner.Objective("my_metric", "min"),
        max_trials=2,
        hypermodel=MyHyperModel(),
        directory=directory,
        project_name="custom_training",
        overwrite=True,
        **tuner_options,
    )
    tuner.search(x=x, y=y, validation_data=(x, y))
    model = tuner.get_best_models()[0]
    trial = tuner.oracle.get_best_trials()[0]
    error = np.mean((model.predict(x, verbose=0) - y) ** 2)
    return {
        "statuses": [t.status for t in tuner.oracle.trials.values()],
        "metrics": {name: tracked.direction for name, tracked in trial.metrics.metrics.items()},
        "names": sorted(trial.hyperparameters.values),
        "weights are of the best epoch": bool(np.isclose(error, trial.score, rtol=1e-3)),
        "output": list(model.output_shape),
    }
