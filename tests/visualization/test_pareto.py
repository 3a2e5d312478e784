"""Several objectives."""

import numpy as np
import pytest

import glimr_keras as gk
from glimr_keras.trials.ranking import pareto_front
from glimr_keras.visualization.pareto import is_on_front, objective_values
from glimr_keras.visualization.scores import scores_of
from tests.visualization import made


def test_the_front_is_the_one_of_the_table():
    project = made.two_objectives(150)
    scores = scores_of(project)
    front = is_on_front(objective_values(scores), project.objective.parts)
    mine = {trial.trial_id for trial, is_it in zip(scores.trials, front, strict=True) if is_it}
    theirs = pareto_front(list(project.trials.values()), project.objective)
    assert mine == {trial.trial_id for trial in theirs}
    assert 1 < len(mine) < 20


def test_equal_trials_are_all_on_the_front_and_unknown_ones_are_not():
    parts = (gk.Objective("a", "min"), gk.Objective("b", "max"))
    values = np.array([[1.0, 2.0], [1.0, 2.0], [1.0, 1.0], [np.nan, 9.0], [0.5, np.inf]])
    assert is_on_front(values, parts).tolist() == [True, True, False, False, False]


def test_two_objectives_are_one_panel_with_names_and_directions():
    ax = gk.visualization.plot_pareto_front(made.two_objectives(60))
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("val_accuracy (maximised)", "size (minimised)")
    assert {"front", "completed"} <= {dots.get_label() for dots in ax.collections}


def sized(accuracies, sizes):
    """A project of trials with these accuracies and sizes."""
    parts = [gk.Objective("val_accuracy", "max"), gk.Objective("size", "min")]
    objective = gk.MultiObjective(parts, pareto=True)
    project = made.project(len(sizes), [], objective, 1, statuses=(("COMPLETED", 1.0),))
    for trial, accuracy, size in zip(project.trials.values(), accuracies, sizes, strict=True):
        trial.executions[0].observe(1, {"val_accuracy": accuracy, "size": size}, objective)
    return project


def shown_in(ax, name):
    """The points of a name that are inside the axes."""
    (low, high), (bottom, top) = ax.get_xlim(), ax.get_ylim()
    points = [
        xy for dots in ax.collections if dots.get_label() == name for xy in dots.get_offsets()
    ]
    return [(x, y) for x, y in points if low < x < high and bottom < y < top]


def test_the_whole_front_is_on_the_axes_though_much_worse_in_one_objective():
    rng = np.random.default_rng(0)
    small, large = rng.uniform(20e3, 90e3, 27), rng.uniform(10.9e6, 11.1e6, 3)
    accuracies = [*rng.uniform(0.7, 0.8, 27), 0.93, 0.94, 0.95]
    project = sized(accuracies, [*small, *large])
    scores = scores_of(project)
    front = is_on_front(objective_values(scores), project.objective.parts)
    assert front[-1]
    ax = gk.visualization.plot_pareto_front(project)
    assert len(shown_in(ax, "front")) == front.sum()
    assert len(shown_in(ax, "completed")) == 30 - front.sum()
    assert (ax.get_xscale(), ax.get_yscale()) == ("linear", "log")  # else the small ones are one
    figure = gk.visualization.plot_pareto_front(project, backend="plotly")
    low, high = figure.layout.yaxis.range
    assert figure.layout.yaxis.type == "log"
    assert low < np.log10(min(small)) < np.log10(max(large)) < high


@pytest.mark.parametrize(("accuracy", "size"), [(0.1, 1e9), (-1e9, 70.0)])
def test_trials_that_are_far_worse_are_marks_at_the_end(accuracy, size):
    project = sized([*np.linspace(0.7, 0.8, 12), accuracy], [*np.linspace(10, 60, 12), size])
    ax = gk.visualization.plot_pareto_front(project)
    (beyond,) = (dots for dots in ax.collections if dots.get_label() == "beyond the axis")
    assert len(shown_in(ax, "beyond the axis")) == len(beyond.get_offsets()) == 1
    assert ax.get_ylim()[1] < 100
    assert ax.get_xlim()[0] > -1
    assert len(shown_in(ax, "front")) + len(shown_in(ax, "completed")) == 12


def test_three_objectives_are_three_panels():
    parts = [made.ACCURACY, gk.Objective("val_loss", "min"), gk.Objective("size", "min")]
    project = made.project(60, objective=gk.MultiObjective(parts))
    axes = gk.visualization.plot_pareto_front(project)
    assert axes.shape == (2, 2)
    assert [bool(ax.collections) for ax in axes.flat] == [True, False, True, True]
    figure = gk.visualization.plot_pareto_front(project, backend="plotly")
    assert {trace.xaxis for trace in figure.data} == {"x", "x3", "x4"}


def test_metrics_of_a_search_of_one_objective_have_a_front():
    ax = gk.visualization.plot_pareto_front(
        made.project(40), objective=["val_accuracy", gk.Objective("size", "min")]
    )
    assert ax.get_ylabel() == "size (minimised)"


def test_one_objective_has_no_front():
    with pytest.raises(ValueError, match=r"needs at least two objectives. Received one: 'val_acc"):
        gk.visualization.plot_pareto_front(made.project(10))
