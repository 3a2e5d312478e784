"""`HyperModel.fit` overridden, where batch size, shuffling and normalising are tuned: they are
first met while training.
"""

import keras
import keras_tuner as kt
import numpy as np


class MyHyperModel(kt.HyperModel):
    def build(self, hp):
        normalize = hp.Boolean("normalize")
        inputs = keras.Input(shape=(6,))
        x = keras.layers.Dense(hp.Int("units", 4, 12, step=4), activation="relu")(inputs)
        outputs = keras.layers.Dense(1, activation="sigmoid")(x)
        model = keras.Model(inputs, outputs, name="normal" if normalize else "plain")
        model.compile(optimizer="adam", loss="binary_crossentropy", metrics=["accuracy"])
        return model

    def fit(self, hp, model, x, y, validation_data=None, **kwargs):
        if hp.get("normalize"):
            x = (x - x.mean(axis=0)) / x.std(axis=0)
        return model.fit(
            x,
            y,
            validation_data=validation_data,
            batch_size=hp.Choice("batch_size", [16, 32, 64]),
            shuffle=hp.Boolean("shuffle", default=True),
            **kwargs,
        )


def main(directory, **tuner_options):
    x = np.random.rand(128, 6)
    y = (x[:, :1] > 0.5).astype("float32")
    tuner = kt.RandomSearch(
        MyHyperModel(),
        objective="val_accuracy",
        max_trials=4,
        overwrite=True,
        directory=directory,
        project_name="tune_hypermodel",
        **tuner_options,
    )
    before = [p.name for p in tuner.oracle.get_space().space]
    tuner.search(x, y, validation_data=(x[:32], y[:32]), epochs=2)
    best_hps = tuner.get_best_hyperparameters(4)
    hypermodel = MyHyperModel()
    model = hypermodel.build(best_hps[0])
    history = hypermodel.fit(best_hps[0], model, x, y, epochs=1, verbose=0)
    return {
        "before": sorted(set(before) & {"normalize", "units"}),
        "space": {p.name: type(p).__name__ for p in tuner.oracle.get_space().space},
        "values": [sorted(hp.values) for hp in best_hps],
        "sizes": all(hp.get("batch_size") in (16, 32, 64) for hp in best_hps),
        "kinds": sorted({type(hp.get("shuffle")).__name__ for hp in best_hps}),
        "history": sorted(history.history),
        "metrics": sorted(tuner.oracle.get_best_trials()[0].metrics.metrics),
    }
