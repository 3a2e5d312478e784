"""Trials as figures show them."""

import dataclasses

import numpy as np
import pytest

import glimr_keras as gk
from glimr_keras.errors import ProjectError
from glimr_keras.visualization.scores import Scores, nothing, scores_of
from tests.visualization import made


def with_scores(scores, statuses=None, objective=made.ACCURACY):
    """A project whose trials have these scores."""
    project = made.project(len(scores), objective=objective, statuses=(("COMPLETED", 1.0),))
    for place, (trial, score) in enumerate(zip(project.trials.values(), scores, strict=True)):
        trial.executions[0].score = score
        trial.status = statuses[place] if statuses else trial.status
    return project


def test_only_completed_trials_with_a_finite_score_are_completed():
    statuses = ["COMPLETED"] * 4 + ["STOPPED", "FAILED", "RUNNING"]
    scores = scores_of(with_scores([0.5, None, np.nan, -np.inf, 0.4, 0.3, 0.2], statuses))
    assert scores.completed.tolist() == [True] + [False] * 6
    assert scores.stopped.tolist() == [False] * 4 + [True, False, False]
    assert scores.failed.tolist() == [False] * 5 + [True, False]
    np.testing.assert_array_equal(scores.values, [0.5, *[np.nan] * 3, 0.4, np.nan, np.nan])
    assert scores.best_first == [0, 4]


def test_numbers_are_those_of_the_ids_in_whatever_order_a_table_has_them():
    project = made.project(12)
    ids = list(project.trials)
    shuffled = {trial_id: project.trials[trial_id] for trial_id in [ids[7], ids[2], ids[11]]}
    scores = scores_of(dataclasses.replace(project, trials=shuffled))
    assert scores.numbers.tolist() == [2, 7, 11]
    assert [trial.trial_id for trial in scores.trials] == ["0002", "0007", "0011"]


def test_ids_that_are_no_numbers_are_counted():
    project = made.project(3)
    renamed = {f"{trial_id}a": trial for trial_id, trial in project.trials.items()}
    for trial_id, trial in renamed.items():
        trial.trial_id = trial_id
    assert scores_of(dataclasses.replace(project, trials=renamed)).numbers.tolist() == [0, 1, 2]


def test_the_label_says_the_objective_and_its_direction():
    assert scores_of(made.project(2)).label == "val_accuracy (maximised)"
    loss = made.project(2, objective=gk.Objective("val_loss", "min"))
    assert scores_of(loss).label == "val_loss (minimised)"


def test_several_objectives_are_the_sum_that_ranks_trials():
    scores = scores_of(made.two_objectives(5))
    assert scores.label == "size - val_accuracy (minimised)"
    loss_first = gk.MultiObjective([gk.Objective("val_loss", "min"), made.ACCURACY])
    assert scores_of(made.project(5, objective=loss_first)).metric == "val_loss - val_accuracy"


def test_the_error_of_nothing_counts_what_there_is():
    project = made.project(5, statuses=(("FAILED", 1.0),))
    error = nothing(Scores(project, "digits"), "no reason")
    assert isinstance(error, ProjectError)
    assert str(error) == (
        "There is nothing to plot of digits: no reason. Trials received: 5 failed."
    )
    assert "it has no trials" in str(nothing(Scores(made.project(0)), "no reason"))


def test_what_is_said_of_a_trial_has_its_score_and_its_values():
    project = with_scores([0.123456789, None])
    scores = scores_of(project)
    assert scores.about == ["trial 0<br>val_accuracy: 0.12346", "trial 1"]
    values = next(iter(project.trials.values())).values
    assert f"<br>units: {values['units']}<br>" in scores.about_fully[0]


def test_a_source_that_is_none_is_an_error():
    with pytest.raises(TypeError, match="Pass a tuner, a project's directory, or a table"):
        scores_of(3)
