"""A tuner whose hooks append to lists and set attributes of the script's own tuner."""

import keras
import keras_tuner
import numpy as np

x, y = np.random.rand(32, 2), np.random.rand(32)


class Hooked(keras_tuner.RandomSearch):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.events = []
        self.best_so_far = None

    def on_search_begin(self):
        self.events.append("search begins")
        super().on_search_begin()

    def on_search_end(self):
        super().on_search_end()
        self.events.append("search ends")

    def on_trial_begin(self, trial):
        super().on_trial_begin(trial)
        self.events.append(
            ("begins", trial.trial_id, trial.status, sorted(trial.hyperparameters.values))
        )

    def on_trial_end(self, trial):
        super().on_trial_end(trial)
        kept = self.oracle.get_trial(trial.trial_id)
        self.events.append(("ends", trial.trial_id, kept.status, kept.score is not None))
        self.best_so_far = self.oracle.get_best_trials(1)[0].score


def build_model(hp):
    model = keras.Sequential([keras.layers.Dense(hp.Int("units", 2, 50)), keras.layers.Dense(1)])
    model.compile("adam", "mse")
    return model


def main(directory, **tuner_options):
    tuner = Hooked(
        build_model,
        "loss",
        max_trials=3,
        directory=directory,
        project_name="hooked",
        **tuner_options,
    )
    tuner.search(x, y, epochs=1, verbose=0)
    events = [event for event in tuner.events if not isinstance(event, str)]
    order = {
        trial_id: [event[0] for event in events if event[1] == trial_id]
        for trial_id in tuner.oracle.trials
    }
    return {
        "first and last": [tuner.events[0], tuner.events[-1]],
        "number": len(tuner.events),
        "of each trial": order,
        "begins": sorted(event[1:] for event in events if event[0] == "begins"),
        "ends": sorted(event[1:] for event in events if event[0] == "ends"),
        "best": tuner.best_so_far == tuner.oracle.get_best_trials()[0].score,
        "created in order": [event[1] for event in events if event[0] == "begins"],
    }
