"""`glimr-keras show`."""

import pytest

from glimr_keras.cli import project_lines
from glimr_keras.cli.main import main
from glimr_keras.cli.project_lines import moment
from tests.results import made


def shown(capsys, *arguments):
    assert main(["show", *map(str, arguments)]) == 0
    return capsys.readouterr().out


def test_it_says_what_was_searched_and_what_came_out(digits, capsys):
    began = moment(made.BEGAN)
    assert shown(capsys, digits) == (
        f"digits in {digits}\n"
        "Objective  val_loss (min)\n"
        "Search     RandomSearch, seed 0\n"
        "Progress   5 trials: 2 completed, 1 stopped early, 1 failed, 1 running\n"
        "Best       val_loss 0.2500, trial 00, epoch 2\n"
        f"Time       since {began}, 0:00:07 of training by 5 workers\n"
        "\n"
        "Best 3 trials\n"
        "  trial  status     val_loss  best_epoch  seconds  units      rate  kind  norm\n"
        "  00     COMPLETED    0.2500           2      3.0      8  0.001000  wide  False\n"
        "  01     COMPLETED    0.5000           2      2.0      9  0.001000  wide  False\n"
        "  02     STOPPED      0.7500           1      1.0     10  0.001000  wide  False\n"
        "\n"
        "Failed trials\n"
        "  03: ValueError: <b>too large</b> & more\n"
    )


def test_a_search_that_is_over_has_an_end(tmp_path, capsys):
    trials = [made.trial(0, [[0.5, 0.25]]), made.trial(1, [[0.75]])]
    directory = made.written(made.project(trials), tmp_path / "over")
    began, ended = moment(made.BEGAN), moment(made.BEGAN + 101)
    assert f"Time       {began} to {ended} (0:01:41), 0:00:03 of" in shown(capsys, directory)


def test_a_project_without_scores_says_so(tmp_path, capsys):
    directory = made.written(made.project([]), tmp_path / "empty")
    out = shown(capsys, directory)
    assert "Progress   0 trials\n" in out
    assert "No trial has a score yet." in out


def test_so_many_are_shown_as_are_asked_for(digits, capsys):
    out = shown(capsys, digits, "-n", "1")
    assert "Best trial\n" in out
    assert "  01 " not in out


@pytest.mark.parametrize("columns", [80, 140])
def test_lines_are_no_wider_than_the_terminal(columns, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(columns))
    values = {f"hyperparameter_{number}": number / 7 for number in range(12)}
    failed = made.trial(1, [[0.5]], "FAILED", message="ValueError: " + "very long " * 60)
    trials = [made.trial(0, [[0.5]], values=values), failed]
    directory = made.written(made.project(trials), tmp_path / ("long" * 20))
    lines = shown(capsys, directory).splitlines()
    assert max(map(len, lines)) <= columns
    assert sum("hyperparameter_" in line for line in lines) >= 1


def test_a_project_of_keras_tuner_is_shown(of_keras_tuner, capsys):
    out = shown(capsys, of_keras_tuner)
    assert "Progress   2 trials: 2 completed" in out
    assert "Best       val_loss 0.2500, trial 00, epoch 2" in out
    assert "Time" not in out


def test_the_trend_is_that_of_the_best_so_far():
    scores = [0.9, 0.5, 0.7, 0.1]
    project = made.project([made.trial(n, [[score]]) for n, score in enumerate(scores)])
    assert project_lines.trend(project, 40) == "▁▅▅█"
    assert project_lines.trend(project, 2) == "▁█"
    assert [project_lines.trend(project, width) for width in (1, 0, -1)] == [""] * 3
    assert project_lines.trend(made.project([made.trial(0, [[0.5]])]), 40) == ""


def test_stopped_trials_have_a_part_in_the_trend_only_without_others():
    stopped = [made.trial(n, [[score]], "STOPPED") for n, score in enumerate([0.2, 0.1])]
    completed = [made.trial(n, [[score]]) for n, score in enumerate([0.9, 0.8], start=2)]
    assert project_lines.trend(made.project(stopped), 40) == "▁█"
    assert project_lines.trend(made.project([*stopped, *completed]), 40) == "▁█"
    assert project_lines.trend(made.project([*stopped, completed[0]]), 40) == ""
