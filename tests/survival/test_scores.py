"""Scores and distributions of whole arrays are those of scikit-survival."""

import numpy as np
import pytest
from sksurv.linear_model.coxph import BreslowEstimator
from sksurv.metrics import (
    brier_score as other_brier_score,
)
from sksurv.metrics import (
    concordance_index_censored,
    concordance_index_ipcw,
)
from sksurv.metrics import (
    integrated_brier_score as other_integrated_brier_score,
)
from sksurv.nonparametric import CensoringDistributionEstimator

from glimr_keras.survival import (
    CensoringDistribution,
    breslow_survival,
    brier_score,
    concordance_index,
    integrated_brier_score,
    survival_target,
    uno_concordance_index,
)
from tests.survival.cohorts import Cohort

TRAIN = Cohort(500, seed=2)
COHORT = Cohort(400)
CENSORING = CensoringDistribution.of(TRAIN.time, TRAIN.event)
TIMES = np.array([2.0, 4, 5, 8, 12])
SURVIVAL = np.exp(-np.exp(COHORT.risk[:, None].astype(float)) * TIMES / 15)


@pytest.mark.parametrize("ties", [True, False])
@pytest.mark.parametrize("seed", range(3))
def test_harrells_concordance(seed, ties):
    cohort = Cohort(400, seed, ties)
    expected = concordance_index_censored(cohort.event, cohort.time, cohort.risk)[0]
    found = concordance_index(cohort.time, cohort.event, cohort.risk[:, None])
    assert found == pytest.approx(expected, abs=1e-12)


def test_a_concordance_by_hand():
    # comparable: (0, 1), (0, 2), (0, 3), (1, 3), since 2 is censored when 1 has the event: (1, 2)
    assert concordance_index([1, 2, 2, 3], [1, 1, 0, 0], [4, 2, 3, 2]) == (3 + 0 + 0.5) / 5


def test_concordance_in_parts_is_that_in_one(monkeypatch):
    whole = concordance_index(COHORT.time, COHORT.event, COHORT.risk)
    monkeypatch.setattr("glimr_keras.survival.scores._PAIRS", 1000)
    assert concordance_index(COHORT.time, COHORT.event, COHORT.risk) == pytest.approx(whole)


@pytest.mark.parametrize("ties", [True, False])
@pytest.mark.parametrize("tau", [4.0, 8.0, 12.0])
def test_unos_concordance(ties, tau):
    train, cohort = Cohort(500, 2, ties), Cohort(400, 0, ties)
    tau = tau if ties else tau / 10
    expected = concordance_index_ipcw(train.outcome, cohort.outcome, cohort.risk, tau)[0]
    censoring = CensoringDistribution.of(train.time, train.event)
    found = uno_concordance_index(cohort.time, cohort.event, cohort.risk, censoring, tau)
    assert found == pytest.approx(expected, abs=1e-12)


def test_unos_concordance_of_the_training_data_itself():
    expected = concordance_index_ipcw(COHORT.outcome, COHORT.outcome, COHORT.risk)[0]
    censoring = CensoringDistribution.of(COHORT.time, COHORT.event)
    found = uno_concordance_index(COHORT.time, COHORT.event, COHORT.risk, censoring)
    assert found == pytest.approx(expected, abs=1e-12)


def test_brier_scores():
    expected = other_brier_score(TRAIN.outcome, COHORT.outcome, SURVIVAL, TIMES)[1]
    found = brier_score(COHORT.time, COHORT.event, SURVIVAL, TIMES, CENSORING)
    assert found == pytest.approx(expected, abs=1e-12)
    expected = other_integrated_brier_score(TRAIN.outcome, COHORT.outcome, SURVIVAL, TIMES)
    found = integrated_brier_score(COHORT.time, COHORT.event, SURVIVAL, TIMES, CENSORING)
    assert found == pytest.approx(expected, abs=1e-12)


def test_the_distribution_of_censoring():
    other = CensoringDistributionEstimator().fit(TRAIN.outcome)
    at = np.concatenate([TRAIN.time, [0.0, 0.5, 3.5]])
    assert CENSORING.at(at) == pytest.approx(other.predict_proba(at), abs=1e-12)


