"""What scripts do with a search's parts beyond its documentation: a wrapper around each `build`,
values that `run_trial` writes, an oracle that edits what its base proposes, `get` of what was not
used, a `fit` that returns a number and trains nothing.
"""

import json
import os

import keras
import keras_tuner as kt
import numpy as np

x, y = np.random.rand(16, 2), np.random.rand(16, 1)


class Block(kt.HyperModel):
    """A part of a model, whose hyperparameters are under its name, as AutoKeras has it."""

    def _build_wrapper(self, hp, *args, **kwargs):
        with hp.name_scope(self.name):
            return super()._build_wrapper(hp, *args, **kwargs)

    def build(self, hp, inputs=None):
        return keras.layers.Dense(hp.Int("units", 1, 9), hp.Choice("act", ["relu", "tanh"]))(inputs)


class Deeper(Block):
    """A part with more before it."""

    def build(self, hp, inputs=None):
        for _ in range(hp.Int("depth", 1, 2)):
            inputs = keras.layers.Dense(3)(inputs)
        return super().build(hp, inputs)


class Graph(kt.HyperModel):
    """Puts them together."""

    def __init__(self):
        super().__init__()
        self.parts = [Block("left"), Deeper(name="right"), Block("fixed", tunable=False)]

    def build(self, hp):
        inputs = keras.Input((2,))
        outputs = [part.build(hp, inputs=inputs) for part in self.parts]
        model = keras.Model(inputs, keras.layers.Dense(1)(keras.layers.Concatenate()(outputs)))
        model.compile("sgd", "mse")
        return model


class Assigned(kt.HyperModel):
    """Has its wrapper as `build`."""

    def __init__(self):
        super().__init__()
        self.build = self._build_wrapper

    def _build_wrapper(self, hp, *args, **kwargs):
        with hp.name_scope("assigned"):
            return super()._build_wrapper(hp, *args, **kwargs)

    def build(self, hp):
        return Graph().build(hp)


class Writing(kt.RandomSearch):
    """Writes what it worked out into the trial."""

    def run_trial(self, trial, *args, **kwargs):
        hp = trial.hyperparameters
        hp.values["steps"] = 10 * hp.Int("epochs", 1, 3)
        hp.values["rate"] = np.float64(0.5)
        return {"loss": float(hp.values["steps"])}


class Untrained(kt.HyperModel):
    """Scores a model without any training; it is never built."""

    def build(self, hp):
        model = keras.Sequential([keras.layers.Dense(hp.Int("units", 1, 9))])
        model.compile("sgd", "mse")
        return model

    def fit(self, hp, model, *args, **kwargs):
        return hp.get("units") * hp.Float("scale", 0.5, 1.0)


class Edited(kt.oracles.RandomSearchOracle):
    """Changes what its base proposes, as it is a dict, and ends the search by itself."""

    def populate_space(self, trial_id):
        response = super().populate_space(trial_id)
        assert isinstance(response, dict)
        assert "values" in response
        assert response.get("status") == "RUNNING"
        if len(self.trials) == 2:
            return {**response, "status": "STOPPED"}
        response["values"] = {**response["values"], "left/units": 7}
        response["values"]["right/depth"] = 2
        return response


def layers(hp):
    model = keras.Sequential([keras.Input((2,))])
    for layer in range(hp.get("layers")):
        model.add(keras.layers.Dense(hp.get(f"units_{layer}")))
    model.compile("sgd", "mse")
    return model


def main(directory, **tuner_options):
    def place(name):
        return {"directory": directory, "project_name": name, **tuner_options}

    findings = {}
    edited = kt.Tuner(Edited("loss", max_trials=5), Graph(), **place("edited"))
    edited.search(x, y, verbose=0)
    findings["edited"] = [
        sorted(edited.oracle.trials),
        [
            [trial.hyperparameters.values[name] for name in ("left/units", "right/depth")]
            for trial in edited.oracle.trials.values()
        ],
        sorted(edited.get_best_hyperparameters()[0].values),
    ]
    hp = kt.HyperParameters()
    Assigned().build(hp)
    findings["assigned"] = sorted(hp.values)

    writing = Writing(objective=kt.Objective("loss", "min"), max_trials=2, **place("writing"))
    writing.search()
    findings["written"] = []
    for trial in writing.oracle.trials.values():
        with open(os.path.join(writing.get_trial_dir(trial.trial_id), "trial.json")) as file:
            stored = json.load(file)["hyperparameters"]["values"]
        values = trial.hyperparameters.values
        findings["written"].append(
            [sorted(stored), stored["steps"] == values["steps"] == 10 * values["epochs"]]
        )
    best = writing.get_best_hyperparameters()[0]
    findings["best"] = [sorted(best.values), best["rate"], best.get("steps") == 10 * best["epochs"]]

    untrained = kt.RandomSearch(Untrained(), max_trials=2, **place("untrained"))
    untrained.search()
    findings["untrained"] = [trial.status for trial in untrained.oracle.trials.values()]

    hp = kt.HyperParameters()
    hp.Int("layers", 1, 3)
    for layer in range(3):
        hp.Int(f"units_{layer}", 2, 9)
    looped = kt.RandomSearch(layers, "loss", max_trials=3, hyperparameters=hp, **place("layers"))
    looped.search(x, y, verbose=0)
    found = looped.get_best_hyperparameters(3)
    findings["not used"] = [
        [name in hp and 2 <= hp.get(name) <= 9 and 2 <= hp[name] <= 9]
        for hp in found
        for name in ("units_0", "units_1", "units_2")
    ]
    return findings
