"""Tunes a multi-task survival network on two cohorts, and compares it with a Cox model on the same
cross-validation folds.

    pip install -e '.[survival]'
    python examples/survival.py

It takes five minutes or so on two cores; `--cohort gbsg2` runs one cohort only, `--trials 40`
searches longer, and `--quick` needs one or two. Nothing is downloaded: both cohorts come with
scikit-survival.

- `gbsg2`: 686 women with breast cancer; the event is recurrence or death.
- `flchain`: 3,000 of 7,874 people whose immunoglobulin light chains were measured; the event is
  death. (Its column `chapter`, the cause of death, is left out: it is known only when someone has
  died.)

The network has two tasks. *hazard* is the log hazard of the Cox model, and is trained with its
partial likelihood. *horizon* is the probability that the event happens within some years. Those who
were censored earlier do not say; the others stand for them, by weights. The space is declared as in
glimr: `tasks`, `optimization`, and the layers. No hidden layer is one of the options, and with it
*hazard* is a Cox model.

What is measured is Harrell's concordance, on five folds with the same events and times. What is
fitted before the training (imputation, scaling, the weights of censoring) is fitted on the training
part of each fold. All networks of a cohort are trained for the same number of epochs, and validated
after the last: no epoch is chosen by the data on which it is measured. The configuration is, as the
best of many, which flatters it a little. So the best one is trained again, and the Cox model with
it, on five new folds of the same people, which no choice was made by. The script ends with exit
code 1 if the network's concordance is below the Cox model's by more than 0.01, on either folds.
"""

import argparse
import dataclasses
import sys
import tempfile
import time

import glimr_keras as gk
import keras
import numpy as np
from keras import ops
from ray import tune
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler
from sksurv.datasets import load_flchain, load_gbsg2
from sksurv.linear_model import CoxPHSurvivalAnalysis
from sksurv.metrics import concordance_index_censored
from sksurv.util import Surv

FOLDS = 5
TOLERANCE = 0.01
YEAR = 365.25


# The cohorts


@dataclasses.dataclass(frozen=True)
class Cohort:
    """People with their covariates and outcomes.

    Attributes:
        covariates: A pandas frame; numbers, all positive, and categories.
        days: Until the event, or until the person was last seen; shape (people,).
        events: Whether it was the event; shape (people,), bool.
        horizon: Days, for the second task.
        epochs, batch_size: How networks are trained on it. A partial likelihood compares people
            within a batch, so it is large, and none is much smaller than the others.
    """

    name: str
    covariates: object
    days: np.ndarray
    events: np.ndarray
    horizon: float
    epochs: int
    batch_size: int


def load(name):
    if name == "gbsg2":
        covariates, outcome = load_gbsg2()
        return Cohort(
            name,
            covariates,
            outcome["time"],
            outcome["cens"],
            horizon=2 * YEAR,
            epochs=20,
            batch_size=183,
        )
    covariates, outcome = load_flchain()
    chosen = np.random.default_rng(0).choice(
        len(covariates), 3000, replace=False
    )  # so that it takes minutes
    covariates, outcome = covariates.drop(columns="chapter").iloc[chosen], outcome[chosen]
    return Cohort(
        name,
        covariates,
        outcome["futime"],
        outcome["death"],
        horizon=10 * YEAR,
        epochs=12,
        batch_size=400,
    )


def split(cohort, seed):
    """The folds: a list of `(train, validation)`, each `(x, y)` with the labels of both tasks."""
    parts = gk.survival.survival_folds(cohort.days, cohort.events, FOLDS, seed)
    return [
        prepare(cohort, np.flatnonzero(parts != fold), np.flatnonzero(parts == fold))
        for fold in range(FOLDS)
    ]


