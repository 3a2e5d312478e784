"""What holds for every figure, with each backend."""

import inspect
import itertools

import matplotlib.pyplot as plt
import numpy as np
import plotly.graph_objects as go
import pytest
from matplotlib.axes import Axes

import glimr_keras as gk
from glimr_keras.errors import ProjectError
from glimr_keras.project.journal import Journal
from glimr_keras.results.results import open_results
from glimr_keras.visualization import FIGURES, applicable, backends
from tests.script_environment import ROOT
from tests.visualization import made

EVERYWHERE = [
    "optimization_history",
    "learning_curves",
    "param_importances",
    "slice",
    "parallel_coordinate",
    "contour",
    "rank",
    "edf",
    "timeline",
]
"""Figures that a usual project has."""
SPECIAL = {"pareto_front": made.two_objectives, "hyperband": made.hyperband}
NAMES = [*EVERYWHERE, "folds", *SPECIAL]


def project_for(name, trials=30):
    if name == "hyperband":
        return made.hyperband()
    if name == "folds":
        return made.project(trials, cv_folds=3)
    return SPECIAL.get(name, made.project)(trials)


def test_the_figures_are_those_that_the_room_offers():
    assert set(FIGURES) == set(NAMES)
    for name, function in FIGURES.items():
        assert function is getattr(gk.visualization, f"plot_{name}")
        assert function.__name__ in gk.visualization.__all__


@pytest.mark.parametrize("name", NAMES)
def test_a_function_has_the_arguments_that_all_have(name):
    arguments = inspect.signature(FIGURES[name]).parameters
    assert next(iter(arguments)) == "source"
    assert arguments["objective"].default is None
    assert arguments["backend"].default == "matplotlib"
    assert arguments["backend"].kind is inspect.Parameter.KEYWORD_ONLY


@pytest.mark.parametrize("name", NAMES)
def test_matplotlib_returns_axes_that_pyplot_knows_and_leaves_settings_alone(name):
    before = dict(plt.rcParams)
    drawn = FIGURES[name](project_for(name))
    axes = drawn.ravel().tolist() if isinstance(drawn, np.ndarray) else [drawn]
    assert all(isinstance(ax, Axes) for ax in axes)
    assert plt.get_fignums() == [backends.figure_of(drawn).number]
    assert dict(plt.rcParams) == before


@pytest.mark.parametrize("name", NAMES)
def test_plotly_returns_a_figure(name):
    figure = FIGURES[name](project_for(name), backend="plotly")
    assert isinstance(figure, go.Figure)
    assert figure.layout.title.text
    assert plt.get_fignums() == []


@pytest.mark.parametrize("name", NAMES)
def test_both_backends_write_the_same_on_their_axes(name):
    project = project_for(name)
    drawn = FIGURES[name](project)
    axes = drawn.ravel() if isinstance(drawn, np.ndarray) else [drawn]
    mine = {label for ax in axes for label in (ax.get_xlabel(), ax.get_ylabel())}
    figure = FIGURES[name](project, backend="plotly")
    theirs = set()
    figure.for_each_xaxis(lambda axis: theirs.add(axis.title.text))
    figure.for_each_yaxis(lambda axis: theirs.add(axis.title.text))
    assert {label.replace("\n", "<br>") for label in mine if label} == {t for t in theirs if t}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("count", [0, 6])
def test_a_figure_of_nothing_is_an_error_that_says_why(name, count):
    running = (("RUNNING", 1.0),)
    kind = {"pareto_front": made.two_objectives, "folds": made.project}.get(name, made.project)
    project = kind(count, statuses=running, epochs=1, has_times=False)
    with pytest.raises(ValueError, match=r"nothing to plot|There are no (folds|brackets)"):
        FIGURES[name](project)
    assert applicable(project) == []


@pytest.mark.parametrize("name", NAMES)
def test_an_unknown_backend_is_an_error_before_anything_is_read(name):
    with pytest.raises(ValueError, match=r"Received: backend='ploty'. Did you mean 'plotly'\?"):
        FIGURES[name](None, backend="ploty")


@pytest.mark.parametrize("backend", ["matplotlib", "plotly"])
def test_a_package_that_is_not_installed_is_named_with_the_extra_that_has_it(monkeypatch, backend):
    monkeypatch.setitem(__import__("sys").modules, backend, None)
    with pytest.raises(ImportError, match=rf"{backend}.*pip install 'glimr_keras\[plots\]'"):
        gk.visualization.plot_edf(made.project(3), backend=backend)


@pytest.mark.parametrize(
    ("project", "names"),
    [
        (made.project(30), EVERYWHERE),
        (made.project(30, cv_folds=3), [*EVERYWHERE, "folds"]),
        (made.project(30, executions=2), [*EVERYWHERE, "folds"]),
        (made.two_objectives(30), [*EVERYWHERE, "pareto_front"]),
        (made.hyperband(), [*EVERYWHERE, "hyperband"]),
        (made.project(8, constant=0.5), [n for n in EVERYWHERE if n != "param_importances"]),
        (made.project(8, statuses=(("FAILED", 1.0),)), ["learning_curves", "timeline"]),
        (
            made.project(1, statuses=(("COMPLETED", 1.0),)),
            ["optimization_history", "learning_curves", "edf", "timeline"],
        ),
        (made.project(30, epochs=1, has_times=False), EVERYWHERE[:1] + EVERYWHERE[2:-1]),
    ],
    ids=["usual", "folds", "executions", "two", "hyperband", "constant", "failed", "one", "old"],
)
def test_a_project_has_the_figures_that_make_sense_for_it(project, names):
    assert applicable(project) == [name for name in FIGURES if name in names]
    for name in applicable(project):
        FIGURES[name](project)
        FIGURES[name](project, backend="plotly")
        plt.close("all")


