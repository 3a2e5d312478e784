"""The same script again: it goes on with a larger `max_trials`, does nothing when all is done, and
starts over if told to.
"""

import contextlib
import io
import os

import keras
import keras_tuner as kt
import numpy as np

x, y = np.random.rand(32, 2), np.random.rand(32, 1)


def build_model(hp):
    model = keras.Sequential()
    model.add(
        keras.layers.Dense(hp.Int("units", 2, 200), activation=hp.Choice("act", ["relu", "tanh"]))
    )
    model.add(keras.layers.Dense(1))
    model.compile(optimizer="adam", loss="mse")
    return model


def script(directory, options, max_trials, overwrite=False):
    """All that the user's script does."""
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        tuner = kt.RandomSearch(
            build_model,
            "loss",
            max_trials=max_trials,
            overwrite=overwrite,
            directory=directory,
            project_name="resumed",
            **options,
        )
        before = len(tuner.oracle.trials)
        remaining = tuner.remaining_trials
        is_reloaded = printed.getvalue().startswith(
            f"Reloading Tuner from {tuner.project_dir}/tuner0.json"
        )
        tuner.search(x, y, epochs=1, verbose=0)
    values = {
        trial_id: trial.hyperparameters.values for trial_id, trial in tuner.oracle.trials.items()
    }
    return tuner, values, [before, remaining, is_reloaded]


def main(directory, **tuner_options):
    _, values, told = script(directory, tuner_options, 2)
    findings = {"first": [*told, sorted(values)]}
    second, more, told = script(directory, tuner_options, 4)
    findings["larger"] = [*told, sorted(more), {k: more[k] for k in values} == values]
    findings["different"] = len({str(sorted(v.items())) for v in more.values()})
    third, same, told = script(directory, tuner_options, 4)
    findings["again"] = [*told, same == more]
    scores = [t.score for t in second.oracle.get_best_trials(4)]
    findings["scores"] = [
        t.score for t in third.oracle.get_best_trials(4)
    ] == scores and scores == sorted(scores)
    findings["model"] = (
        third.get_best_models()[0].layers[0].units == third.get_best_hyperparameters()[0]["units"]
    )
    third.search(x, y, epochs=1, verbose=0)
    findings["searched again"] = len(third.oracle.trials)
    _, new, told = script(directory, tuner_options, 1, overwrite=True)
    findings["over"] = [*told, sorted(new)]
    project = os.path.join(directory, "resumed")
    findings["directories"] = sorted(
        name for name in os.listdir(project) if name.startswith("trial_")
    )
    return findings