def prepare(cohort, train, validation):
    """One fold; whatever is fitted is fitted on its training part."""
    numbers = make_pipeline(
        SimpleImputer(strategy="median"), FunctionTransformer(np.log1p), StandardScaler()
    )
    categories = OneHotEncoder(drop="first", handle_unknown="ignore", sparse_output=False)
    transformer = make_column_transformer(
        (numbers, make_column_selector(dtype_include="number")),
        (categories, make_column_selector(dtype_include="category")),
    )
    transformer.fit(cohort.covariates.iloc[train])
    censoring = gk.survival.CensoringDistribution.of(cohort.days[train], cohort.events[train])

    def part(people):
        days, events = cohort.days[people], cohort.events[people]
        happened = events & (days <= cohort.horizon)
        known = happened | (days > cohort.horizon)
        seen = censoring.at(
            np.minimum(days, cohort.horizon)
        )  # the share that is not censored until then
        labels = {
            "hazard": gk.survival.survival_target(days, events),
            "horizon": np.stack([happened, known / seen], axis=1).astype("float32"),
        }
        return transformer.transform(cohort.covariates.iloc[people]).astype("float32"), labels

    return part(train), part(validation)


# The loss and metric of the second task; labels have shape (batch, 2), outputs (batch, 1)


class HorizonLoss(keras.losses.Loss):
    """Cross-entropy; labels are whether the event happened, and a weight, 0 where that is not
    known.
    """

    def call(self, y_true, y_pred):
        return y_true[:, 1] * ops.binary_crossentropy(y_true[:, :1], y_pred)[:, 0]


class HorizonAUC(keras.metrics.AUC):
    """The area under the ROC curve, with the same weights."""

    def update_state(self, y_true, y_pred, sample_weight=None):
        super().update_state(y_true[:, :1], y_pred, sample_weight=y_true[:, 1])


# The network and its search


class SurvivalNetwork(gk.HyperModel):
    """Two tasks on shared layers, of which there may be none."""

    def __init__(self, folds, epochs):
        self.folds, self.epochs = folds, epochs

    def space(self):
        return {
            "shared": tune.choice(
                [
                    {"name": "none", "layers": 0},
                    {
                        "name": "layers",
                        "layers": tune.randint(1, 3),
                        "units": tune.choice([8, 16, 32]),
                        "activation": tune.choice(["relu", "gelu", "tanh"]),
                        "dropout": tune.uniform(0.0, 0.5),
                    },
                ]
            ),
            "l2": tune.loguniform(1e-5, 1e-1),
            "tasks": {
                "hazard": {
                    "loss": {"name": "cox", "loss": gk.survival.CoxPartialLikelihood},
                    "loss_weight": 1.0,
                    "metrics": {
                        "name": "concordance_index",
                        "metric": gk.survival.ConcordanceIndex,
                    },
                },
                "horizon": {
                    "loss": {"name": "weighted_crossentropy", "loss": HorizonLoss},
                    "loss_weight": tune.uniform(0.0, 1.0),
                    "metrics": {"name": "auc", "metric": HorizonAUC},
                },
            },
            "optimization": gk.optimization_space(
                epochs=self.epochs,
                method="adam",
                learning_rate=tune.loguniform(1e-2, 1e-1),
                beta_1=0.9,
                beta_2=0.999,
            ),
        }

    def data(self, config):
        return self.folds[config.fold]

    def build(self, config):
        def dense(units, **kwargs):
            return keras.layers.Dense(
                units, kernel_regularizer=keras.regularizers.L2(config["l2"]), **kwargs
            )

        (x, _), _ = self.folds[0]
        inputs = hidden = keras.Input(x.shape[1:])
        shared = config["shared"]
        for _ in range(shared["layers"]):
            hidden = dense(shared["units"], activation=shared["activation"])(hidden)
            hidden = keras.layers.Dropout(shared["dropout"])(hidden)
        outputs = {  # which begin with the same for everyone
            "hazard": dense(1, kernel_initializer="zeros", use_bias=False, name="hazard")(hidden),
            "horizon": dense(1, kernel_initializer="zeros", activation="sigmoid", name="horizon")(
                hidden
            ),
        }
        model = keras.Model(inputs, outputs)
        return model, *gk.keras_losses(config), gk.keras_metrics(config)


COX = {
    "shared": {"name": "none", "layers": 0},
    "l2": 1e-3,
    "tasks": {"horizon": {"loss_weight": 0.0}},
    "optimization": {"learning_rate": 0.03},
}
"""A configuration that is tried first: a Cox model."""


