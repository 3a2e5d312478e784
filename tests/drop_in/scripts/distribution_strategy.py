"""Strategies of `tf.distribute`: given to the tuner, or a tuner made in the scope of one."""

import keras_tuner as kt
import numpy as np
import tensorflow as tf

x, y = np.random.rand(32, 4).astype("float32"), np.random.rand(32, 1).astype("float32")


def build_model(hp):
    inputs = tf.keras.Input(shape=(4,))
    outputs = tf.keras.layers.Dense(1)(tf.keras.layers.Dense(hp.Int("units", 2, 16))(inputs))
    model = tf.keras.Model(inputs, outputs)
    model.compile(optimizer=tf.keras.optimizers.Adam(hp.Choice("lr", [0.01, 0.001])), loss="mse")
    return model


def main(directory, **tuner_options):
    findings = {}
    for name, strategy in {
        "mirrored": tf.distribute.MirroredStrategy(["/cpu:0"]),
        "one device": tf.distribute.OneDeviceStrategy("/cpu:0"),
    }.items():
        tuner = kt.RandomSearch(
            build_model,
            objective="val_loss",
            max_trials=2,
            executions_per_trial=1,
            distribution_strategy=strategy,
            directory=directory,
            project_name=name.replace(" ", "_"),
            **tuner_options,
        )
        tuner.search(x, y, epochs=1, validation_data=(x, y), verbose=0)
        best = tuner.get_best_models()[0]
        score = tuner.oracle.get_best_trials()[0].score
        findings[name] = {
            "statuses": [trial.status for trial in tuner.oracle.trials.values()],
            "strategy": tuner.distribution_strategy is strategy,
            "score": bool(np.isclose(best.evaluate(x, y, verbose=0), score, rtol=1e-3)),
        }
    with tf.distribute.MirroredStrategy(["/cpu:0"]).scope():
        inside = kt.Hyperband(
            build_model,
            "val_loss",
            max_epochs=2,
            directory=directory,
            project_name="in",
            **tuner_options,
        )
    inside.search(x, y, epochs=1, validation_data=(x, y), verbose=0)
    findings["inside"] = sorted({trial.status for trial in inside.oracle.trials.values()})
    return findings
