"""Objectives that are named after the metrics and losses of this room have their directions."""

import keras
import numpy as np
import pytest

import glimr_keras as gk
from glimr_keras.survival import (
    CensoringDistribution,
    ConcordanceIndex,
    CoxPartialLikelihood,
    DiscreteHazard,
    IntegratedBrierScore,
    UnoConcordanceIndex,
    survival_folds,
    uno_concordance_index,
)
from glimr_keras.trials.metric_directions import (
    _OF_SURVIVAL,
    infer_direction,
    log_directions,
    metric_direction,
)
from glimr_keras.trials.objective import create_objective
from tests.survival.cohorts import Cohort, identity_model

COHORT = Cohort(120)
CENSORING = CensoringDistribution.of(COHORT.time, COHORT.event)
METRICS = [
    ConcordanceIndex(),
    UnoConcordanceIndex(CENSORING),
    IntegratedBrierScore([1.0, 5.0], CENSORING),
]
LOSSES = [CoxPartialLikelihood(), DiscreteHazard([1.0])]


def test_names_tell_what_the_metrics_say():
    directions = {metric.name: metric_direction(metric) for metric in METRICS}
    directions |= {loss.name: "min" for loss in LOSSES}
    assert {name.replace("_", "") for name in directions} == set(_OF_SURVIVAL)
    for name, direction in directions.items():
        assert direction
        assert infer_direction(name) == infer_direction(f"val_{name}") == direction
        assert create_objective(f"val_{name}").direction == direction


def test_a_compiled_model_tells_it_whatever_a_metric_is_called():
    metrics = [ConcordanceIndex(name="c"), IntegratedBrierScore([1.0, 5.0], CENSORING, name="b")]
    model = identity_model(2, loss=DiscreteHazard([1.0, 5.0]), metrics=metrics)
    assert log_directions(model, ["val_c", "val_b", "val_loss"]) == {
        "val_c": "max",
        "val_b": "min",
        "val_loss": "min",
    }


def build(config):
    """A model whose one weight is turned round in half of the trials."""
    sign = config.Choice("sign", [-1.0, 1.0])
    scale = keras.layers.Dense(
        1, use_bias=False, kernel_initializer=keras.initializers.Constant(sign), trainable=False
    )
    trained = keras.layers.Dense(1, kernel_initializer="zeros")
    inputs = keras.Input((1,))
    outputs = keras.layers.Add()([scale(inputs), trained(0.0 * inputs)])
    model = keras.Model(inputs, outputs)
    model.compile("sgd", CoxPartialLikelihood(), metrics=[ConcordanceIndex(capacity=120)])
    return model


@pytest.mark.parametrize("objective", ["val_concordance_index", "val_loss"])
def test_a_search_finds_the_better_sign(project, objective):
    tuner = gk.GridSearch(build, objective, executor="inline", cv_folds=3, seed=0, **project)
    tuner.search(
        COHORT.risk[:, None],
        COHORT.target,
        folds=survival_folds(COHORT.time, COHORT.event, 3, 0),
        batch_size=60,
        epochs=1,
        verbose=0,
    )
    table = tuner.results_dataframe()
    assert tuner.get_best_hyperparameters()[0]["sign"] == 1
    best = table["score"].max() if objective != "val_loss" else table["score"].min()
    assert table.loc[table["sign"] == 1, "score"].item() == best
    assert np.isfinite(table["score"]).all()


@pytest.mark.parametrize("executor", ["inline", "ray"])
def test_a_tuner_takes_losses_and_metrics(project, executor, request):
    """They go to the workers and are made anew there."""
    if executor == "ray":
        request.getfixturevalue("local_ray")
    tuner = gk.GridSearch(
        build,
        "val_uno_concordance_index",
        loss=CoxPartialLikelihood("breslow"),
        metrics=[UnoConcordanceIndex(CENSORING, tau=20.0, capacity=120)],
        executor=executor,
        seed=0,
        **project,
    )
    data = COHORT.risk[:, None], COHORT.target
    tuner.search(*data, validation_data=data, batch_size=50, epochs=1, verbose=0)
    expected = uno_concordance_index(COHORT.time, COHORT.event, COHORT.risk, CENSORING, 20.0)
    assert tuner.results_dataframe()["score"].max() == pytest.approx(expected, abs=1e-6)
