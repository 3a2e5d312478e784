"""Cross validation as people add it: a tuner whose `run_trial` trains a model for each fold, and
returns the mean or a list.
"""

import keras
import keras_tuner
import numpy as np
from sklearn.model_selection import KFold

x = np.random.rand(60, 3)
y = (x.sum(axis=1) > 1.5).astype("float32")


class CVTuner(keras_tuner.Tuner):
    def run_trial(self, trial, x, y, batch_size=32, epochs=1, splits=3):
        val_losses, accuracies = [], []
        for train_indices, test_indices in KFold(splits).split(x):
            model = self.hypermodel.build(trial.hyperparameters)
            model.fit(
                x[train_indices], y[train_indices], batch_size=batch_size, epochs=epochs, verbose=0
            )
            loss, accuracy = model.evaluate(x[test_indices], y[test_indices], verbose=0)
            val_losses.append(loss)
            accuracies.append(accuracy)
        return {"val_loss": np.mean(val_losses), "val_accuracy": np.mean(accuracies)}


class Folds(keras_tuner.RandomSearch):
    def run_trial(self, trial, *args, **kwargs):
        kwargs.pop("verbose", None)
        return [super(Folds, self).run_trial(trial, *args, **kwargs)[0] for _ in range(2)]


def build_model(hp):
    model = keras.Sequential([keras.layers.Dense(hp.Int("units", 2, 20), activation="relu")])
    model.add(keras.layers.Dense(1, activation="sigmoid"))
    model.compile("adam", "binary_crossentropy", metrics=["accuracy"])
    return model


def main(directory, **tuner_options):
    tuner = CVTuner(
        hypermodel=build_model,
        oracle=keras_tuner.oracles.BayesianOptimizationOracle(objective="val_loss", max_trials=2),
        directory=directory,
        project_name="cv",
        **tuner_options,
    )
    tuner.search(x, y, batch_size=16, epochs=1, splits=2)
    folds = Folds(
        build_model,
        "val_accuracy",
        max_trials=2,
        directory=directory,
        project_name="folds",
        **tuner_options,
    )
    folds.search(x, y, validation_split=0.5, epochs=1, verbose=0)
    trial, other = tuner.oracle.get_best_trials()[0], folds.oracle.get_best_trials()[0]
    return {
        "statuses": [
            t.status for t in [*tuner.oracle.trials.values(), *folds.oracle.trials.values()]
        ],
        "metrics": [sorted(trial.metrics.metrics), sorted(other.metrics.metrics)],
        "directions": [
            trial.metrics.get_direction("val_loss"),
            trial.metrics.get_direction("val_accuracy"),
        ],
        "model": list(tuner.hypermodel.build(tuner.get_best_hyperparameters()[0])(x[:2]).shape),
        "scores": [isinstance(trial.score, float), 0 <= other.score <= 1],
        "names": sorted(trial.hyperparameters.values),
    }
