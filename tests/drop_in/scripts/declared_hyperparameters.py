"""`declare_hyperparameters`, a hypermodel in a hypermodel, and one that is not tunable."""

import keras
import keras_tuner as kt
import numpy as np
from keras_tuner.engine.hypermodel import HyperModel

x, y = np.random.rand(32, 3), np.random.rand(32)


class Block(kt.HyperModel):
    def build(self, hp, inputs=None):
        return keras.layers.Dense(hp.Int("block_units", 2, 20, default=7))


class Declared(HyperModel):
    def __init__(self, block, **kwargs):
        super().__init__(**kwargs)
        self.block = block

    def declare_hyperparameters(self, hp):
        hp.Choice("rate", [0.1, 0.01], default=0.01)
        hp.Int("batch_size", 8, 16, step=8)

    def build(self, hp):
        model = keras.Sequential([self.block.build(hp), keras.layers.Dense(1)])
        model.compile(keras.optimizers.SGD(hp.get("rate")), "mse")
        return model

    def fit(self, hp, model, *args, **kwargs):
        return model.fit(*args, batch_size=hp.get("batch_size"), **kwargs)


def main(directory, **tuner_options):
    findings = {}
    for name, hypermodel in {
        "tunable": Declared(Block(), name="outer"),
        "fixed block": Declared(Block(name="inner", tunable=False)),
    }.items():
        tuner = kt.RandomSearch(
            hypermodel,
            "loss",
            max_trials=2,
            directory=directory,
            project_name=name.replace(" ", "_"),
            **tuner_options,
        )
        tuner.search(x, y, epochs=1, verbose=0)
        findings[name] = {
            "name": tuner.hypermodel.name,
            "flags": [tuner.hypermodel.tunable, hypermodel.block.tunable],
            "space": [(p.name, p.default) for p in tuner.oracle.get_space().space],
            "values": [sorted(hp.values) for hp in tuner.get_best_hyperparameters(2)],
            "statuses": [trial.status for trial in tuner.oracle.trials.values()],
            "units": tuner.hypermodel.build(tuner.get_best_hyperparameters()[0]).layers[0].units
            if "fixed" in name
            else None,
        }
    findings["classes"] = HyperModel is kt.HyperModel
    hp = kt.HyperParameters()
    hp.Fixed("block_units", 3)
    findings["given"] = Block(tunable=False).build(hp).units
    findings["space afterwards"] = [p.name for p in hp.space]
    return findings
