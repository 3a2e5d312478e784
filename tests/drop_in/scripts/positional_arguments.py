"""Arguments given by position, in the orders of KerasTuner's signatures, and what the attributes
are afterwards.
"""

import inspect
import warnings

import keras
import keras_tuner as kt

ORDERS = {
    "RandomSearch": (
        "hypermodel objective max_trials seed hyperparameters tune_new_entries allow_new_entries "
        "max_retries_per_trial max_consecutive_failed_trials"
    ),
    "GridSearch": (
        "hypermodel objective max_trials seed hyperparameters tune_new_entries allow_new_entries "
        "max_retries_per_trial max_consecutive_failed_trials"
    ),
    "BayesianOptimization": (
        "hypermodel objective max_trials num_initial_points alpha beta seed hyperparameters "
        "tune_new_entries allow_new_entries max_retries_per_trial max_consecutive_failed_trials"
    ),
    "Hyperband": (
        "hypermodel objective max_epochs factor hyperband_iterations seed hyperparameters "
        "tune_new_entries allow_new_entries max_retries_per_trial max_consecutive_failed_trials"
    ),
    "SklearnTuner": "oracle hypermodel scoring metrics cv",
    "Tuner": (
        "oracle hypermodel max_model_size optimizer loss metrics distribution_strategy directory "
        "project_name logger tuner_id overwrite executions_per_trial"
    ),
    "Oracle": (
        "objective max_trials hyperparameters allow_new_entries tune_new_entries seed "
        "max_retries_per_trial max_consecutive_failed_trials"
    ),
}


def build(hp):
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(hp.Int("units", 1, 3))])
    model.compile("sgd", "mse")
    return model


def main(directory, **tuner_options):
    findings = {}
    for name, order in ORDERS.items():
        parameters = list(inspect.signature(getattr(kt, name).__init__).parameters)[1:]
        findings[name] = [
            first == second for first, second in zip(parameters, order.split(), strict=False)
        ]
    hps = kt.HyperParameters()
    hps.Int("units", 2, 3)
    options = {"directory": directory, **tuner_options}
    tuners = {
        "random": kt.RandomSearch(
            build, "loss", 7, 11, hps, True, True, 1, 4, project_name="random", **options
        ),
        "grid": kt.GridSearch(build, "loss", 8, 12, project_name="grid", **options),
        "bayesian": kt.BayesianOptimization(
            build, "loss", 9, 4, 1e-3, 2.0, 13, project_name="bayesian", **options
        ),
        "hyperband": kt.Hyperband(build, "loss", 6, 2, 2, 14, project_name="hyperband", **options),
        "tuner": kt.Tuner(
            kt.oracles.RandomSearchOracle("loss", 5, 15),
            build,
            1000,
            "adam",
            "mae",
            ["mse"],
            None,
            directory,
            "tuner",
            **tuner_options,
        ),
    }
    for name, tuner in tuners.items():
        oracle = tuner.oracle
        findings[name] = [
            oracle.objective.name,
            oracle.max_trials,
            oracle.seed,
            tuner.remaining_trials,
            tuner.project_name,
        ]
        findings[name] += [
            oracle.max_retries_per_trial,
            oracle.max_consecutive_failed_trials,
            tuner.tuner_id,
            tuner.directory,
        ]
        findings[name][-1] = tuner.directory == directory
    oracle = kt.oracles.HyperbandOracle("loss", 20, 4, 1)
    findings["attributes"] = [
        tuners["random"].oracle.hyperparameters is hps,
        tuners["tuner"].max_model_size,
        oracle.max_epochs,
    ]
    findings["more"] = [
        tuners["tuner"].optimizer,
        tuners["tuner"].loss,
        tuners["tuner"].metrics,
        oracle.factor,
    ]
    findings["oracle"] = [
        oracle.allow_new_entries,
        oracle.tune_new_entries,
        oracle.hyperband_iterations,
        oracle.trials,
    ]
    try:
        kt.Hyperband(build, "loss", 10, 1, project_name="factor", **options)
    except ValueError as error:
        findings["factor"] = "factor" in str(error)
    try:
        kt.RandomSearch(build, "loss", max_trails=3, project_name="unknown", **options)
    except ValueError as error:
        findings["unknown"] = str(error).startswith("Unrecognized arguments ['max_trails'] for ")
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        tuner = kt.RandomSearch(build, "loss", logger=print, project_name="logger", **options)
        categories = [
            warning.category.__name__ for warning in heard if "logger" in str(warning.message)
        ]
        findings["logger"] = [categories, tuner.logger is print]
    return findings
