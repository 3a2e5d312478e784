"""Hyperparameters as axes."""

import numpy as np
import pytest

from glimr_keras.space.hp_types import Boolean, Choice, Condition, Float, Int
from glimr_keras.visualization import FIGURES, applicable, axes, backends, plot_slice
from glimr_keras.visualization.dimensions import Dimension, all_dimensions
from glimr_keras.visualization.scores import scores_of
from tests.visualization import made


def dimensions_of(*space, trials=60):
    return all_dimensions(scores_of(made.project(trials, space=list(space))))


def test_they_are_in_the_order_of_their_declaration_with_their_scale():
    found = all_dimensions(scores_of(made.project(60)))
    assert list(found) == [parameter.name for parameter in made.SPACE]
    assert found["optimization/learning_rate"].is_log
    assert not found["dropout"].is_log
    assert found["augment"].options == ("False", "True")
    assert found["batch_size"].options == ("16", "32", "64", "128")


def test_positions_are_the_values_and_nan_where_there_is_none():
    project = made.project(60)
    scores = scores_of(project)
    found = all_dimensions(scores)
    name = made.SPACE[7].name
    shown = scores.completed | scores.stopped
    for place, trial in enumerate(project.trials.values()):
        has = name in trial.values and shown[place]
        assert found[name].is_there[place] == has
        if has:
            assert found[name].positions[place] == trial.values[name]
        if shown[place]:
            option = found["batch_size"].options[int(found["batch_size"].positions[place])]
            assert option == str(trial.values["batch_size"])


def test_two_of_one_name_are_two():
    kind = Choice("kind", ["cnn", "rnn"])
    few = Int("units", 1, 8, conditions=(Condition("kind", ("cnn",)),))
    many = Int("units", 100, 800, conditions=(Condition("kind", ("rnn",)),))
    found = dimensions_of(kind, few, many)
    assert set(found) == {"kind", "units (kind=cnn)", "units (kind=rnn)"}
    assert np.nanmax(found["units (kind=cnn)"].positions) <= 8
    assert np.nanmin(found["units (kind=rnn)"].positions) >= 100


def test_options_of_mixed_kinds_are_told_apart():
    found = dimensions_of(Choice("mixed", [None, 1, True, "1", 1.5]))["mixed"]
    assert found.options == ("None", "1", "True", "1", "1.5")
    assert set(found.positions[found.is_there]) == {0, 1, 2, 3, 4}


def test_numbers_that_are_options_are_in_their_order():
    assert dimensions_of(Choice("sizes", [64, 8, 32]))["sizes"].options == ("8", "32", "64")
    assert dimensions_of(Boolean("on"))["on"].options == ("False", "True")


def test_a_number_that_is_infinite_is_an_option():
    project = made.project(20, space=[Choice("clip", [0.5, 1.0, np.inf]), Float("rate", 0, 1)])
    found = all_dimensions(scores_of(project))["clip"]
    assert found.options == ("0.5", "1", "inf")
    names = applicable(project)
    assert "plot_slice" in {FIGURES[name].__name__ for name in names}
    plot_slice(project)


@pytest.mark.parametrize("is_log", [True, False])
def test_parts_of_an_axis_and_back(is_log):
    dimension = Dimension("rate", np.array([1e-4, 1e-2, np.nan]), is_log=is_log)
    units = dimension.unit(dimension.positions)
    assert 0 < units[0] < units[1] < 1
    np.testing.assert_allclose(dimension.at(units), dimension.positions)


def test_a_range_of_a_thousand_million_integers_is_fast():
    found = dimensions_of(Int("seed", 0, 10**9), trials=5)
    assert np.nanmax(found["seed"].positions) > 1000


def test_texts_that_do_not_fit_beside_each_other_are_oblique_or_left_out():
    long = Dimension("kind", np.zeros(1), ("a_long_option", "another_option", "b"))
    assert axes.horizontal(long, "kind", 1.5).angle > 0
    assert axes.horizontal(long, "kind", 8.0).angle == 0
    many = Dimension("letter", np.zeros(1), tuple("abcdefghijklmnopqrstuvwxyz"))
    assert len(axes.horizontal(many, "letter", 1.5).ticks) < 13
    assert len(axes.horizontal(many, "letter", 8.0).ticks) == 26


def test_labels_are_told_apart():
    names = [f"block_{n}/a_layer_with_a_long_name/rate" for n in range(3)]
    dimensions = [Dimension(name, np.zeros(1)) for name in names]
    labels = axes.labels(dimensions, 1.5)
    assert len(set(labels)) == 3
    assert all(len(line) <= 18 for label in labels for line in label.split("\n"))


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [(0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]), (8, 511, [200, 400]), (-3e-9, 2e-9, None)],
)
def test_round_ticks_are_round_and_inside(low, high, ticks):
    found = axes.round_ticks(low, high)
    assert 2 <= len(found) <= 6
    assert all(low - 1e-12 <= tick <= high + 1e-12 for tick in found)
    if ticks is not None:
        assert found == pytest.approx(ticks)


def test_round_ticks_on_a_log_scale_are_powers_of_ten():
    assert axes.round_ticks(-5.1, -0.9, is_log=True) == [-5, -4, -3, -2, -1]
    assert len(axes.round_ticks(-20, 3, is_log=True)) <= 6


def test_those_that_no_trial_with_a_score_had_are_not_there():
    rare = Float("rare", 0, 1, conditions=(Condition("kind", ("never",)),))
    assert set(dimensions_of(Choice("kind", ["a", "b"]), rare)) == {"kind"}


def test_integers_have_integers_as_ticks():
    layers = dimensions_of(Int("layers", 1, 3))["layers"]
    assert layers.is_int
    assert axes.round_ticks(*layers.ends, is_int=True) == [1, 2, 3]
    assert axes.horizontal(layers, "layers", 2.0).is_count


def test_names_and_options_are_neither_formulas_nor_html():
    space = [Choice("<b>a$b$c</b>", ["$x^", "<i>"]), Float("$_{", 0, 1), Float("a & b", 0, 1)]
    project = made.project(20, space=space)
    for name in applicable(project):
        backends.figure_of(FIGURES[name](project)).canvas.draw()
    written = {text.get_text() for ax in plot_slice(project).flat for text in [ax.xaxis.label]}
    assert written == {r"<b>a\$b\$c</b>", r"\$_{", "a & b"}
    figure = plot_slice(project, backend="plotly")
    assert figure.layout.xaxis.title.text == "&lt;b&gt;a$b$c&lt;/b&gt;"
