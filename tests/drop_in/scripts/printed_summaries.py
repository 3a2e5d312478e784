"""What `search_space_summary`, `results_summary`, `Trial.summary` and a search with `verbose=0`
print.
"""

import contextlib
import io

import keras
import keras_tuner as kt
import numpy as np

x, y = np.random.rand(32, 2), np.random.rand(32)


def build_model(hp):
    model = keras.Sequential()
    for i in range(hp.Int("num_layers", 1, 2)):
        model.add(
            keras.layers.Dense(
                hp.Int(f"units_{i}", 2, 6, step=2), activation=hp.Choice("act", ["relu", "tanh"])
            )
        )
    if hp.Boolean("dropout"):
        model.add(keras.layers.Dropout(hp.Float("rate", 0.1, 0.5, step=0.1)))
    model.add(keras.layers.Dense(hp.Int("last", 1, 1, default=1)))
    model.compile(
        keras.optimizers.Adam(hp.Float("lr", 1e-4, 1e-2, sampling="log")), hp.Fixed("loss", "mse")
    )
    return model


def printed(function, *args, **kwargs):
    stream = io.StringIO()
    with contextlib.redirect_stdout(stream):
        assert function(*args, **kwargs) is None
    return stream.getvalue().splitlines()


def main(directory, **tuner_options):
    tuner = kt.RandomSearch(
        build_model,
        "val_loss",
        max_trials=2,
        directory=directory,
        project_name="p",
        **tuner_options,
    )
    space = printed(tuner.search_space_summary)
    searching = printed(tuner.search, x, y, epochs=1, validation_data=(x, y), verbose=0)
    results = printed(tuner.results_summary, num_trials=1)
    trial = tuner.oracle.get_best_trials()[0]
    summary = printed(trial.summary)
    values = trial.hyperparameters.values
    names = ("num_layers", "units_0", "act", "lr", "loss", "dropout")
    return {
        "heading": space[0],
        "hyperparameters": [line for line in space if line.split(" ")[0] in names],
        "configurations": [
            space[space.index(f"{name} (Int)") + 1] for name in ("num_layers", "units_0", "last")
        ],
        "searching": searching,
        "results": [
            line
            for line in results
            if line.startswith(("Results summary", "Showing", "Hyperparameters"))
        ],
        "project": [line for line in results if line.startswith("Results in")]
        == [f"Results in {tuner.project_dir}"],
        "objective": [line for line in results if line.startswith("Objective")],
        "trial": summary[:2] == [f"Trial {trial.trial_id} summary", "Hyperparameters:"],
        "values": summary[2:-1] == [f"{name}: {value}" for name, value in values.items()],
        "score": summary[-1] == f"Score: {trial.score}",
        "in the results": summary == results[results.index(summary[0]) :],
    }
