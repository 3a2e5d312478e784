"""An oracle without a tuner, asked and told by a loop of one's own."""

import os
import warnings

import keras_tuner as kt
from keras_tuner.engine import hyperparameters as hp_module


def space():
    hps = hp_module.HyperParameters()
    hps.Int("a", 0, 20)
    hps.Float("b", 0.5, 1.5)
    hps.Choice("c", ["x", "y", "z"])
    return hps


def main(directory, **tuner_options):
    findings = {}
    for name, oracle in {
        "random": kt.oracles.RandomSearchOracle(
            objective=kt.Objective("score", "max"), max_trials=6, hyperparameters=space()
        ),
        "bayesian": kt.oracles.BayesianOptimizationOracle(
            objective=kt.Objective("score", "max"),
            max_trials=6,
            num_initial_points=2,
            hyperparameters=space(),
        ),
        "grid": kt.oracles.GridSearchOracle(
            objective=kt.Objective("score", "max"), max_trials=6, hyperparameters=space()
        ),
    }.items():
        oracle._set_project_dir(directory, name)
        seen = []
        while True:
            trial = oracle.create_trial("tuner_0")
            if trial.status == "STOPPED":
                break
            again = oracle.create_trial("tuner_0")
            values = trial.hyperparameters.values
            oracle.update_trial(trial.trial_id, {"score": values["a"] * values["b"], "other": 1.0})
            trial.status = "COMPLETED"
            oracle.end_trial(trial)
            seen.append((trial.trial_id, again.trial_id == trial.trial_id, sorted(values)))
        best = oracle.get_best_trials(1)[0]
        scores = [trial.metrics.get_best_value("score") for trial in oracle.trials.values()]
        findings[name] = {
            "seen": seen,
            "orders": [oracle.start_order, oracle.end_order],
            "best": best.score
            == max(scores)
            == best.hyperparameters["a"] * best.hyperparameters["b"],
            "remaining": oracle.remaining_trials(),
            "ongoing": dict(oracle.ongoing_trials),
            "files": sorted(
                name
                for name in os.listdir(os.path.join(directory, name))
                if not name.startswith(".")
            ),
            "space": [p.name for p in oracle.get_space().space],
            "copy": oracle.get_space() is not oracle.hyperparameters,
        }
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        findings["old names"] = [oracle._populate_space("9")["status"], oracle._score_trial(best)]
        ours = [
            warning
            for warning in heard
            if "underscore" in str(warning.message) or "deprecated" in str(warning.message)
        ]
        findings["said to be old"] = {warning.category.__name__ for warning in ours} == {
            "DeprecationWarning"
        }
    failing = kt.oracles.RandomSearchOracle(
        objective="val_loss", max_trials=2, hyperparameters=space(), max_retries_per_trial=1
    )
    failing._set_project_dir(directory, "failing")
    ids = []
    for _ in range(2):
        trial = failing.create_trial("tuner_0")
        ids.append(trial.trial_id)
        trial.status = "INVALID"
        trial.message = "it did not work"
        failing.end_trial(trial)
    findings["retries"] = [ids, failing.get_trial(ids[0]).status, failing.get_trial(ids[0]).message]
    trial = failing.create_trial("tuner_0")
    try:
        failing.update_trial(trial.trial_id, {"loss": 1.0})
    except ValueError as error:
        findings["missing"] = "Objective value missing" in str(error)
    return findings
