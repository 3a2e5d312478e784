"""Bags of any size, through estimates, the final training and nested cross validation."""

import keras
import numpy as np
import pytest

import glimr_keras as gk
from glimr_keras.layers import GatedAttentionPooling

RNG = np.random.default_rng(2)
GRADE = RNG.integers(0, 2, 24)
FEATURES = [
    RNG.normal(grade, 1.0, (int(size), 3)).astype("float32")
    for grade, size in zip(GRADE, RNG.integers(2, 21, 24), strict=True)
]
PATIENTS = np.arange(24) // 2


def build(config):
    """Grades a bag, and shows its attention, which is no task."""
    bag, mask = keras.Input((None, 3), name="bag"), keras.Input((None,), dtype="bool", name="mask")
    pooling = GatedAttentionPooling(config.Int("units", 2, 8), return_attention=True)
    pooled, attention = pooling(bag, mask=mask)
    outputs = {
        "grade": keras.layers.Dense(2, "softmax", name="grade")(pooled),
        "attention": keras.layers.Identity(name="attention")(attention),
    }
    model = keras.Model({"bag": bag, "mask": mask}, outputs)
    losses = {"grade": "sparse_categorical_crossentropy", "attention": None}
    model.compile("adam", losses, metrics={"grade": ["accuracy"]}, run_eagerly=True)
    return model


def maker(**given):
    def make(**where):
        settings = {"cv_folds": 2, "seed": 1, "executor": "inline", "max_trials": 1, **given}
        return gk.RandomSearch(build, "val_grade_accuracy", **settings, **where)

    return make


@pytest.fixture(scope="module")
def bags():
    return gk.Bags(FEATURES, {"grade": GRADE}, batch_size=5)


def test_predictions_are_those_of_the_bags_in_their_order(project, bags):
    tuner = maker(keep_predictions=True)(**project)
    tuner.search(bags, groups=PATIENTS, epochs=2, verbose=0)
    found = tuner.out_of_fold_predictions()
    np.testing.assert_array_equal(found.samples, np.arange(24))
    np.testing.assert_array_equal(found.labels["grade"], GRADE)
    assert found.predictions["grade"].shape == (24, 2)
    sizes = np.array([len(each) for each in FEATURES])
    attention = found.predictions["attention"]
    assert attention.shape[1] >= sizes.max()
    for weights, size in zip(attention, sizes, strict=True):
        assert weights[:size].sum() == pytest.approx(1, abs=1e-5)
        assert not weights[size:].any()
    for patient in np.unique(PATIENTS):
        assert len(np.unique(found.folds[patient == PATIENTS])) == 1
    right = found.predictions["grade"].argmax(axis=1) == GRADE
    scores = [right[found.folds == fold].mean() for fold in range(2)]
    assert np.mean(scores) == pytest.approx(tuner.oracle.get_best_trials()[0].score)
    estimate = tuner.estimate(resamples=20)
    assert estimate.samples == 24
    assert 0 <= estimate.low <= estimate.high <= 1


def test_all_bags_are_trained_with_in_the_end(project, bags):
    tuner = maker()(**project)
    tuner.search(bags, epochs=1, verbose=0)
    model = tuner.refit(bags, epochs=2)
    assert model.optimizer.iterations == 2 * 5


def test_outer_folds_are_of_bags(project, bags):
    result = gk.nested_cross_validation(
        maker(), bags, outer_folds=2, groups=PATIENTS, epochs=1, verbose=0, **project
    )
    assert sum(each.samples for each in result.folds) == 24
    assert all(0 <= each.score <= 1 for each in result.folds)
    for patient in np.unique(PATIENTS):
        assert len(np.unique(result.assignment[patient == PATIENTS])) == 1
