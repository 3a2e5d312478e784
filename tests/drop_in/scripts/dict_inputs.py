"""A functional model with named inputs of different kinds, fed with a dict of arrays, and class
weights.
"""

import keras_tuner as kt
import numpy as np
from keras import Input, Model, layers

table = {"age": np.random.rand(72, 1).astype("float32"), "words": np.random.randint(0, 20, (72, 5))}
target = np.random.randint(0, 2, (72, 1))


def build(hp):
    age = Input((1,), name="age")
    words = Input((5,), dtype="int32", name="words")
    embedded = layers.Embedding(20, hp.Choice("embedding", [2, 4]))(words)
    pooled = layers.GlobalAveragePooling1D()(embedded)
    merged = layers.Concatenate()([age, pooled])
    if hp.Boolean("hidden", default=True):
        merged = layers.Dense(4, activation="relu")(merged)
    model = Model({"age": age, "words": words}, layers.Dense(1, activation="sigmoid")(merged))
    model.compile("adam", "binary_crossentropy", metrics=["AUC"])
    return model


def main(directory, **tuner_options):
    half = {name: column[:36] for name, column in table.items()}
    tuner = kt.BayesianOptimization(
        build,
        objective=kt.Objective("val_loss", "min"),
        max_trials=3,
        num_initial_points=2,
        directory=directory,
        project_name="dict",
        **tuner_options,
    )
    tuner.search(
        table,
        target,
        validation_data=(half, target[:36]),
        epochs=1,
        class_weight={0: 1.0, 1: 2.0},
        verbose=0,
    )
    model = tuner.get_best_models(num_models=1)[0]
    best = tuner.oracle.get_best_trials()[0]
    loss = model.evaluate(half, target[:36], verbose=0)[0]
    return {
        "score": bool(np.isclose(loss, best.score, rtol=1e-3)),
        "statuses": [trial.status for trial in tuner.oracle.trials.values()],
        "metrics": sorted(best.metrics.metrics),
        "predictions": list(model.predict(table, verbose=0).shape),
        "embedding": best.hyperparameters.get("embedding") in (2, 4),
    }
