"""`Trial` objects: of a search, made by hand, saved, loaded, and their statuses."""

import contextlib
import io
import os
import re

import keras_tuner
from keras_tuner.engine import trial as trial_module
from keras_tuner.engine.hyperparameters import HyperParameters


class Tuner(keras_tuner.RandomSearch):
    def run_trial(self, trial, **kwargs):
        x = trial.hyperparameters.Float("x", 0.0, 1.0)
        return {"score": x, "other": -x}


def main(directory, **tuner_options):
    tuner = Tuner(
        objective=keras_tuner.Objective("score", "max"),
        max_trials=2,
        directory=directory,
        project_name="trials",
        **tuner_options,
    )
    tuner.search()
    found = tuner.oracle.get_best_trials()[0]
    hp = HyperParameters()
    hp.Int("units", 1, 5, default=3)
    trial = trial_module.Trial(hyperparameters=hp, trial_id="one", status="COMPLETED")
    trial.metrics.register("score", direction="max")
    trial.metrics.update("score", 10, step=1)
    trial.metrics.update("score", 20, step=2)
    trial.score, trial.best_step = 20.0, 2
    file = os.path.join(directory, "trial.json")
    trial.save(file)
    loaded = trial_module.Trial.load(file)
    reloaded = trial_module.Trial(trial.hyperparameters)
    reloaded.reload(file)
    again = trial_module.Trial.from_state(trial.get_state())
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        trial.summary()
        trial_module.Trial(HyperParameters(), trial_id="two", message="it failed").summary()
    status = trial_module.TrialStatus
    path = os.path.join(tuner.get_trial_dir(found.trial_id), "trial.json")
    return {
        "state": trial.get_state(),
        "loaded": loaded.get_state()
        == reloaded.get_state()
        == trial.get_state()
        == again.get_state(),
        "values": loaded.hyperparameters.get("units"),
        "printed": printed.getvalue().splitlines(),
        "statuses": [
            status.RUNNING,
            status.IDLE,
            status.INVALID,
            status.STOPPED,
            status.COMPLETED,
            status.FAILED,
        ],
        "default": [
            trial_module.Trial(hp).status,
            trial_module.Trial(hp).score,
            trial_module.Trial(hp).best_step,
        ],
        "id": bool(re.fullmatch("[0-9a-f]{32}", trial_module.Trial(hp).trial_id)),
        "from the project": trial_module.Trial.load(path).get_state() == found.get_state(),
        "metrics": {
            name: tracked.get_best_value() == found.score
            for name, tracked in found.metrics.metrics.items()
        },
        "last": found.metrics.get_last_value("other") == -found.score,
        "class": isinstance(found, trial_module.Trial),
    }
