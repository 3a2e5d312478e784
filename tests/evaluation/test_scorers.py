"""Scores of resamples: all at once, and as one after another."""

import numpy as np
import pytest

from glimr_keras import survival
from glimr_keras.evaluation.scorers import (
    MeanOfSamples,
    OneByOne,
    SharedPairs,
    survival_pairs,
    taken,
)


@pytest.fixture
def generator():
    return np.random.default_rng(3)


def test_a_mean_of_samples_counts_them_as_often_as_they_were_drawn(generator):
    labels, outputs = generator.normal(size=(2, 30))
    counts = generator.integers(0, 3, size=(7, 30)).astype(float)

    def squared(labels, outputs):
        return (labels - outputs) ** 2

    found = MeanOfSamples(squared).scores(labels, outputs, counts)
    expected = OneByOne(lambda *of: squared(*of).mean()).scores(labels, outputs, counts)
    np.testing.assert_allclose(found, expected)


@pytest.mark.parametrize("kind", [MeanOfSamples, OneByOne])
def test_nothing_drawn_is_no_score(kind):
    def metric(labels, outputs):
        assert len(labels)
        return labels

    found = kind(metric).scores(np.ones(3), np.ones(3), np.zeros((1, 3)))
    assert np.isnan(found).tolist() == [True]


@pytest.mark.parametrize("columns", [(), (1,)])
def test_pairs_are_those_of_harrells_concordance(generator, columns):
    size = 40
    time = generator.integers(1, 15, size)  # with ties
    event = generator.integers(0, 2, size)
    risk = generator.integers(0, 9, (size, *columns)) / 3
    counts = generator.integers(0, 3, size=(9, size)).astype(float)

    def concordance(labels, outputs):
        return survival.concordance_index(labels[:, 0], labels[:, 1], outputs)

    labels = np.stack([time, event], axis=1).astype("float32")
    found = SharedPairs(survival_pairs).scores(labels, risk, counts)
    expected = OneByOne(concordance).scores(labels, risk, counts)
    np.testing.assert_allclose(found, expected)


def test_samples_without_a_time_or_event_are_in_no_pair():
    labels = np.array([[1, 1], [2, 1], [np.nan, 1], [3, np.nan], [np.nan, np.nan]], "float32")
    comparable, concordant = survival_pairs(labels, np.array([2, 1, 3, 0, 0]))
    assert np.argwhere(comparable).tolist() == [[0, 1]]
    assert concordant.sum() == 1


def test_a_metric_that_is_not_defined_is_no_score():
    def fussy(labels, outputs):
        if len(np.unique(labels)) < 2:
            raise ValueError("one class only")
        return 1.0

    counts = np.array([[1, 1], [2, 0]])
    found = OneByOne(fussy).scores(np.array([0, 1]), np.zeros(2), counts)
    np.testing.assert_array_equal(found, [1.0, np.nan])


def test_other_errors_of_a_metric_are_the_users():
    with pytest.raises(KeyError):
        OneByOne(lambda labels, outputs: {}[0]).scores(np.ones(2), np.ones(2), np.ones((1, 2)))


def test_samples_are_taken_of_each_array():
    values = {"grade": np.arange(4), "risk": (np.arange(4) * 2, None)}
    found = taken(values, np.array([3, 0, 0]))
    assert found["grade"].tolist() == [3, 0, 0]
    assert found["risk"][0].tolist() == [6, 0, 0]
    assert found["risk"][1] is None
