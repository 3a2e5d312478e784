"""Windows of a time series for an LSTM; the length of the window is tuned in `fit`, so is the
optimizer's name.
"""

import keras
import keras_tuner as kt
import numpy as np

series = np.sin(np.arange(120) / 5.0).astype("float32")


def windows(values, length):
    starts = np.arange(len(values) - length)
    return np.stack([values[i : i + length] for i in starts])[..., None], values[length:]


class Forecaster(kt.HyperModel):
    def build(self, hp):
        hp.Choice("window", [4, 8])
        model = keras.Sequential()
        model.add(keras.Input((None, 1)))
        for i in range(hp.Int("lstm_layers", 1, 2)):
            last = i == hp.get("lstm_layers") - 1
            model.add(
                keras.layers.LSTM(
                    hp.Int(f"lstm_{i}_units", 2, 6, step=2), return_sequences=not last
                )
            )
        model.add(keras.layers.Dense(1))
        model.compile(
            optimizer=hp.Choice("optimizer", ["adam", "rmsprop", "sgd"]),
            loss="mse",
            metrics=["mae"],
        )
        return model

    def fit(self, hp, model, values, **kwargs):
        x, y = windows(values, hp.get("window"))
        return model.fit(x[:80], y[:80], validation_data=(x[80:], y[80:]), **kwargs)


def main(directory, **tuner_options):
    tuner = kt.BayesianOptimization(
        Forecaster(),
        objective="val_loss",
        max_trials=2,
        directory=directory,
        project_name="lstm",
        **tuner_options,
    )
    tuner.search(series, epochs=1, verbose=0)
    hp = tuner.get_best_hyperparameters()[0]
    model = tuner.get_best_models()[0]
    x, y = windows(series, hp["window"])
    loss = model.evaluate(x[80:], y[80:], verbose=0)[0]
    return {
        "statuses": [trial.status for trial in tuner.oracle.trials.values()],
        "score": bool(np.isclose(loss, tuner.oracle.get_best_trials()[0].score, rtol=1e-3)),
        "forecast": list(model.predict(x[:7], verbose=0).shape),
        "layers": sum(isinstance(layer, keras.layers.LSTM) for layer in model.layers)
        == hp["lstm_layers"],
        "optimizer": type(model.optimizer).__name__.lower() == hp.get("optimizer"),
        "names": {"window", "lstm_layers", "lstm_0_units", "optimizer"} <= set(hp.values),
    }
