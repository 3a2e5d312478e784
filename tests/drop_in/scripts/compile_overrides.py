"""`optimizer`, `loss` and `metrics` given to the tuner, for models that are compiled otherwise."""

import keras
import keras_tuner
import numpy as np

x, y = np.random.rand(48, 3), np.random.rand(48, 1)


def build(hp):
    model = keras.Sequential(
        [keras.Input((3,)), keras.layers.Dense(hp.Int("units", 2, 8)), keras.layers.Dense(1)]
    )
    model.compile("sgd", "mae")
    return model


def main(directory, **tuner_options):
    findings = {}
    for name, kwargs in [
        ("all", {"optimizer": "adam", "loss": "mse", "metrics": ["mae"], "objective": "val_mae"}),
        (
            "objects",
            {
                "optimizer": keras.optimizers.RMSprop(0.02),
                "loss": keras.losses.Huber(),
                "objective": "val_loss",
            },
        ),
        ("loss only", {"loss": "mse", "objective": "loss"}),
        ("nothing", {"objective": "val_loss"}),
    ]:
        tuner = keras_tuner.RandomSearch(
            build,
            max_trials=1,
            directory=directory,
            project_name=name.replace(" ", "_"),
            **kwargs,
            **tuner_options,
        )
        tuner.search(x, y, validation_split=0.25, epochs=1, verbose=0)
        model = tuner.get_best_models()[0]
        trial = tuner.oracle.get_best_trials()[0]
        findings[name] = {
            "optimizer": type(model.optimizer).__name__,
            "loss": model.loss if isinstance(model.loss, str) else type(model.loss).__name__,
            "metrics": sorted(trial.metrics.metrics),
            "rate": round(float(model.optimizer.learning_rate.numpy()), 5),
            "attributes": [
                tuner.optimizer is kwargs.get("optimizer"),
                tuner.loss is kwargs.get("loss"),
            ],
            "of the tuner": tuner.metrics,
        }
    return findings
