"""Pairs of hyperparameters, slices, and parallel axes."""

import numpy as np
import pytest

import glimr_keras as gk
from glimr_keras.visualization.dimensions import all_dimensions
from glimr_keras.visualization.pairs import ranked_parts, smoothed
from glimr_keras.visualization.scores import scores_of
from tests.visualization import made
from tests.visualization.test_scores import with_scores

RATE, UNITS, SIZE = "optimization/learning_rate", "units", "batch_size"


@pytest.fixture(scope="module")
def project():
    return made.project(120)


def test_ranks_go_from_the_best_to_the_worst_with_stopped_ones_last():
    statuses = ["COMPLETED"] * 5 + ["STOPPED"]
    scores = scores_of(with_scores([0.1, 0.9, 0.5, 0.5, 0.3, 0.99], statuses))
    np.testing.assert_allclose(ranked_parts(scores), [0.8, 0, 0.3, 0.3, 0.6, 1])


def test_the_map_is_the_mean_of_near_trials_between_the_worst_and_the_best(project):
    scores = scores_of(project)
    of = all_dimensions(scores)
    cells = smoothed(scores, of[RATE], of["dropout"])
    assert cells.z.shape == (len(cells.y), len(cells.x))
    values = scores.values[scores.completed]
    assert np.nanmin(cells.z) >= values.min() - 0.1 * np.ptp(values)
    assert np.nanmax(cells.z) <= values.max()
    middle = np.nanmean(cells.z[:, np.abs(np.log10(cells.x) + 3) < 0.5])
    assert middle > np.nanmean(cells.z[:, np.log10(cells.x) < -4.5])  # 1e-3 is the best rate


def test_options_of_a_category_are_not_near_each_other(project):
    scores = scores_of(project)
    of = all_dimensions(scores)
    cells = smoothed(scores, of[SIZE], of["augment"])
    size, augment = of[SIZE].positions, of["augment"].positions
    for row, column in np.ndindex(cells.z.shape):
        mine = scores.completed & (size == column) & (augment == row)
        np.testing.assert_allclose(cells.z[row, column], scores.values[mine].mean())


def test_where_no_trial_is_near_there_is_no_colour():
    scores = scores_of(made.project(4, statuses=(("COMPLETED", 1.0),)))
    of = all_dimensions(scores)
    assert np.isnan(smoothed(scores, of["dropout"], of[RATE]).z).any()


def test_two_hyperparameters_are_one_panel_with_log_axes(project):
    for plot in (gk.visualization.plot_contour, gk.visualization.plot_rank):
        ax = plot(project, [RATE, SIZE])
        assert (ax.get_xscale(), ax.get_yscale()) == ("log", "linear")
        assert [text.get_text() for text in ax.get_yticklabels()] == ["16", "32", "64", "128"]
        figure = plot(project, [RATE, SIZE], backend="plotly")
        assert figure.layout.xaxis.type == "log"
        assert list(figure.layout.yaxis.ticktext) == ["16", "32", "64", "128"]


def test_by_default_the_four_that_matter_most_are_panels_below_a_diagonal(project):
    axes = gk.visualization.plot_rank(project)
    assert axes.shape == (3, 3)
    assert [[bool(ax.collections) for ax in row] for row in axes] == [
        [True, False, False],
        [True, True, False],
        [True, True, True],
    ]


def test_maps_and_parallel_axes_have_completed_trials_only(project):
    completed = sum(trial.status == "COMPLETED" for trial in project.trials.values())
    ax = gk.visualization.plot_contour(project, [RATE, UNITS])
    assert len(ax.collections[-1].get_offsets()) == completed
    ax = gk.visualization.plot_parallel_coordinate(project, [RATE, UNITS])
    lines = [line for line in ax.lines if np.isnan(line.get_ydata()).any()]
    assert sum(int(np.isnan(line.get_ydata()).sum()) for line in lines) == completed


def test_ranks_have_stopped_trials_as_rings(project):
    ax = gk.visualization.plot_rank(project, [RATE, UNITS])
    rings, dots = ax.collections
    statuses = [trial.status for trial in project.trials.values()]
    assert len(rings.get_offsets()) == statuses.count("STOPPED")
    assert len(dots.get_offsets()) == statuses.count("COMPLETED")
    assert not rings.get_facecolors().size
    assert len(np.unique(rings.get_edgecolors(), axis=0)) > 5


def test_a_slice_has_stopped_trials_as_rings(project):
    ax = gk.visualization.plot_slice(project, [RATE])
    assert ax.get_xscale() == "log"
    rings = [dots for dots in ax.collections if dots.get_label() == "stopped"]
    stopped = [trial for trial in project.trials.values() if trial.status == "STOPPED"]
    assert len(rings[0].get_offsets()) + sum(
        len(dots.get_offsets()) for dots in ax.collections if dots.get_label() == "beyond the axis"
    ) == len(stopped)
    assert not rings[0].get_facecolors().size


def test_slices_are_rows_of_four_and_of_many_the_twelve_that_matter_most(project):
    assert gk.visualization.plot_slice(project).shape == (2, 4)
    axes = gk.visualization.plot_slice(made.many_parameters())
    assert axes.shape == (3, 4)


def test_a_trial_without_a_hyperparameter_passes_below_its_axis(project):
    ax = gk.visualization.plot_parallel_coordinate(project, [made.SPACE[7].name])
    assert [text.get_text() for text in ax.get_yticklabels()] == ["not used"]
    ax = gk.visualization.plot_parallel_coordinate(project, [RATE])
    assert not [text.get_text() for text in ax.get_yticklabels()]


def test_the_best_lines_are_dark_and_on_top(project):
    ax = gk.visualization.plot_parallel_coordinate(project, [RATE, UNITS])
    shades = [line for line in ax.lines if np.isnan(line.get_ydata()).any()]
    scores = [np.nanmean(line.get_ydata()[0::4]) for line in shades]  # heights on the first axis
    assert scores == sorted(scores)
    brightness = [sum(line.get_color()[:3]) for line in shades]
    assert brightness == sorted(brightness, reverse=True)
    assert [line.get_zorder() for line in shades] == sorted(line.get_zorder() for line in shades)
