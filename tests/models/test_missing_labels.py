"""Losses and metrics of known labels are those of the samples that have one, alone."""

import keras
import numpy as np
import pytest

import glimr_keras as gk
from glimr_keras import survival

RNG = np.random.default_rng(0)
CLASSES = np.array([0, 2, 1, 0, 1, 2])
PROBABILITIES = RNG.dirichlet(np.ones(3), 6).astype("float32")
VALUES = RNG.normal(size=(6, 1)).astype("float32")
OUTPUTS = RNG.normal(size=(6, 1)).astype("float32")
TARGET = survival.survival_target([3, 1, 4, 1, 5, 9], [1, 1, 0, 1, 1, 0])
WEIGHTS = np.array([1.0, 2.0, 0.5, 3.0, 1.0, 4.0], "float32")
KNOWN = np.array([True, False, True, True, False, True])

CASES = {
    "classes": ("sparse_categorical_crossentropy", CLASSES, PROBABILITIES),
    "one-hot": (keras.losses.CategoricalCrossentropy(), np.eye(3)[CLASSES], PROBABILITIES),
    "values": (keras.losses.Huber, VALUES, OUTPUTS),
    "function": (lambda y, found: keras.ops.mean((y - found) ** 2, axis=-1), VALUES, OUTPUTS),
    "cox": (survival.CoxPartialLikelihood(), TARGET, OUTPUTS),
    "hazards": (survival.DiscreteHazard([2.0, 6.0, 8.0]), TARGET, PROBABILITIES),
}


def holed(labels, known=KNOWN):
    labels = np.array(labels, "float32")
    labels[~known] = np.nan
    return labels


def value(tensor):
    return float(keras.ops.convert_to_numpy(tensor))


@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["", "weighted"])
@pytest.mark.parametrize("case", CASES)
def test_the_loss_is_the_mean_over_samples_with_a_label(case, weights):
    loss, labels, outputs = CASES[case]
    masked = gk.MaskedLoss(loss)
    found = masked(holed(labels), outputs, weights)
    alone = gk.MaskedLoss(loss)(
        labels[KNOWN].astype("float32"), outputs[KNOWN], None if weights is None else weights[KNOWN]
    )
    np.testing.assert_allclose(value(found), value(alone), rtol=1e-5)
    if case != "function":
        inner = keras.losses.get(loss) if isinstance(loss, str) else loss
        inner = inner() if isinstance(inner, type) else inner
        if isinstance(inner, keras.losses.Loss):
            usual = inner(
                labels[KNOWN].astype("float32"),
                outputs[KNOWN],
                None if weights is None else weights[KNOWN],
            )
            np.testing.assert_allclose(value(found), value(usual), rtol=1e-5)


def test_another_number_may_stand_for_what_is_missing():
    labels = np.where(KNOWN, CLASSES, -1)
    loss = gk.MaskedLoss("sparse_categorical_crossentropy", missing=-1)
    known = gk.MaskedLoss("sparse_categorical_crossentropy")
    assert value(loss(labels, PROBABILITIES)) == pytest.approx(
        value(known(holed(CLASSES), PROBABILITIES)), rel=1e-6
    )
    metric = gk.MaskedMetric(keras.metrics.SparseCategoricalAccuracy(), missing=-1)
    metric.update_state(labels, PROBABILITIES)
    right = PROBABILITIES.argmax(axis=1) == CLASSES
    assert value(metric.result()) == pytest.approx(right[KNOWN].mean())


@pytest.mark.parametrize(
    ("reduction", "wanted"),
    [
        ("sum", lambda each, weights: (each * weights).sum()),
        ("mean_with_sample_weight", lambda each, weights: (each * weights).sum() / weights.sum()),
        ("sum_over_batch_size", lambda each, weights: (each * weights).sum() / 4),
    ],
)
def test_other_reductions(reduction, wanted):
    loss = gk.MaskedLoss("mse", reduction=reduction)
    each = (VALUES - OUTPUTS)[KNOWN, 0] ** 2
    found = value(loss(holed(VALUES), OUTPUTS, WEIGHTS))
    assert found == pytest.approx(wanted(each, WEIGHTS[KNOWN]), rel=1e-5)
    each = keras.ops.convert_to_numpy(gk.MaskedLoss("mse", reduction=None)(holed(VALUES), OUTPUTS))
    assert (each > 0).tolist() == KNOWN.tolist()


