"""`BayesianOptimization` with the arguments that people give it, on black boxes, one with an
optimum that it has to find.
"""

import keras_tuner
from keras_tuner import BayesianOptimization
from keras_tuner.tuners import BayesianOptimization as Same


class Bowl(BayesianOptimization):
    def run_trial(self, trial, **kwargs):
        hp = trial.hyperparameters
        return {"height": (hp.Float("x", -2.0, 2.0) - 1) ** 2}


class Mixed(BayesianOptimization):
    def run_trial(self, trial, **kwargs):
        hp = trial.hyperparameters
        bonus = {"a": 0.0, "b": 10.0, "c": 5.0}[hp.Choice("letter", ["a", "b", "c"])]
        return {
            "gain": bonus
            + hp.Int("n", 1, 9)
            - hp.Float("rate", 1e-4, 1e-1, sampling="log")
            + hp.Boolean("flag")
        }


def main(directory, **tuner_options):
    bowl = Bowl(
        objective=keras_tuner.Objective("height", "min"),
        max_trials=11,
        num_initial_points=6,
        seed=1,
        directory=directory,
        project_name="bowl",
        **tuner_options,
    )
    bowl.search(verbose=0)
    mixed = Mixed(
        objective=keras_tuner.Objective("gain", "max"),
        max_trials=6,
        num_initial_points=4,
        seed=1,
        directory=directory,
        project_name="mixed",
        **tuner_options,
    )
    mixed.search(verbose=0)
    hp = mixed.get_best_hyperparameters()[0]
    inside = [-2 <= trial.hyperparameters["x"] <= 2 for trial in bowl.oracle.trials.values()]
    return {
        "trials": [len(bowl.oracle.trials), len(mixed.oracle.trials)],
        "found": bowl.oracle.get_best_trials()[0].score < 0.5,
        "types": {name: type(value).__name__ for name, value in hp.values.items()},
        "inside": all(inside),
        "ids": sorted(bowl.oracle.trials)[:2] + sorted(bowl.oracle.trials)[-1:],
        "class": Same is BayesianOptimization,
        "statuses": sorted({trial.status for trial in bowl.oracle.trials.values()}),
    }