def test_the_distribution_of_censoring_without_any():
    assert (CensoringDistribution.of([1, 2], [1, 1]).at([0, 1, 2]) == 1).all()


def test_behind_the_training_data_nobody_knows():
    assert np.isnan(CensoringDistribution.of([1, 2, 3], [0, 1, 1]).at(4.0))
    assert CensoringDistribution.of([1, 2, 3], [1, 1, 0]).at(4.0) == 0


def test_the_survival_functions_of_a_cox_model():
    estimator = BreslowEstimator().fit(TRAIN.risk.astype(float), TRAIN.event, TRAIN.time)
    functions = estimator.get_survival_function(COHORT.risk.astype(float))
    expected = np.array([function(TIMES) for function in functions])
    found = breslow_survival(
        TRAIN.time, TRAIN.event, TRAIN.risk[:, None], COHORT.risk[:, None], TIMES
    )
    assert found == pytest.approx(expected, abs=1e-9)


def test_survival_functions_with_large_hazards():
    found = breslow_survival([1, 2, 3], [1, 1, 1], [900, 850, 800], [900, 0], [0.5, 1, 5])
    assert found[0, :2] == pytest.approx([1, np.exp(-1)])
    assert (found[1] == 1).all()
    assert found[0, 2] == 0


@pytest.mark.parametrize(
    ("score", "said"),
    [
        (lambda: concordance_index([1, 2], [0, 0], [1, 2]), "No pair is comparable"),
        (lambda: concordance_index([1, 2], [1, 1], [1, np.nan]), "`risk` must be finite"),
        (lambda: concordance_index([1, 2], [1, 1], [1, 2, 3]), "one value for each of 2"),
        (lambda: concordance_index([1, 2], [1], [1, 2]), "must have one shape"),
        (lambda: concordance_index([], [], []), "at least one sample"),
        (lambda: concordance_index([1, np.nan], [1, 1], [1, 2]), "`time` must be finite"),
        (
            lambda: uno_concordance_index([1, 99], [1, 1], [1, 2], CENSORING),
            "Give a `tau` before it",
        ),
        (
            lambda: brier_score(COHORT.time, COHORT.event, SURVIVAL[:, :2], TIMES, CENSORING),
            "`survival` must be finite and have shape",
        ),
        (
            lambda: brier_score(COHORT.time, COHORT.event, SURVIVAL, TIMES[::-1], CENSORING),
            "`times` must ascend",
        ),
        (
            lambda: integrated_brier_score([1], [1], [[1]], [1.0], CENSORING),
            "`times` must be at least 2",
        ),
        (
            lambda: brier_score([1], [1], [[1]], [9], CensoringDistribution.of([1, 2], [0, 1])),
            "`times` must not be behind",
        ),
        (lambda: breslow_survival([1, 2], [1, 1], [1], [1], [1]), "one value for each sample"),
        (lambda: breslow_survival([1], [1], [np.inf], [1], [1]), "must be finite"),
    ],
)
def test_what_is_refused(score, said):
    with pytest.raises(ValueError, match=said):
        score()


# Targets


def test_targets_are_time_and_event():
    found = survival_target([3, 1.5], [True, False])
    assert found.dtype == "float32"
    assert found.tolist() == [[3, 1], [1.5, 0]]


def test_targets_that_are_missing_are_nan_in_both_columns():
    found = survival_target([3, np.nan, 2], [1, 1, np.nan], missing=True)
    assert np.isnan(found).tolist() == [[False, False], [True, True], [True, True]]


@pytest.mark.parametrize(
    ("time", "event", "said"),
    [
        ([1, -1], [1, 1], "`time` must be finite and at least 0"),
        ([1, np.inf], [1, 1], "`time` must be finite and at least 0"),
        ([1, 2], [1, 2], "`event` must be 1 where"),
        ([1, np.nan], [1, 1], "With `missing=True`"),
        ([[1, 2]], [[1, 1]], r"must have one shape, \(samples,\)"),
    ],
)
def test_targets_that_are_refused(time, event, said):
    with pytest.raises(ValueError, match=said):
        survival_target(time, event)


def test_times_that_become_ties_are_warned_of():
    with pytest.warns(UserWarning, match="1 different times are the same as others in float32"):
        survival_target([1000, 1000.00001, 1001], [1, 1, 1])
