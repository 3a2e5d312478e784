"""A model with two outputs, tuned for the metric of one of them, with sample and loss weights by
name.
"""

import keras
import keras_tuner
import numpy as np

x = np.random.rand(80, 6)
labels = {"kind": np.random.randint(0, 3, 80), "size": x.sum(axis=1, keepdims=True)}


def build(hp):
    inputs = keras.Input(shape=(6,), name="features")
    shared = keras.layers.Dense(hp.Int("shared", 4, 8, step=4), activation="relu")(inputs)
    kind = keras.layers.Dense(3, activation="softmax", name="kind")(shared)
    size = keras.layers.Dense(1, name="size")(shared)
    model = keras.Model(inputs, {"kind": kind, "size": size})
    model.compile(
        optimizer="adam",
        loss={"kind": "sparse_categorical_crossentropy", "size": "mse"},
        loss_weights={"kind": hp.Float("kind_weight", 0.2, 0.8), "size": 1.0},
        metrics={"kind": ["accuracy"], "size": ["mae"]},
    )
    return model


def main(directory, **tuner_options):
    tuner = keras_tuner.RandomSearch(
        build,
        objective=keras_tuner.Objective("val_kind_accuracy", direction="max"),
        max_trials=2,
        directory=directory,
        project_name="outputs",
        **tuner_options,
    )
    arguments = {
        "x": x,
        "y": labels,
        "epochs": 1,
        "validation_data": (x[:20], {k: v[:20] for k, v in labels.items()}),
    }
    tuner.search(**arguments)
    trial = tuner.oracle.get_best_trials()[0]
    model = tuner.get_best_models()[0]
    measured = model.evaluate(
        x[:20], {k: v[:20] for k, v in labels.items()}, verbose=0, return_dict=True
    )
    weighted = keras_tuner.RandomSearch(
        build, "loss", max_trials=1, directory=directory, project_name="weighted", **tuner_options
    )
    weighted.search(
        x, labels, sample_weight={"kind": np.ones(80), "size": np.zeros(80)}, epochs=1, verbose=0
    )
    return {
        "metrics": sorted(trial.metrics.metrics),
        "direction": trial.metrics.get_direction("val_kind_accuracy"),
        "score": bool(np.isclose(trial.score, measured["kind_accuracy"])),
        "size": bool(
            np.isclose(
                trial.metrics.get_best_value("val_size_mae"), measured["size_mae"], rtol=1e-3
            )
        ),
        "outputs": {name: list(value.shape) for name, value in model.predict(x, verbose=0).items()},
        "statuses": [
            t.status for t in [*tuner.oracle.trials.values(), *weighted.oracle.trials.values()]
        ],
    }
