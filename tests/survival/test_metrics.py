"""Metrics of all samples together: in any batches, the values are those of scikit-survival."""

import contextlib
import warnings

import keras
import numpy as np
import pytest
from sksurv.metrics import (
    concordance_index_censored,
    concordance_index_ipcw,
)
from sksurv.metrics import (
    integrated_brier_score as other_integrated_brier_score,
)

from glimr_keras.survival import (
    CensoringDistribution,
    ConcordanceIndex,
    CoxPartialLikelihood,
    DiscreteHazard,
    IntegratedBrierScore,
    UnoConcordanceIndex,
    concordance_index,
    discrete_survival,
    integrated_brier_score,
    survival_target,
    time_cuts,
)
from tests.survival.cohorts import Cohort, identity_model, vector_model

TRAIN = Cohort(500, seed=2)
COHORT = Cohort(400)
CENSORING = CensoringDistribution.of(TRAIN.time, TRAIN.event)
TAU = 12.0
TIMES = [2.0, 4, 5, 8, 12]
CUTS = time_cuts(TRAIN.time, TRAIN.event, 6)
LOGITS = (np.random.default_rng(0).normal(size=(400, 6)) + COHORT.risk[:, None] - 1).astype(
    "float32"
)
HARRELL = concordance_index_censored(COHORT.event, COHORT.time, COHORT.risk)[0]
UNO = concordance_index_ipcw(TRAIN.outcome, COHORT.outcome, COHORT.risk, TAU)[0]
SURVIVAL = discrete_survival(LOGITS, CUTS, TIMES)
BRIER = other_integrated_brier_score(TRAIN.outcome, COHORT.outcome, SURVIVAL, TIMES)

JIT = [False, *([True] if keras.backend.backend() != "torch" else [])]


def after(metric, y_true, y_pred, batch=64, sample_weight=None):
    """The metric's value after batches."""
    for begin in range(0, len(y_true), batch):
        rows = slice(begin, begin + batch)
        weight = None if sample_weight is None else sample_weight[rows]
        metric.update_state(y_true[rows], y_pred[rows], weight)
    return float(metric.result())


