"""Brackets and promotions."""

import numpy as np
import pandas as pd
import pytest

import glimr_keras as gk
from glimr_keras.results.tables import results_dataframe
from glimr_keras.visualization.hyperband import stays
from glimr_keras.visualization.scores import scores_of
from tests.visualization import made


def test_each_bracket_is_a_panel_with_its_rounds():
    axes = gk.visualization.plot_hyperband(made.hyperband())
    assert axes.shape == (1, 3)
    assert [ax.get_title("left") for ax in axes.flat] == ["bracket 2", "bracket 1", "bracket 0"]
    ticks = [text.get_text() for text in axes[0, 0].get_xticklabels()]
    assert ticks == ["1\n(9)", "3\n(3)", "9\n(1)"]
    assert axes[0, 0].get_xlabel() == "epochs (trials)"


def test_a_line_goes_from_each_promoted_trial_to_the_one_that_goes_on():
    project = made.hyperband()
    scores = scores_of(project)
    promotions = [stay for stay in stays(scores) if stay.parent is not None]
    axes = gk.visualization.plot_hyperband(project)
    drawn = [
        tuple(round(y, 9) for y in line.get_ydata()[start : start + 2])
        for ax in axes.flat
        for line in ax.lines
        for start in range(0, len(line.get_ydata()), 3)
    ]
    expected = [
        tuple(round(float(scores.values[place]), 9) for place in (stay.parent, stay.place))
        for stay in promotions
    ]
    assert sorted(drawn) == sorted(expected)
    assert len(drawn) == 3 + 1 + 1


def test_all_trials_are_there_and_who_was_promoted_is_in_colour():
    project = made.hyperband()
    axes = gk.visualization.plot_hyperband(project)
    counts = {"not promoted": 0, "promoted, or in the last round": 0}
    for ax in axes.flat:
        for dots in ax.collections:
            counts[dots.get_label()] += len(dots.get_offsets())
    assert sum(counts.values()) == len(project.trials)
    assert counts["not promoted"] == 6 + 2 + 4


def test_iterations_of_a_bracket_share_its_panel():
    axes = gk.visualization.plot_hyperband(made.hyperband(iterations=2))
    assert axes.shape == (1, 3)
    assert axes[0, 0].get_xticklabels()[0].get_text() == "1\n(18)"


def test_failed_trials_are_crosses_and_a_lone_bracket_is_one_panel():
    project = made.hyperband(brackets=((9, 1),))
    next(iter(project.trials.values())).status = "FAILED"
    ax = gk.visualization.plot_hyperband(project)
    assert not isinstance(ax, np.ndarray)
    assert len(next(d for d in ax.collections if d.get_label() == "failed").get_offsets()) == 1


def test_another_tuner_has_no_brackets():
    with pytest.raises(ValueError, match=r"There are no brackets: .* `Hyperband`"):
        gk.visualization.plot_hyperband(made.project(5))


def test_promotions_are_there_from_a_csv_file(tmp_path):
    project = made.hyperband()
    results_dataframe(project).to_csv(tmp_path / "table.csv", index=False)
    table = pd.read_csv(tmp_path / "table.csv")
    expected = [stay.parent for stay in stays(scores_of(project))]
    assert [stay.parent for stay in stays(scores_of(table, made.ACCURACY))] == expected
    assert sum(parent is not None for parent in expected) == 3 + 1 + 1
