"""Metrics by epoch."""

import numpy as np
import pytest
from matplotlib.collections import FillBetweenPolyCollection

import glimr_keras as gk
from glimr_keras.errors import ProjectError
from glimr_keras.visualization.learning_curves import best_lineages, curve_of, lineage
from glimr_keras.visualization.scores import scores_of
from tests.visualization import made


def labels(ax):
    return [text.get_text() for text in ax.figure.legends[0].texts]


def test_the_best_trials_are_over_all_others():
    project = made.project(40)
    scores = scores_of(project)
    ax = gk.visualization.plot_learning_curves(project, k=3)
    best = [f"trial {scores.numbers[place]}" for place in scores.best_first[:3]]
    assert [label.split(":")[0] for label in labels(ax)[:4]] == ["others", *best]
    order = {line.get_label().split(":")[0]: line.get_zorder() for line in ax.lines}
    assert all(order[name] > order["others"] for name in best)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("epoch", "val_accuracy")


def test_every_trial_with_epochs_has_a_line():
    project = made.project(40)
    figure = gk.visualization.plot_learning_curves(project, "val_loss", backend="plotly")
    lines = [trace for trace in figure.data if trace.mode == "lines"]
    others = next(trace for trace in lines if trace.name == "others")
    assert np.isnan(np.array(others.y, float)).sum() + len(lines) - 1 == 40
    assert figure.layout.yaxis.title.text == "val_loss"


def test_a_curve_is_the_mean_of_the_executions_that_reached_the_epoch():
    project = made.project(1, executions=3, statuses=(("COMPLETED", 1.0),))
    scores = scores_of(project)
    (trial,) = scores.trials
    del trial.executions[2].history[8]
    curve = curve_of(scores, trial, "val_loss")
    assert curve.epochs.tolist() == list(range(1, 9))
    for place, epoch in enumerate(curve.epochs):
        values = [
            e.history[epoch]["val_loss"] for e in trial.executions.values() if epoch in e.history
        ]
        assert curve.mean[place] == pytest.approx(np.mean(values))
        assert (curve.low[place], curve.high[place]) == (min(values), max(values))


def test_several_executions_have_a_band_and_single_ones_have_none():
    project = made.project(12, executions=2, statuses=(("COMPLETED", 1.0),))
    scores = scores_of(project)
    ax = gk.visualization.plot_learning_curves(project, k=2)
    curves = [curve_of(scores, scores.trials[place], "val_accuracy") for place in scores.best_first]
    assert sorted(map(extent, bands(ax))) == sorted(
        (min(curve.low), max(curve.high)) for curve in curves[:2]
    )
    ax = gk.visualization.plot_learning_curves(
        made.project(12, statuses=(("COMPLETED", 1.0),)), k=2
    )
    assert ax.collections  # the best epochs' dots
    assert not bands(ax)


@pytest.mark.parametrize("metric", ["val_accuracy", "size"])  # with and without a direction
def test_bands_are_inside_the_axis(metric):
    project = made.project(12, executions=3, statuses=(("COMPLETED", 1.0),))
    for trial in project.trials.values():
        for place, execution in trial.executions.items():
            for log in execution.history.values():
                log[metric] = 0.5 + 0.2 * (place - 1) + log["val_loss"] / 100
    ax = gk.visualization.plot_learning_curves(project, metric, k=3)
    low, high = ax.get_ylim()
    assert len(bands(ax)) == 3
    assert all(low < bottom < 0.35 < 0.65 < top < high for bottom, top in map(extent, bands(ax)))


def bands(ax):
    return [each for each in ax.collections if isinstance(each, FillBetweenPolyCollection)]


def extent(band):
    """The lowest and the highest value of a band."""
    heights = band.get_paths()[0].vertices[:, 1]
    return min(heights), max(heights)


@pytest.mark.parametrize("backend", ["matplotlib", "plotly"])
def test_as_many_bands_as_there_are_colours(backend):
    project = made.project(12, executions=2, statuses=(("COMPLETED", 1.0),))
    gk.visualization.plot_learning_curves(project, k=8, backend=backend)


def test_marks_are_where_trials_were_stopped_or_failed():
    project = made.project(60)
    ax = gk.visualization.plot_learning_curves(project)
    by_name = {dots.get_label(): dots.get_offsets().tolist() for dots in ax.collections}
    for status, name in (("STOPPED", "stopped by the scheduler"), ("FAILED", "failed")):
        trials = [trial for trial in project.trials.values() if trial.status == status]
        ends = [max(trial.executions[0].history) for trial in trials]
        assert [x for x, _ in by_name[name]] == ends


def test_a_promoted_trial_begins_with_those_that_it_continues():
    scores = scores_of(made.hyperband())
    best = max(best_lineages(scores, 5), key=lambda p: len(lineage(scores, scores.trials[p])))
    trial = scores.trials[best]
    assert min(trial.executions[0].history) > 1
    curve = curve_of(scores, trial, "val_accuracy")
    assert curve.epochs.tolist() == list(range(1, 10))
    first = lineage(scores, trial)[-1]
    assert curve.mean[0] == first.executions[0].history[1]["val_accuracy"]


def test_each_configuration_of_hyperband_is_among_the_best_once():
    scores = scores_of(made.hyperband())
    places = best_lineages(scores, 100)
    configurations = [
        tuple(v for name, v in scores.trials[p].values.items() if not name.startswith("tuner/"))
        for p in places
    ]
    assert len(set(configurations)) == len(configurations) == 9 + 5 + 3


def test_epochs_that_are_nan_are_left_out():
    project = made.project(8, statuses=(("COMPLETED", 1.0),))
    for trial in list(project.trials.values())[:4]:
        trial.executions[0].history[3]["val_loss"] = np.nan
        trial.executions[0].history[4]["val_loss"] = np.inf
    scores = scores_of(project)
    assert curve_of(scores, scores.trials[0], "val_loss").epochs.tolist() == [1, 2, 5, 6, 7, 8]
    gk.visualization.plot_learning_curves(project, "val_loss")


def test_a_score_that_no_epoch_has_is_followed_by_the_loss():
    project = made.project(20, objective=gk.Objective("val_accuracy", "max"))
    project.objective = gk.Objective("returned", "max")
    assert gk.visualization.plot_learning_curves(project).get_ylabel() == "val_loss"


def test_an_unknown_metric_is_answered_with_the_nearest():
    with pytest.raises(ValueError, match=r"metric='val_acc'. Did you mean 'val_accuracy'\?"):
        gk.visualization.plot_learning_curves(made.project(5), "val_acc")


@pytest.mark.parametrize("k", [0, 9, 2.5])
def test_there_are_up_to_eight_colours(k):
    with pytest.raises(ValueError, match="`k` must be"):
        gk.visualization.plot_learning_curves(made.project(5), k=k)


def test_one_epoch_is_no_curve():
    with pytest.raises(ProjectError, match="no trial has metrics of several epochs"):
        gk.visualization.plot_learning_curves(made.project(5, epochs=1))