def search(cohort, folds, trials, first, directory):
    """Trains each configuration on every fold; its score is the mean. `first` is tried first."""
    tuner = gk.BayesianOptimization(
        SurvivalNetwork(folds, cohort.epochs),
        objective="val_hazard_concordance_index",
        max_trials=trials,
        cv_folds=FOLDS,
        initial_points=[first],
        directory=directory,
        seed=0,
    )
    # Validation is after the last epoch only
    tuner.search(batch_size=cohort.batch_size, validation_freq=cohort.epochs)
    return tuner


# The comparison


def concordance(labels, risk):
    return concordance_index_censored(
        labels["hazard"][:, 1] > 0, labels["hazard"][:, 0], np.ravel(risk)
    )[0]


def of_cox(folds):
    """The concordance of scikit-survival's Cox model on each fold."""
    scores = []
    for (x, y), (x_validation, y_validation) in folds:
        outcome = Surv.from_arrays(y["hazard"][:, 1] > 0, y["hazard"][:, 0])
        model = CoxPHSurvivalAnalysis(alpha=1e-4, ties="efron").fit(x, outcome)
        scores.append(concordance(y_validation, model.predict(x_validation)))
    return np.array(scores)


def of_best(tuner, folds):
    """The best configuration's concordance on each fold, as scikit-survival finds it."""
    models = tuner.get_best_models()  # one for each fold
    pairs = zip(models, folds, strict=True)
    return np.array(
        [concordance(y, ops.convert_to_numpy(model(x)["hazard"])) for model, (_, (x, y)) in pairs]
    )


def compare(name, trials, directory):
    """Prints the comparison on one cohort, and returns what is wrong with it, if anything."""
    started = time.monotonic()
    cohort = load(name)
    folds, new_folds = split(cohort, seed=0), split(cohort, seed=1)
    tuner = search(cohort, folds, trials, COX, f"{directory}/{name}")
    best = tuner.get_best_hyperparameters()[0].values
    again = search(cohort, new_folds, 1, best, f"{directory}/{name}_again")
    cox, network = (
        [of_cox(folds), of_cox(new_folds)],
        [of_best(tuner, folds), of_best(again, new_folds)],
    )

    print(
        f"\n{name}: {len(cohort.days)} people, {cohort.events.sum()} events, horizon "
        f"{cohort.horizon / YEAR:.0f} years"
    )
    print(f"{'concordance, mean ± std of five folds':38}{'tuned on':18}new")
    for what, scores in (
        ("Cox model (scikit-survival)", cox),
        ("network, best configuration", network),
    ):
        print(
            f"{what:38}" + "   ".join(f"{found.mean():.4f} ± {found.std():.4f}" for found in scores)
        )
    horizon = gk.config_table(gk.experiment_table(again), "val_horizon_auc")[
        "mean_val_horizon_auc"
    ][0]
    print(f"AUC of the network's second task, on the new folds: {horizon:.4f}")
    print(
        "best configuration: " + ", ".join(f"{key}={shown(value)}" for key, value in best.items())
    )
    print(f"{len(tuner.results_dataframe())} configurations, {time.monotonic() - started:.0f} s\n")

    for of_network, of_cox_model, finished in zip(network, cox, (tuner, again), strict=True):
        reported = finished.results_dataframe()["score"].max()
        if abs(reported - of_network.mean()) > 1e-4:
            return (
                f"{name}: the tuner reports a concordance of {reported:.5f}, scikit-survival "
                f"{of_network.mean():.5f}."
            )
        if of_network.mean() < of_cox_model.mean() - TOLERANCE:
            return (
                f"{name}: the network's concordance, {of_network.mean():.4f}, is below the Cox "
                f"model's, {of_cox_model.mean():.4f}, by more than {TOLERANCE}."
            )
    return None


def shown(value):
    return f"{value:.3g}" if isinstance(value, float) else value


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cohort", choices=["gbsg2", "flchain"], help="only this one")
    parser.add_argument("--trials", type=int, help="configurations for each cohort, by default 16")
    parser.add_argument("--quick", action="store_true", help="2 configurations each")
    given = parser.parse_args()
    trials = given.trials or (2 if given.quick else 16)
    with tempfile.TemporaryDirectory() as directory:
        names = [given.cohort] if given.cohort else ["gbsg2", "flchain"]
        problems = [compare(name, trials, directory) for name in names]
    sys.exit("\n".join(filter(None, problems)) or None)
