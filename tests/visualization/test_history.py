"""Scores over time, and their distribution."""

import numpy as np
import pytest

import glimr_keras as gk
from glimr_keras.visualization.history import best_so_far
from glimr_keras.visualization.scores import scores_of
from tests.visualization import made
from tests.visualization.test_scores import with_scores


@pytest.mark.parametrize("direction", ["min", "max"])
def test_the_best_so_far_is_of_completed_trials_only(direction):
    objective = gk.Objective("val_loss", direction)
    sign = 1 if direction == "min" else -1
    statuses = ["STOPPED", "COMPLETED", "FAILED", "COMPLETED", "RUNNING", "COMPLETED"]
    values = [sign * value for value in (0.1, 0.8, 0.0, 0.9, 0.0, 0.3)]
    best = best_so_far(scores_of(with_scores(values, statuses, objective)))
    np.testing.assert_array_equal(best, sign * np.array([np.nan, 0.8, 0.8, 0.8, 0.8, 0.3]))


def legend(drawn):
    return [text.get_text() for text in drawn.figure.legends[0].texts]


def test_each_status_looks_different_and_is_in_the_legend():
    project = made.project(60)
    statuses = [trial.status for trial in project.trials.values()]
    ax = gk.visualization.plot_optimization_history(project)
    assert legend(ax) == ["stopped", "completed", "failed", "best so far"]
    counts = {dots.get_label(): len(dots.get_offsets()) for dots in ax.collections}
    assert counts == {
        "stopped": statuses.count("STOPPED"),
        "completed": statuses.count("COMPLETED"),
        "failed": statuses.count("FAILED"),
    }
    figure = gk.visualization.plot_optimization_history(project, backend="plotly")
    assert {trace.name: len(trace.x) for trace in figure.data if trace.mode == "markers"} == counts


def test_scores_that_are_far_worse_are_triangles_at_the_end():
    scores = [0.5, 0.4, 0.3, 0.45, 1e9, 0.35]
    ax = gk.visualization.plot_optimization_history(
        with_scores(scores, objective=gk.Objective("val_loss", "min"))
    )
    assert ax.get_ylim()[1] < 2
    assert "beyond the axis" in legend(ax)


def test_the_distribution_is_the_fraction_up_to_each_score():
    ax = gk.visualization.plot_edf(with_scores([0.2, 0.4, 0.4, 0.9]))
    x, y = ax.lines[0].get_data()
    np.testing.assert_allclose(x[1:-1], [0.2, 0.4, 0.4, 0.9])
    np.testing.assert_allclose(y, [0, 0.25, 0.5, 0.75, 1.0, 1.0])
    assert not ax.figure.legends


def test_searches_are_compared_in_one_figure():
    searches = [made.project(20), made.project(20, seed=1)]
    ax = gk.visualization.plot_edf(searches)
    assert len(ax.lines) == 2
    assert legend(ax) == ["search (1)", "search (2)"]
    other = made.project(20, objective=gk.Objective("val_loss", "min"))
    with pytest.raises(ValueError, match=r"pass `objective=`. Received: val_accuracy, val_loss"):
        gk.visualization.plot_edf([searches[0], other])
    gk.visualization.plot_edf([searches[0], other], objective="val_accuracy")
