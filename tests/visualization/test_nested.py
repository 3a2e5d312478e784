"""Outer folds beside what their searches reported."""

import numpy as np
import pytest

import glimr_keras as gk
from glimr_keras.evaluation.nested import NestedResult, OuterFold


@pytest.fixture
def result():
    folds = tuple(
        OuterFold(fold, reported, score, 10 + fold, f"000{fold}", {"units": 8}, 20)
        for fold, (reported, score) in enumerate([(0.91, 0.85), (0.93, 0.88), (0.9, 0.91)])
    )
    return NestedResult("val_accuracy", folds, np.repeat([0, 1, 2], 20))


def test_each_fold_has_both_scores(result):
    ax = gk.visualization.plot_nested(result)
    found = {each.get_label(): each.get_offsets().tolist() for each in ax.collections}
    assert found == {
        "reported by the search, mean 0.913": [[0, 0.91], [1, 0.93], [2, 0.9]],
        "on unseen samples, mean 0.88": [[0, 0.85], [1, 0.88], [2, 0.91]],
    }
    assert ax.get_ylabel() == "val_accuracy"
    assert [text.get_text() for text in ax.get_xticklabels()] == ["0", "1", "2"]


def test_plotly_draws_it_as_well(result):
    figure = gk.visualization.plot_nested(result, backend="plotly")
    names = {trace.name for trace in figure.data if trace.name}
    assert {"reported by the search, mean 0.913", "on unseen samples, mean 0.88"} <= names


def test_other_backends_are_refused(result):
    with pytest.raises(ValueError, match="backend"):
        gk.visualization.plot_nested(result, backend="bokeh")
