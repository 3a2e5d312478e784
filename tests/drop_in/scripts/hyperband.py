"""`Hyperband` as in the official tutorial: its extra values, the epochs of each round, and the
winner trained again.
"""

import keras_tuner as kt
import numpy as np
from tensorflow import keras

x, y = np.random.rand(48, 4, 4), np.random.randint(0, 3, 48)


def model_builder(hp):
    model = keras.Sequential()
    model.add(keras.layers.Flatten(input_shape=(4, 4)))
    hp_units = hp.Int("units", min_value=4, max_value=64, step=4)
    model.add(keras.layers.Dense(units=hp_units, activation="relu"))
    model.add(keras.layers.Dense(3))
    hp_learning_rate = hp.Choice("learning_rate", values=[1e-2, 1e-3, 1e-4])
    model.compile(
        optimizer=keras.optimizers.Adam(learning_rate=hp_learning_rate),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    return model


def main(directory, **tuner_options):
    tuner = kt.Hyperband(
        model_builder,
        objective="val_accuracy",
        max_epochs=4,
        factor=2,
        hyperband_iterations=1,
        directory=directory,
        project_name="intro_to_kt",
        **tuner_options,
    )
    stop_early = keras.callbacks.EarlyStopping(monitor="val_loss", patience=5)
    tuner.search(x, y, epochs=50, validation_split=0.2, callbacks=[stop_early], verbose=0)
    best_hps = tuner.get_best_hyperparameters(num_trials=1)[0]
    rounds = {}
    promoted = True
    for trial in tuner.oracle.trials.values():
        values = trial.hyperparameters.values
        rung = f"{values['tuner/bracket']}/{values['tuner/round']}"
        key = f"{rung}: {values['tuner/initial_epoch']}-{values['tuner/epochs']}"
        rounds[key] = rounds.get(key, 0) + 1
        if "tuner/trial_id" in values:
            earlier = tuner.oracle.get_trial(values["tuner/trial_id"]).hyperparameters
            promoted = (
                promoted and earlier["units"] == values["units"] and values["tuner/round"] > 0
            )
        else:
            promoted = promoted and values["tuner/round"] == 0
    model = tuner.hypermodel.build(best_hps)
    history = model.fit(x, y, epochs=3, validation_split=0.2, verbose=0)
    val_acc_per_epoch = history.history["val_accuracy"]
    best_epoch = val_acc_per_epoch.index(max(val_acc_per_epoch)) + 1
    scores = [trial.score for trial in tuner.oracle.get_best_trials(30)]
    return {
        "rounds": rounds,
        "promoted": promoted,
        "space": [p.name for p in tuner.oracle.get_space().space],
        "values": sorted(
            {tuple(trial.hyperparameters.values) for trial in tuner.oracle.trials.values()}
        ),
        "of the best": [name for name in best_hps.values if name != "tuner/trial_id"],
        "statuses": sorted({trial.status for trial in tuner.oracle.trials.values()}),
        "sorted": scores == sorted(scores, reverse=True),
        "best epoch": 1 <= best_epoch <= 3,
        "remaining": tuner.remaining_trials,
        "output": list(tuner.get_best_models()[0].predict(x, verbose=0).shape),
    }
