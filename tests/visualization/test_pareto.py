"""Several objectives."""

import numpy as np
import pytest

import glimr_keras as gk
from glimr_keras.trials.trial import pareto_front
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