def test_a_sequence_has_a_label_or_none():
    labels, outputs = (RNG.normal(size=(6, 5, 2)).astype("float32") for _ in range(2))
    found = gk.MaskedLoss("mse")(holed(labels), outputs)
    np.testing.assert_allclose(value(found), ((labels - outputs)[KNOWN] ** 2).mean(), rtol=1e-5)


@pytest.mark.parametrize("case", CASES)
def test_a_batch_without_labels_has_no_loss_and_no_gradients(case):
    loss, labels, _ = CASES[case]
    columns = 1 if case in ("values", "function", "cox") else 3
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(columns, name="made")])
    model.compile("sgd", gk.MaskedLoss(loss))
    before = model.get_weights()
    x = np.ones((6, 4), "float32")
    history = model.fit(x, holed(labels, np.zeros(6, bool)), verbose=0)
    assert history.history["loss"] == [0.0]
    assert all(map(np.array_equal, before, model.get_weights()))


METRICS = {
    "accuracy": (keras.metrics.SparseCategoricalAccuracy, CLASSES, PROBABILITIES),
    "auc": ("AUC", (CLASSES > 0)[:, None].astype("float32"), PROBABILITIES[:, :1]),
    "rmse": (keras.metrics.RootMeanSquaredError(name="root"), VALUES, OUTPUTS),
    "mae": ("mean_absolute_error", VALUES, OUTPUTS),
    "concordance": (survival.ConcordanceIndex(), TARGET, OUTPUTS),
}


@pytest.mark.parametrize("case", METRICS)
def test_a_metric_is_that_of_the_samples_with_a_label_over_batches(case):
    metric, labels, outputs = METRICS[case]
    masked, alone = gk.MaskedMetric(metric), gk.MaskedMetric(metric)
    alone.update_state(labels[KNOWN].astype("float32"), outputs[KNOWN])
    for _ in range(2):  # and again after a reset
        for batch in (slice(0, 2), slice(2, 6), slice(0, 0)):
            if batch.stop:
                masked.update_state(holed(labels)[batch], outputs[batch])
        assert value(masked.result()) == pytest.approx(value(alone.result()), rel=1e-5)
        masked.reset_state()
    assert gk.MaskedMetric("mae").name in ("mae", "mean_absolute_error")


def test_a_metric_keeps_its_direction_and_name():
    assert gk.MaskedMetric(survival.ConcordanceIndex())._direction == "up"
    assert gk.MaskedMetric(keras.metrics.AUC(name="mine")).name == "mine"
    assert gk.MaskedMetric("AUC", name="other").name == "other"
    metric = keras.metrics.AUC()
    assert gk.MaskedMetric(metric).metric is not metric  # which holds state


def test_they_are_made_again_of_their_configurations(tmp_path):
    inputs = keras.Input((4,))
    outputs = {
        "grade": keras.layers.Dense(3, activation="softmax", name="grade")(inputs),
        "time": keras.layers.Dense(1, name="time")(inputs),
    }
    model = keras.Model(inputs, outputs)
    model.compile(
        "sgd",
        {
            "grade": gk.MaskedLoss("sparse_categorical_crossentropy", missing=-1),
            "time": gk.MaskedLoss(survival.CoxPartialLikelihood("breslow")),
        },
        metrics={
            "grade": [gk.MaskedMetric(keras.metrics.SparseCategoricalAccuracy(), missing=-1)],
            "time": [gk.MaskedMetric("AUC"), gk.MaskedMetric(survival.ConcordanceIndex())][1:],
        },
    )
    x = RNG.normal(size=(6, 4)).astype("float32")
    y = {"grade": np.where(KNOWN, CLASSES, -1), "time": holed(TARGET)}
    model.fit(x, y, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    found, wanted = (each.evaluate(x, y, verbose=0, return_dict=True) for each in (loaded, model))
    assert found == pytest.approx(wanted)
    assert set(found) >= {"grade_sparse_categorical_accuracy", "time_concordance_index"}


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: gk.MaskedLoss("no_loss"), ValueError, "`loss` must be one of Keras"),
        (lambda: gk.MaskedLoss(3), TypeError, "`loss` must be a loss of Keras"),
        (lambda: gk.MaskedMetric("accuracy"), ValueError, "Keras chooses by shapes"),
        (lambda: gk.MaskedMetric(keras.losses.Huber), TypeError, "`metric` must be a metric"),
        (lambda: gk.MaskedLoss("mse", missing="none"), ValueError, "`missing` must be a number"),
        (lambda: gk.MaskedLoss("mse", missing=float("nan")), ValueError, "nan always does"),
    ],
)
def test_what_is_none_is_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()
