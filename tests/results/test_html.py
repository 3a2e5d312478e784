"""What a notebook shows of tuners, results and trials."""

import dataclasses
import math
import re

import pytest

from glimr_keras.results.chart_of_best import chart_of_best
from glimr_keras.results.html import failures_html, overview_html, trials_table
from glimr_keras.results.overview import Overview
from glimr_keras.space.hp_types import Choice
from glimr_keras.trials.execution import Execution, TrialStatus
from glimr_keras.trials.objective import MultiObjective, Objective
from glimr_keras.trials.trial import Trial
from tests.results import made

LOSS = Objective("val_loss", "min")
EVIL = "<script>alert(1)</script>"


def overview(trials, **parts):
    project = made.project(trials, end_order=[each.trial_id for each in trials])
    return Overview("RandomSearch", "digits", "runs/digits", LOSS, 20, project, made.SPACE, **parts)


def cells(page):
    rows = re.findall(r"<tr>(.*?)</tr>", page)
    return [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row.replace("<wbr>", "")) for row in rows]


# A project


def test_the_best_ten_are_a_table_best_first():
    page = overview_html(overview([made.trial(n, [[20.0 - n]]) for n in range(12)]))
    head, *rows = cells(page)
    assert head[:5] == ["trial", "val_loss", "best_epoch", "seconds", "units"]
    assert [row[0] for row in rows] == [f"{n:02d}" for n in range(11, 1, -1)]
    assert rows[0][1] == "9.0"
    assert "12 of 20 trials: 12 completed" in page
    assert "objective val_loss (min)" in page
    assert "<svg" in page


def test_failures_are_told_with_their_reasons():
    failed = [
        made.trial(n, [[]], TrialStatus.FAILED, message="Traceback\nValueError: <b>no</b>")
        for n in range(6)
    ]
    page = overview_html(overview(failed))
    assert "00, 01, 02 and 3 more: " in page
    assert "&lt;b&gt;no&lt;/b&gt;" in page
    assert cells(page) == []
    assert failures_html([made.trial(0, [[1.0]])]) == ""


def test_before_the_first_search_the_space_is_shown():
    page = overview_html(
        Overview("Hyperband", "x", "runs/x", LOSS, 254, space=made.SPACE, note="No search yet.")
    )
    assert "No search yet. 254 trials are planned." in page
    assert ["units", "Int", "8 to 512, log", "always"] in cells(page)


def test_everything_of_the_users_is_escaped():
    space = [Choice(EVIL, [EVIL, "b"])]
    trial = Trial.of("0", {EVIL: EVIL}, status=TrialStatus.FAILED, message=EVIL)
    scored = made.trial(1, [[1.0]], values={EVIL: EVIL})
    project = made.project([trial, scored], space)
    shown = Overview(EVIL, EVIL, EVIL, Objective(EVIL, "min"), 2, project, space, EVIL)
    for each in (shown, dataclasses.replace(shown, project=None)):
        assert "<script" not in overview_html(each)
    assert "<script" not in trial._repr_html_()


def test_folds_have_their_spread_and_objectives_each_a_column():
    folds = made.trial(0, [[1.0], [3.0]])
    (head, row) = cells(trials_table([folds], LOSS, 2))
    assert dict(zip(head, row, strict=True))["val_loss"] == "2.0"
    assert dict(zip(head, row, strict=True))["std"] == "1.0"
    goal = MultiObjective([LOSS, Objective("acc", "max")])
    execution = Execution(TrialStatus.COMPLETED)
    execution.observe(1, {"val_loss": 0.25, "acc": 0.75}, goal)
    several = Trial.of("0", {}, executions={0: execution}, status=TrialStatus.COMPLETED)
    assert cells(trials_table([several], goal)) == [
        ["trial", "score", "val_loss", "acc", "best_epoch"],
        ["0", "-0.5", "0.2500", "0.7500", "1"],
    ]


def test_there_is_no_table_of_nothing():
    assert trials_table([], LOSS) == ""


# A trial


def test_a_trial_shows_its_values_executions_and_why_it_failed():
    page = made.trial(3, [[1.0, 0.5], [2.0]])._repr_html_()
    assert "Trial 03" in page
    assert "score 1.2500" in page
    assert ["rate", "0.001"] in cells(page)
    assert ["0", "COMPLETED", "0.5", "2", "2.0"] in cells(page)
    failed = made.trial(
        4,
        [[]],
        TrialStatus.FAILED,
        message='Traceback (most recent call last):\n  File "x"\nKeyError: 3',
    )
    assert "<pre>KeyError: 3</pre>" in failed._repr_html_()
    assert "Trial" in Trial()._repr_html_()


# The chart


def path(page, number):
    return re.findall(r' d="([^"]*)"', page)[number]


def heights(page):
    """How far from the top each dot is."""
    return [float(y) for y in re.findall(r"M\S+ (\S+?)h0", path(page, 0))]


def trials_of(scores):
    return [made.trial(number, [[score]]) for number, score in enumerate(scores)]


def test_more_is_at_the_top_and_the_line_steps_to_what_is_better():
    page = chart_of_best(trials_of([3.0, 2.0, 4.0, 1.0]), LOSS)
    low, high = max(heights(page)), min(heights(page))
    thirds = [high + (low - high) * part / 3 for part in (1, 2, 0, 3)]
    assert heights(page) == pytest.approx(thirds, abs=0.1)
    assert path(page, 1).count("V") == 2
    assert path(page, 1).endswith("H316.0")
    rising = chart_of_best(trials_of([3.0, 2.0, 4.0, 1.0]), Objective("val_loss", "max"))
    assert path(rising, 1).count("V") == 1


def test_one_that_is_far_worse_does_not_flatten_the_others():
    page = chart_of_best(trials_of([1e6, 1.0, 2.0, 3.0, 2.5, 1.5]), LOSS)
    assert max(heights(page)) - sorted(heights(page))[1] > 20
    assert min(heights(page)) == heights(page)[0] == 4.0


def test_what_has_no_score_leaves_its_place_empty():
    failed = made.trial(1, [[]], TrialStatus.FAILED)
    trials = [*trials_of([3.0]), failed, made.trial(2, [[1.0]])]
    assert len(heights(chart_of_best(trials, LOSS))) == 2
    assert chart_of_best(trials[:2], LOSS) == ""
    trials[0].score = math.inf
    assert chart_of_best(trials, LOSS) == ""


def test_stopped_trials_are_not_the_best():
    trials = trials_of([3.0, 0.5, 2.0])
    trials[1].status = TrialStatus.STOPPED
    page = chart_of_best(trials, LOSS)
    assert len(heights(page)) == 3
    assert path(page, 1).count("V") == 1


def test_equal_scores_are_a_line_in_the_middle():
    assert heights(chart_of_best(trials_of([1.0, 1.0]), LOSS)) == [32.0, 32.0]


def test_a_chart_of_very_many_trials_is_small():
    assert len(chart_of_best(trials_of([1.0 + n % 7 for n in range(2000)]), LOSS)) < 8000
