"""`GridSearch` over ordered values, steps, logarithmic scales, booleans and fixed values; the whole
grid, and a part of it.
"""

import keras_tuner as kt


def space(hp):
    hp.Int("units", 32, 96, step=32)
    hp.Choice("rate", [0.1, 0.01])
    hp.Boolean("flag")
    hp.Fixed("always", "yes")


class Grid(kt.GridSearch):
    def run_trial(self, trial, *args, **kwargs):
        hp = trial.hyperparameters
        return hp.Int("units", 32, 96, step=32) * hp.get("rate") + hp.get("flag")


class One(kt.GridSearch):
    def run_trial(self, trial, what, *args, **kwargs):
        value = {
            "int": lambda hp: hp.Int("p", 3, 6),
            "int log": lambda hp: hp.Int("p", 1, 16, step=4, sampling="log"),
            "float": lambda hp: hp.Float("p", 0.0, 1.0, step=0.25),
            "float log": lambda hp: hp.Float("p", 0.01, 1.0, step=10, sampling="log"),
            "choice": lambda hp: hp.Choice("p", ["b", "a", "c"], default="c"),
            "numbers": lambda hp: hp.Choice("p", [3, 1, 2]),
            "boolean": lambda hp: hp.Boolean("p", default=True),
            "reverse": lambda hp: hp.Float("p", 1, 100, step=10, sampling="reverse_log"),
        }[what](trial.hyperparameters)
        return float(len(str(value)))


def main(directory, **tuner_options):
    hps = kt.HyperParameters()
    space(hps)
    options = {"directory": directory, **tuner_options}
    whole = Grid(
        hyperparameters=hps, objective=kt.Objective("v", "max"), project_name="whole", **options
    )
    whole.search(verbose=0)
    part = Grid(hyperparameters=hps.copy(), max_trials=5, project_name="part", **options)
    part.search()
    findings = {
        "whole": sorted(
            sorted(map(str, t.hyperparameters.values.items())) for t in whole.oracle.trials.values()
        ),
        "best": whole.get_best_hyperparameters()[0].values,
        "scores": sorted(round(trial.score, 6) for trial in whole.oracle.trials.values()),
        "part": len(part.oracle.trials),
        "ids": [sorted(whole.oracle.trials)[:2], sorted(part.oracle.trials)[:2]],
        "remaining": [whole.remaining_trials, part.remaining_trials],
    }
    for what in ("int", "int log", "float", "float log", "choice", "numbers", "boolean", "reverse"):
        tuner = One(project_name=what.replace(" ", "_"), **options)
        tuner.search(what)
        values = [trial.hyperparameters["p"] for trial in tuner.oracle.trials.values()]
        findings[what] = sorted(
            values if isinstance(values[0], str) else [round(float(value), 6) for value in values]
        )
    return findings