@contextlib.contextmanager
def warnings_of():
    """What is warned of, among what Keras' own conversions warn of."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield lambda: [str(each.message) for each in caught]


def evaluated(metric, y_true, y_pred, batch=64, jit=False):
    """The metric's value as a model's `evaluate` finds it, and again after what came before."""
    loss = DiscreteHazard(CUTS) if y_pred.shape[1] == len(CUTS) else CoxPartialLikelihood()
    model = identity_model(y_pred.shape[1], loss=loss, metrics=[metric], jit_compile=jit)
    found = [
        model.evaluate(y_pred, y_true, batch_size=batch, verbose=0, return_dict=True)[metric.name]
        for _ in range(2)
    ]
    assert found[0] == found[1]
    return found[0]


@pytest.mark.parametrize("jit", JIT)
@pytest.mark.parametrize("batch", [1, 64, 400])
def test_concordances_are_those_of_scikit_survival(batch, jit):
    if batch == 1 and jit:
        pytest.skip("as with other batches")
    risk = COHORT.risk[:, None]
    found = evaluated(ConcordanceIndex(), COHORT.target, risk, batch, jit)
    assert found == pytest.approx(HARRELL, abs=1e-6)
    found = evaluated(UnoConcordanceIndex(CENSORING, TAU), COHORT.target, risk, batch, jit)
    assert found == pytest.approx(UNO, abs=1e-6)


@pytest.mark.parametrize("jit", JIT)
@pytest.mark.parametrize("batch", [64, 400])
def test_the_brier_score_is_that_of_scikit_survival(batch, jit):
    metric = IntegratedBrierScore(TIMES, CENSORING, CUTS)
    assert evaluated(metric, COHORT.target, LOGITS, batch, jit) == pytest.approx(BRIER, abs=1e-6)


def test_the_brier_score_of_probabilities():
    found = after(IntegratedBrierScore(TIMES, CENSORING), COHORT.target, SURVIVAL)
    assert found == pytest.approx(BRIER, abs=1e-6)


def test_several_thousand_samples():
    """More than are compared at a time, in batches that are larger than that, or not."""
    cohort = Cohort(5000, 4, ties=False)
    expected = concordance_index(cohort.time, cohort.event, cohort.risk)
    for batch in (1500, 5000):
        found = after(ConcordanceIndex(), cohort.target, cohort.risk, batch)
        assert found == pytest.approx(expected, abs=1e-6)
    survival = np.exp(-np.exp(cohort.risk[:, None]) * np.array([0.2, 0.5, 1.0]) / 2)
    censoring = CensoringDistribution.of(cohort.time, cohort.event)
    arguments = [0.2, 0.5, 1.0], censoring
    expected = integrated_brier_score(cohort.time, cohort.event, survival, *arguments)
    for batch in (10, 5000):
        found = after(IntegratedBrierScore(*arguments), cohort.target, survival, batch)
        assert found == pytest.approx(expected, abs=1e-6)


def test_a_mean_over_batches_is_another_number():
    """So that the tests above would see one."""
    batches = [slice(begin, begin + 64) for begin in range(0, 400, 64)]
    mean = np.mean(
        [concordance_index(COHORT.time[at], COHORT.event[at], COHORT.risk[at]) for at in batches]
    )
    assert abs(mean - HARRELL) > 1e-3


def test_discrete_hazards_have_a_risk():
    whole = discrete_survival(LOGITS, CUTS, CUTS)
    expected = concordance_index(COHORT.time, COHORT.event, -whole.sum(axis=1))
    found = after(ConcordanceIndex("discrete_hazard"), COHORT.target, LOGITS)
    assert found == pytest.approx(expected, abs=1e-6)


def test_validation_in_fit_is_of_all_samples():
    model = vector_model(
        np.zeros((400, 1)),
        CoxPartialLikelihood(),
        metrics=[ConcordanceIndex(), UnoConcordanceIndex(CENSORING, TAU)],
    )
    x = np.eye(400, dtype="float32")
    history = model.fit(
        x[:100],
        COHORT.target[:100],
        epochs=2,
        batch_size=50,
        validation_data=(x, COHORT.target),
        validation_batch_size=30,
        verbose=0,
    ).history
    risk = model.get_weights()[0]
    expected = concordance_index(COHORT.time, COHORT.event, risk)
    assert history["val_concordance_index"][-1] == pytest.approx(expected, abs=1e-6)
    assert set(history) >= {"concordance_index", "uno_concordance_index"}
    expected = concordance_index_ipcw(TRAIN.outcome, COHORT.outcome, risk[:, 0], TAU)[0]
    assert history["val_uno_concordance_index"][-1] == pytest.approx(expected, abs=1e-6)


def test_several_outputs_with_labels_that_are_missing():
    inputs = keras.Input((1,))
    outputs = {
        "hazard": keras.layers.Identity(name="hazard")(inputs),
        "sure": keras.layers.Identity(name="sure")(inputs),
    }
    model = keras.Model(inputs, outputs)
    model.compile(
        loss={"hazard": CoxPartialLikelihood(), "sure": "mse"},
        metrics={"hazard": [ConcordanceIndex()]},
    )
    is_known = np.arange(400) % 3 > 0
    target = np.where(is_known[:, None], COHORT.target, np.nan)
    labels = {"hazard": target, "sure": np.zeros((400, 1))}
    found = model.evaluate(COHORT.risk[:, None], labels, verbose=0, return_dict=True)
    expected = concordance_index(
        COHORT.time[is_known], COHORT.event[is_known], COHORT.risk[is_known]
    )
    assert found["hazard_concordance_index"] == pytest.approx(expected, abs=1e-6)
    assert np.isfinite(found["loss"])


def metrics():
    return [
        (ConcordanceIndex(capacity=500), COHORT.risk[:, None]),
        (UnoConcordanceIndex(CENSORING, TAU, capacity=500), COHORT.risk[:, None]),
        (IntegratedBrierScore(TIMES, CENSORING, CUTS), LOGITS),
        (IntegratedBrierScore(TIMES, CENSORING), SURVIVAL.astype("float32")),
    ]


KINDS = pytest.mark.parametrize(
    ("metric", "y_pred"), metrics(), ids=["harrell", "uno", "brier", "probabilities"]
)


@KINDS
def test_weights_count_samples(metric, y_pred):
    """As often as they say: pairs of the same sample are not comparable."""
    weight = np.random.default_rng(0).integers(0, 3, 400)
    metric.reset_state()
    weighted = after(metric, COHORT.target, y_pred, 64, weight)
    metric.reset_state()
    repeated = after(metric, COHORT.target.repeat(weight, 0), y_pred.repeat(weight, 0))
    assert weighted == pytest.approx(repeated, abs=1e-6)
    metric.reset_state()
    assert abs(weighted - after(metric, COHORT.target, y_pred)) > 1e-4


@KINDS
def test_metrics_go_through_files(metric, y_pred):
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(metric))
    copy = type(metric).from_config(metric.get_config() | {"name": "copy"})
    assert type(again) is type(metric)
    assert copy.name == "copy"
    metric.reset_state()
    expected = after(metric, COHORT.target, y_pred)
    assert after(again, COHORT.target, y_pred) == after(copy, COHORT.target, y_pred) == expected


def test_models_with_them_are_saved(tmp_path):
    metrics = [ConcordanceIndex("discrete_hazard"), IntegratedBrierScore(TIMES, CENSORING, CUTS)]
    metrics.append(UnoConcordanceIndex(CENSORING, TAU, "discrete_hazard"))
    model = identity_model(6, loss=DiscreteHazard(CUTS), metrics=metrics)
    expected = model.evaluate(LOGITS, COHORT.target, verbose=0, return_dict=True)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert again.evaluate(LOGITS, COHORT.target, verbose=0, return_dict=True) == expected


def test_half_precision_counts_as_well():
    def values():
        loss = CoxPartialLikelihood()(COHORT.target, COHORT.risk)
        return [float(loss), *(after(each, COHORT.target, y_pred) for each, y_pred in metrics())]

    expected, before = values(), keras.config.floatx()
    keras.config.set_floatx("float16")
    try:
        assert values() == expected
    finally:
        keras.config.set_floatx(before)
    assert ConcordanceIndex(dtype="float16").dtype == "float32"
    assert DiscreteHazard(CUTS, dtype="mixed_float16").dtype == "float32"


@KINDS
def test_what_is_not_known_is_nan(metric, y_pred):
    metric.reset_state()
    assert np.isnan(float(metric.result()))  # nothing has been seen
    broken = y_pred.copy()
    broken[7] = np.nan
    assert np.isnan(after(metric, COHORT.target, broken))
    metric.reset_state()
    assert np.isfinite(after(metric, COHORT.target, y_pred))  # what broke it is forgotten
    metric.reset_state()
    left_out = np.ones(400)
    left_out[7] = 0
    assert np.isfinite(after(metric, COHORT.target, broken, 64, left_out))


def test_an_infinite_risk_is_nan():
    risk = COHORT.risk.copy()
    risk[7] = np.inf
    assert np.isnan(after(ConcordanceIndex(), COHORT.target, risk))


def test_no_comparable_pair_is_nan():
    assert np.isnan(after(ConcordanceIndex(), survival_target([1, 2], [0, 0]), np.ones(2)))


@pytest.mark.parametrize("batch", [64, 400])
def test_more_than_the_capacity_is_nan_and_said(batch):
    metric = ConcordanceIndex(capacity=399)
    with warnings_of() as warned:
        assert np.isnan(after(metric, COHORT.target, COHORT.risk, batch))
    assert any("holds 399 samples and got 400" in said for said in warned())
    metric.reset_state()
    found = after(metric, COHORT.target[:399], COHORT.risk[:399], batch)
    expected = concordance_index(COHORT.time[:399], COHORT.event[:399], COHORT.risk[:399])
    assert found == pytest.approx(expected, abs=1e-6)


def test_more_than_the_capacity_is_said_of_a_compiled_model():
    metric = ConcordanceIndex(capacity=100)
    model = identity_model(loss=CoxPartialLikelihood(), metrics=[metric])
    with warnings_of() as warned:
        found = model.evaluate(COHORT.risk[:, None], COHORT.target, verbose=0, return_dict=True)
    assert any("holds 100 samples and got 400" in said for said in warned())
    assert np.isnan(found["concordance_index"])


def test_samples_that_are_left_out_need_no_capacity():
    metric = ConcordanceIndex(capacity=400)
    target = np.concatenate([np.full((300, 2), np.nan, "float32"), COHORT.target])
    risk = np.concatenate([np.zeros(300, "float32"), COHORT.risk])
    assert after(metric, target, risk) == pytest.approx(HARRELL, abs=1e-6)


def test_uno_is_nan_where_the_training_data_does_not_say():
    censoring = CensoringDistribution.of([1, 2, 3], [0, 1, 1])
    target = survival_target([1, 2, 9], [1, 1, 0])
    risk = np.array([3.0, 2, 1], "float32")
    assert after(UnoConcordanceIndex(censoring), target, risk) == 1
    target = survival_target([1, 5, 9], [1, 1, 0])
    assert np.isnan(after(UnoConcordanceIndex(censoring), target, risk))
    assert after(UnoConcordanceIndex(censoring, tau=5), target, risk) == 1


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="is of TensorFlow")
def test_several_devices_are_refused():
    import tensorflow as tf

    class Strategy:
        num_replicas_in_sync = 2

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tf.distribute, "get_strategy", Strategy)
        for metric, y_pred in metrics():
            with pytest.raises(ValueError, match="each device sees its own samples"):
                metric.update_state(COHORT.target, y_pred)


@pytest.mark.parametrize(
    ("make", "error", "said"),
    [
        (lambda: ConcordanceIndex("time"), ValueError, "`output` must be one of"),
        (lambda: ConcordanceIndex(capacity=0), ValueError, "`capacity` must be an integer"),
        (lambda: ConcordanceIndex(capacity=2**25), ValueError, "`capacity` must be at most"),
        (lambda: UnoConcordanceIndex(TRAIN.target), TypeError, "`censoring` must be a"),
        (lambda: IntegratedBrierScore([1.0], CENSORING), ValueError, "`times` must be at least 2"),
        (
            lambda: IntegratedBrierScore(TIMES, CENSORING, [1.0, 5.0]),
            ValueError,
            "`times` must be from 0 to the last cut",
        ),
        (
            lambda: after(IntegratedBrierScore(TIMES, CENSORING), COHORT.target, LOGITS),
            ValueError,
            "5 outputs for each sample, one for each of `times`",
        ),
        (
            lambda: after(ConcordanceIndex(), COHORT.target, LOGITS),
            ValueError,
            "one output for each sample",
        ),
        (
            lambda: after(ConcordanceIndex("discrete_hazard"), COHORT.target, COHORT.risk),
            ValueError,
            "an output for each interval",
        ),
    ],
)
def test_what_is_refused(make, error, said):
    with pytest.raises(error, match=said):
        make()


# Intervals


def test_intervals_have_about_the_same_number_of_events():
    time, event = np.arange(1, 101), np.arange(100) % 2
    cuts = time_cuts(time, event, 5)
    assert cuts == [20, 40, 60, 80, 100]


def test_intervals_of_frequent_times():
    assert time_cuts([1] * 50 + [2, 3, 4], [1] * 53, 4) == [1, 2, 3, 4]
    assert time_cuts([1, 2, 3] + [4] * 50, [1] * 53, 3) == [2, 3, 4]


def test_more_intervals_than_times_of_events_are_refused():
    with pytest.raises(ValueError, match="num=3, events at 2 times"):
        time_cuts([1, 2, 2, 9], [1, 1, 1, 0], 3)


def test_between_cuts_the_hazard_does_not_change():
    survival = discrete_survival([[0.0, 0.0]], [2.0, 6.0], [0, 1, 2, 4, 6])[0]
    assert survival == pytest.approx([1, 0.5**0.5, 0.5, 0.5**1.5, 0.25])
