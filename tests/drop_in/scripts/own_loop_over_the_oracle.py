"""Trials that are asked for, trained and told of by hand, without `search()`: they leave a project,
which a second script, another loop and a search go on with.
"""

import os

import keras
import keras_tuner as kt
import numpy as np
from keras_tuner.src.engine import tuner_utils

x, y = np.random.rand(24, 2), np.random.rand(24, 1)


def build(hp):
    model = keras.Sequential([keras.Input((2,))])
    for layer in range(hp.Int("layers", 1, 2)):
        model.add(keras.layers.Dense(hp.Int(f"units_{layer}", 2, 9)))
    model.add(keras.layers.Dense(1))
    model.compile("sgd", "mse", metrics=["mae"])
    return model


class Kept(kt.RandomSearch):
    """With a `_build_and_fit_model` of its own, as AutoKeras has."""

    calls = 0

    def _build_and_fit_model(self, trial, *args, **kwargs):
        self.calls += 1
        return super()._build_and_fit_model(trial, *args, **kwargs)


def run_by_hand(tuner, count):
    """Runs so many trials; returns their ids and scores."""
    seen = []
    for _ in range(count):
        trial = tuner.oracle.create_trial("tuner0")
        if trial.status == "STOPPED":
            return [*seen, "STOPPED"]
        results = tuner.run_trial(trial, x, y, validation_split=0.5, epochs=2, verbose=0)
        objective = tuner.oracle.objective
        metrics = tuner_utils.convert_to_metrics_dict(results, objective)
        step = tuner_utils.get_best_step(results, objective)
        tuner.oracle.update_trial(trial.trial_id, metrics, step)
        trial.status = "COMPLETED"
        tuner.oracle.end_trial(trial)
        kinds = [type(result) is keras.callbacks.History for result in results]
        seen.append([trial.trial_id, kinds, sorted(metrics), 0 <= step < 2])
    return seen


def main(directory, **tuner_options):
    def tuner_of(max_trials, kind=kt.RandomSearch):
        return kind(
            build,
            "val_loss",
            max_trials=max_trials,
            directory=directory,
            project_name="p",
            **tuner_options,
        )

    findings = {}
    first = tuner_of(3)
    seen = first.oracle.create_trial("tuner0").hyperparameters
    findings["space"] = sorted({hp.name for hp in seen.space} & {"layers", "units_0", "other"})
    findings["first"] = run_by_hand(first, 2)
    kept = Kept(
        build,
        "val_loss",
        max_trials=2,
        executions_per_trial=2,
        directory=directory,
        project_name="kept",
        **tuner_options,
    )
    findings["kept"] = [run_by_hand(kept, 1), kept.calls]
    best = first.oracle.get_best_trials()[0]
    findings["left"] = [
        sorted(
            name for name in os.listdir(os.path.join(directory, "p")) if name.startswith("trial")
        ),
        os.path.exists(first._get_checkpoint_fname(best.trial_id)),
        first.remaining_trials,
    ]
    loss = first.get_best_models()[0].evaluate(x[12:], y[12:], verbose=0)[0]
    findings["weights"] = bool(np.isclose(loss, best.score, rtol=1e-4))

    first.save()  # without which KerasTuner does not find what is there
    second = tuner_of(4)
    findings["second"] = [len(second.oracle.trials), second.remaining_trials]
    findings["best"] = second.get_best_hyperparameters()[0].values == best.hyperparameters.values
    findings["gone on"] = run_by_hand(second, 1)
    second.search(x, y, validation_split=0.5, epochs=1, verbose=0)
    findings["searched"] = [sorted(second.oracle.trials), run_by_hand(second, 1)]
    try:
        tuner_of(4, kt.BayesianOptimization)
    except RuntimeError as error:
        findings["another kind"] = "pass `overwrite=True`" in str(error)
    return findings
