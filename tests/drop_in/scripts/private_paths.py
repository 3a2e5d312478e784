"""KerasTuner's private paths, and a copy of its `run_trial` made of what is there."""

import copy

import keras
import keras_tuner
import numpy as np
from keras_tuner.src import errors, utils
from keras_tuner.src.backend import keras as keras_again
from keras_tuner.src.engine import base_tuner, tuner, tuner_utils
from keras_tuner.src.engine import trial as trial_module
from keras_tuner.src.engine.hypermodel import HyperModel
from keras_tuner.src.engine.hyperparameters import HyperParameters
from keras_tuner.src.engine.objective import Objective
from keras_tuner.src.engine.oracle import Oracle, synchronized
from keras_tuner.src.tuners import bayesian, gridsearch, hyperband, randomsearch, sklearn_tuner

x, y = np.random.rand(24, 2), np.random.rand(24, 1)


class Copied(keras_tuner.RandomSearch):
    """Trains each configuration on two halves, as copies of the library's own do."""

    def run_trial(self, trial, *args, **kwargs):
        saving = tuner_utils.SaveBestEpoch(
            objective=self.oracle.objective,
            filepath=self._get_checkpoint_fname(trial.trial_id),
        )
        original = kwargs.pop("callbacks", [])
        self.seen, self.batches = [], 0
        histories = []
        for half in (slice(0, 12), slice(12, 24)):
            kwargs_now = copy.copy(kwargs)
            callbacks = self._deepcopy_callbacks(original)
            self._configure_tensorboard_dir(callbacks, trial, 0)
            callbacks.append(tuner_utils.TunerCallback(self, trial))
            callbacks.append(saving)
            kwargs_now["callbacks"] = callbacks
            histories.append(
                self._build_and_fit_model(
                    trial, x[half], y[half], validation_data=(x, y), **kwargs_now
                )
            )
        tuner_utils.validate_trial_results(histories, self.oracle.objective, "run_trial()")
        metrics = tuner_utils.convert_to_metrics_dict(histories, self.oracle.objective)
        metrics["epochs"] = float(len(self.seen))
        metrics["batches"] = float(self.batches)
        metrics["lowest"] = min(min(history.history["val_loss"]) for history in histories)
        return metrics

    def on_epoch_end(self, trial, model, epoch, logs=None):
        self.seen.append(logs["val_loss"])

    def on_batch_end(self, trial, model, batch, logs=None):
        self.batches += 1


def build(hp):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(hp.Int("units", 1, 9))])
    model.add(keras.layers.Dense(1))
    model.compile("sgd", "mse")
    return model


def main(directory, **tuner_options):
    tuner_ = Copied(build, "val_loss", max_trials=2, directory=directory, **tuner_options)
    tuner_.search(epochs=3, batch_size=4, verbose=0)
    trial = tuner_.oracle.get_best_trials()[0]
    loss = tuner_.get_best_models()[0].evaluate(x, y, verbose=0)
    lowest = trial.metrics.get_best_value("lowest")
    hparams = tuner_utils.convert_hyperparams_to_hparams(trial.hyperparameters, _Api)
    utils.create_directory(directory + "/made")
    utils.save_json(directory + "/made/a.json", {"a": [1]})
    try:
        tuner_utils.validate_trial_results({"a": 1}, Objective("b", "min"), "f()")
    except errors.FatalValueError as error:
        refused = "the specified objective" in str(error)
    return {
        "epochs": trial.metrics.get_best_value("epochs"),
        "batches": trial.metrics.get_best_value("batches"),
        "best epoch's weights": bool(np.isclose(loss, lowest, rtol=1e-4)),
        "hparams": [
            [list(key), value == trial.hyperparameters["units"]] for key, value in hparams.items()
        ],
        "json": [utils.load_json(directory + "/made/a.json"), utils.to_list((1, 2))],
        "refused": refused,
        "same": [
            base_tuner.BaseTuner in tuner.Tuner.__mro__,
            trial_module.Trial is keras_tuner.engine.trial.Trial,
            HyperModel is keras_tuner.HyperModel,
            HyperParameters is keras_tuner.HyperParameters,
            Oracle is keras_tuner.Oracle,
            synchronized is keras_tuner.synchronized,
            errors.FailedTrialError is keras_tuner.errors.FailedTrialError,
            keras_again.Model is keras.Model,
            bayesian.BayesianOptimizationOracle is keras_tuner.oracles.BayesianOptimizationOracle,
            gridsearch.GridSearch is keras_tuner.GridSearch,
            hyperband.Hyperband is keras_tuner.Hyperband,
            randomsearch.RandomSearchOracle is keras_tuner.oracles.RandomSearchOracle,
            sklearn_tuner.SklearnTuner is keras_tuner.SklearnTuner,
            keras_tuner.src.engine.trial.TrialStatus.RUNNING,
        ],
    }


class _Api:
    """In the place of TensorBoard's."""

    @staticmethod
    def HParam(name, domain):
        return name, domain

    @staticmethod
    def IntInterval(low, high):
        return low, high
