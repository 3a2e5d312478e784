"""Name scopes and conditions inside conditions, in the grid of all configurations."""

import json

import keras_tuner as kt


def suggest(hp):
    with hp.name_scope("data"):
        hp.Choice("scaler", ["none", "minmax"])
    kind = hp.Choice("kind", ["cnn", "rnn"])
    with hp.conditional_scope("kind", ["cnn"]), hp.name_scope("cnn"):
        hp.Choice("kernel", [3, 5])
        pooling = hp.Boolean("pooling")
        with hp.conditional_scope("pooling", [True]):
            hp.Choice("pool", ["max", "avg"])
    with hp.conditional_scope("kind", ["rnn"]), hp.name_scope("rnn"):
        with hp.name_scope("cell"):
            hp.Int("units", 8, 24, step=8)
        hp.Fixed("cell_type", "gru")
    return kind, pooling


class Grid(kt.GridSearch):
    def run_trial(self, trial, *args, **kwargs):
        hp = trial.hyperparameters
        suggest(hp)
        return float(len(json.dumps(hp.values, sort_keys=True)))


class Model(kt.HyperModel):
    def build(self, hp):
        return suggest(hp)


def main(directory, **tuner_options):
    hp = kt.HyperParameters()
    outcome = suggest(hp)
    other = kt.HyperParameters()
    other.values = {"kind": "rnn"}
    inactive = suggest(other)
    tuner = Grid(
        Model(),
        kt.Objective("length", "min"),
        directory=directory,
        project_name="nested",
        **tuner_options,
    )
    space = tuner.oracle.get_space()
    tuner.search(verbose=0)
    values = [trial.hyperparameters.values for trial in tuner.oracle.trials.values()]
    return {
        "returned": [outcome, inactive],
        "defaults": hp.values,
        "values of the other kind": other.values,
        "names": [p.name for p in space.space],
        "conditions": {p.name: p.get_config()["conditions"] for p in space.space},
        "grid": sorted(json.dumps(value, sort_keys=True) for value in values),
        "scores": sorted(trial.score for trial in tuner.oracle.trials.values()),
    }
