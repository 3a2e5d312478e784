"""Trainings that become nan after good epochs: the score is that of the best of these, and so are
the weights.
"""

import math

import keras
import keras_tuner as kt
import numpy as np

rng = np.random.default_rng(0)
x = rng.random((64, 4))
y = x.sum(axis=1)


class Diverging(kt.HyperModel):
    def build(self, hp):
        keras.utils.set_random_seed(1)
        hp.Choice("diverges_in", [2, 9])
        model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(4), keras.layers.Dense(1)])
        model.compile(keras.optimizers.SGD(0.01), "mse")
        return model

    def fit(self, hp, model, *args, callbacks, **kwargs):
        bad = hp.get("diverges_in")
        rates = keras.callbacks.LearningRateScheduler(
            lambda epoch, rate: 1e30 if epoch == bad else 0.01
        )
        return model.fit(*args, callbacks=[rates, *callbacks], **kwargs)


def main(directory, **tuner_options):
    findings = {}
    for name, callbacks in (("ended", [keras.callbacks.TerminateOnNaN()]), ("went_on", [])):
        tuner = kt.GridSearch(
            Diverging(), "val_loss", directory=directory, project_name=name, **tuner_options
        )
        fit = {"validation_data": (x, y), "epochs": 4, "verbose": 0}
        tuner.search(x, y, callbacks=callbacks, **fit)
        trials = {
            trial.hyperparameters.get("diverges_in"): trial
            for trial in tuner.oracle.trials.values()
        }
        findings[name] = [
            [bad, trial.status, trial.best_step, math.isfinite(trial.score)]
            for bad, trial in sorted(trials.items())
        ]
        model = tuner.load_model(trials[2])
        loss = model.evaluate(x, y, verbose=0)
        findings[f"weights of {name}"] = math.isclose(loss, trials[2].score, rel_tol=1e-5)
    return findings
