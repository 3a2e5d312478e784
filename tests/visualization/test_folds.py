"""Folds of configurations."""

import numpy as np
import pytest

import glimr_keras as gk
from glimr_keras.visualization.folds import fold_scores
from glimr_keras.visualization.scores import scores_of
from tests.visualization import made


def dots_of(ax):
    return {each.get_label(): each.get_offsets().tolist() for each in ax.collections}


def test_the_best_configurations_have_their_folds_and_their_mean():
    project = made.project(30, cv_folds=3, statuses=(("COMPLETED", 1.0),))
    scores = scores_of(project)
    best = scores.best_first[:10]
    found = dots_of(gk.visualization.plot_folds(project, k=10))
    for fold in range(3):
        expected = [scores.trials[place].executions[fold].score for place in best]
        np.testing.assert_allclose(found[f"fold {fold}"], list(enumerate(expected)))
    np.testing.assert_allclose(found["mean"], list(enumerate(scores.values[best])))


def test_ticks_are_the_trials_best_first():
    project = made.project(30, cv_folds=3)
    ax = gk.visualization.plot_folds(project, k=5)
    best = scores_of(project).best_first[:5]
    assert [text.get_text() for text in ax.get_xticklabels()] == [str(place) for place in best]
    assert ax.get_ylabel() == "val_accuracy (maximised)"


def test_several_executions_of_a_fold_are_its_mean():
    scores = scores_of(made.project(3, cv_folds=2, executions=2, statuses=(("COMPLETED", 1.0),)))
    trial = scores.trials[0]
    of = [trial.executions[number].score for number in range(4)]
    assert fold_scores(scores, trial) == pytest.approx(
        {0: (of[0] + of[2]) / 2, 1: (of[1] + of[3]) / 2}
    )


def test_without_folds_there_are_executions():
    found = dots_of(gk.visualization.plot_folds(made.project(10, executions=2)))
    assert {"execution 0", "execution 1"} <= set(found)


def test_more_folds_than_colours_have_one_colour():
    found = dots_of(gk.visualization.plot_folds(made.project(10, cv_folds=10)))
    assert "folds" in found
    assert "fold 0" not in found


def test_means_of_stopped_ones_are_rings_and_last():
    project = made.project(30, cv_folds=3, statuses=(("COMPLETED", 0.5), ("STOPPED", 0.5)))
    found = dots_of(gk.visualization.plot_folds(project, k=30))
    assert max(x for x, _ in found["mean"]) < min(x for x, _ in found["mean, stopped"])


def test_one_training_each_has_no_folds():
    with pytest.raises(ValueError, match=r"There are no folds: .*`cv_folds=`"):
        gk.visualization.plot_folds(made.project(5))