def extents(texts, renderer):
    return [text.get_window_extent(renderer) for text in texts if text.get_text()]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("project", ["usual", "many"])
def test_nothing_overlaps_and_nothing_is_cut_off(name, project):
    """With 500 trials of 8 hyperparameters, and with 30 hyperparameters of long names."""
    if project == "many" and name not in EVERYWHERE:
        pytest.skip("has no hyperparameters")
    of = made.many_parameters() if project == "many" else project_for(name, 500)
    figure = backends.figure_of(FIGURES[name](of))
    renderer = figure.canvas.get_renderer()
    figure.draw(renderer)
    width, height = figure.bbox.width, figure.bbox.height
    written = [*figure.texts, *(each for legend in figure.legends for each in legend.texts)]
    for ax in figure.axes:
        written += [ax.xaxis.label, ax.yaxis.label, ax._left_title]
        for axis in (ax.xaxis, ax.yaxis) if ax.axison else ():
            ticks = [text for text in axis.get_ticklabels() if text.get_text()]
            low, high = sorted(axis.get_view_interval())
            shown = [t for t in ticks if low <= t.get_position()[axis is ax.yaxis] <= high]
            written += shown
            if not any(text.get_rotation() % 90 for text in shown):
                for one, other in itertools.pairwise(extents(shown, renderer)):
                    assert not one.overlaps(other), [text.get_text() for text in shown]
    for extent in extents(written, renderer):
        assert extent.x0 >= -1 and extent.y0 >= -1
        assert extent.x1 <= width + 1 and extent.y1 <= height + 1
    labels = extents([ax.xaxis.label for ax in figure.axes if ax.axison], renderer)
    for one, other in itertools.combinations(labels, 2):
        assert not one.overlaps(other)


def written(project, directory):
    """Write a project as a search does."""
    journal = Journal(directory)
    journal.create(project)
    for trial in project.trials.values():
        journal.add_trial(trial)
        for number, execution in trial.executions.items():
            journal.start_execution(trial.trial_id, number, execution.started)
            for epoch, metrics in execution.history.items():
                journal.add_epoch(trial.trial_id, number, epoch, metrics)
            journal.end_execution(trial.trial_id, number, execution)
        journal.end_trial(trial)
    journal.close()
    return directory


ENDED = (("COMPLETED", 0.8), ("STOPPED", 0.15), ("FAILED", 0.05))


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    return written(made.project(25, statuses=ENDED), tmp_path_factory.mktemp("projects") / "digits")


@pytest.mark.parametrize("name", EVERYWHERE)
def test_a_directory_and_results_are_sources_and_name_the_figure(directory, name):
    for source in (directory, str(directory), open_results(directory)):
        figure = backends.figure_of(FIGURES[name](source))
        assert figure.get_suptitle().endswith(" (digits)")


def dots(ax):
    return sorted(tuple(dot) for each in ax.collections for dot in each.get_offsets().tolist())


@pytest.mark.parametrize("name", ["optimization_history", "edf", "param_importances", "slice"])
def test_tables_are_sources_whose_figures_are_those_of_the_project(directory, name):
    results = open_results(directory)
    drawn = FIGURES[name](results)
    for table in (results.results_dataframe(), gk.experiment_table(directory)):
        again = FIGURES[name](table)
        for one, other in zip(np.ravel(drawn), np.ravel(again), strict=True):
            assert one.get_xlabel() == other.get_xlabel()
            np.testing.assert_allclose(dots(one), dots(other))


def test_curves_need_a_table_of_epochs(directory):
    with pytest.raises(ProjectError, match="`results_dataframe` and projects of KerasTuner"):
        gk.visualization.plot_learning_curves(open_results(directory).results_dataframe())
    assert gk.visualization.plot_learning_curves(gk.experiment_table(directory)).lines


def test_a_table_of_a_file_says_which_objective(directory, tmp_path):
    import pandas as pd

    open_results(directory).results_dataframe().to_csv(tmp_path / "table.csv", index=False)
    table = pd.read_csv(tmp_path / "table.csv", dtype={"trial_id": str})
    ax = gk.visualization.plot_edf(table, objective=gk.Objective("val_accuracy", "max"))
    assert ax.get_xlabel() == "val_accuracy (maximised)"


def test_another_objective_is_shown_at_the_epoch_of_the_score():
    ax = gk.visualization.plot_optimization_history(made.project(20), objective="val_loss")
    assert ax.get_ylabel() == "val_loss (minimised)"


def test_a_project_that_is_read_is_left_as_it_was(directory):
    before = {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}
    for name in EVERYWHERE:
        FIGURES[name](directory)
    assert {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()} == before


def test_a_project_of_an_earlier_version_has_figures_but_no_times():
    stored = ROOT / "tests" / "stored" / "project"
    names = applicable(stored)
    assert "optimization_history" in names
    assert "timeline" not in names
    for name in names:
        FIGURES[name](stored)
