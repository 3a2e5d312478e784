"""`glimr-keras watch`."""

import fcntl
import os
import pty
import shutil
import struct
import termios
import time

import pytest

from glimr_keras.cli import project_lines, watch
from glimr_keras.cli.main import main
from glimr_keras.cli.opened import Opened
from glimr_keras.project.journal import Journal
from tests.cli.processes import start
from tests.results import made
from tests.script_environment import script_environment


def test_once_shows_what_runs(digits, capsys):
    assert main(["watch", str(digits), "--once"]) == 0
    out = capsys.readouterr().out
    assert "\nTrend      ██\n" in out
    assert "Running: 1\n  trial  epoch  val_loss  for" in out
    assert "\n  04         2       0.7  " in out
    assert "Best 3 trials\n" in out
    assert ", the last record is " in out
    assert "Ctrl-C" not in out


def test_folds_that_run_are_told_apart(tmp_path, capsys):
    trial = made.trial(0, [[0.5], [0.25, 0.125]], "RUNNING")
    directory = made.written(made.project([trial], cv_folds=2), tmp_path / "folds")
    main(["watch", str(directory), "--once"])
    out = capsys.readouterr().out
    assert "Running: 2\n  trial  fold  epoch  val_loss" in out
    assert "\n  00        1      2    0.1250" in out


def test_the_journal_is_read_again_when_it_has_grown(digits, monkeypatch):
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    looks = watch._looks(Opened(str(digits)), 0.1)
    first = next(looks)
    assert next(looks) is first
    assert first.trouble == ""
    journal = Journal(digits)
    journal.add_epoch("04", 0, 3, {"val_loss": 0.6})
    journal.close()
    found = next(looks).project
    assert found.trials["04"].executions[0].history[3] == {"val_loss": 0.6}


def test_what_cannot_be_read_for_a_moment_is_shown_as_it_was(of_keras_tuner, monkeypatch):
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    looks = watch._looks(Opened(str(of_keras_tuner)), 0.1)
    first = next(looks).project
    file = of_keras_tuner / "trial_01" / "trial.json"
    whole = file.read_bytes()
    file.write_bytes(whole[:100])
    for _ in range(2):
        look = next(looks)
        assert look.project is first
        assert "trial_01" in look.trouble
    file.write_bytes(whole.replace(b"0.5", b"0.3"))
    look = next(looks)
    assert look.project is not first
    assert look.trouble == ""


def test_a_project_that_is_overwritten_is_watched_on(digits, monkeypatch, capsys):
    looks = Looks(digits, monkeypatch)
    looks.then(lambda: shutil.rmtree(digits))
    looks.then(lambda: None)
    looks.then(lambda: made.written(made.project([made.trial(0, [[0.5]])]), digits))
    assert main(["watch", str(digits)]) == 130
    captured = capsys.readouterr()
    before, after = captured.out.splitlines()
    assert "5 trials: " in before
    assert "1 trial: 1 completed; best val_loss 0.5000" in after
    assert captured.err.count("glimr-keras: There is no glimr_keras project in ") == 1


class Looks:
    """Does something after each look, and ends it after the last.

    Args:
        directory: The project's.
    """

    def __init__(self, directory, monkeypatch):
        self._steps = []
        monkeypatch.setattr(time, "sleep", self._sleep)

    def then(self, step):
        self._steps.append(step)

    def _sleep(self, seconds):
        if not self._steps:
            raise KeyboardInterrupt
        self._steps.pop(0)()


def test_a_project_that_was_never_read_is_no_project(of_keras_tuner, capsys):
    (of_keras_tuner / "trial_01" / "trial.json").write_text("{")
    assert main(["watch", str(of_keras_tuner), "--interval", "0.1"]) == 1
    assert "trial_01" in capsys.readouterr().err


def test_a_look_takes_a_tenth_of_the_time_at_most(digits, monkeypatch):
    """Also that in which it is shown."""
    clock, slept = [0.0], []
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(time, "sleep", slept.append)
    looks = watch._looks(Opened(str(digits)), 2.0)
    for took in (0.0, 3.0, 0.1):
        next(looks)
        clock[0] += took
    next(looks)
    assert slept == [2.0, 30.0, 2.0]


def test_the_best_are_ranked_once_and_no_more_than_there_is_room_for(tmp_path, monkeypatch):
    trials = [made.trial(number, [[0.5 + number / 100]]) for number in range(90)]
    opened = Opened(str(made.written(made.project(trials), tmp_path / "many")))
    project, shown, ranked = opened.read(), [], []
    columns, rank = project_lines.trial_columns, project_lines.ranked
    monkeypatch.setattr(
        project_lines,
        "trial_columns",
        lambda best, *a: shown.append(len(best)) or columns(best, *a),
    )
    monkeypatch.setattr(project_lines, "ranked", lambda *a: ranked.append(a) or rank(*a))
    lines = watch.view(opened, project, 10_000, 80, 24)
    assert len(lines) == 24
    assert max(shown) <= 24
    assert len(ranked) == 2  # also for the best score


def test_there_is_no_trend_where_there_is_no_room(digits, capsys, monkeypatch):
    for columns in ("11", "12", "13"):
        monkeypatch.setenv("COLUMNS", columns)
        assert main(["watch", str(digits), "--once"]) == 0
        assert ("Trend" in capsys.readouterr().out) == (columns == "13")


def test_why_it_cannot_be_read_is_in_one_line(digits):
    opened = Opened(str(digits))
    lines = watch.view(opened, opened.read(), 10, 80, 24, "no network\n" + "long " * 40)
    assert lines[-1].text.startswith("It is tried again; it cannot be read now: no network long")
    assert len(lines[-1].text) <= 80
    assert len(lines) <= 24


@pytest.mark.parametrize("height", [18, 24, 60])
def test_there_are_as_many_trials_as_there_is_room_for(tmp_path, height):
    trials = [made.trial(number, [[0.5 + number / 100]]) for number in range(40)]
    failed = made.trial(41, [[0.5]], "FAILED", message="ValueError: no")
    directory = made.written(made.project([*trials, failed]), tmp_path / "many")
    opened = Opened(str(directory))
    lines = watch.view(opened, opened.read(), 100, 80, height)
    assert len(lines) <= height
    assert len(lines) >= min(height - 1, 40)


def test_what_is_no_terminal_gets_a_line_for_each_change(digits):
    process = start("watch", digits, "--interval", "0.1", stderr=None)
    try:
        assert process.stdout.readline().endswith(
            "1 running; best val_loss 0.2500, trial 00, epoch 2\n"
        )
        trial = made.trial(4, [[0.8, 0.125]])
        journal = Journal(digits)
        journal.end_execution("04", 0, trial.executions[0])
        journal.end_trial(trial)
        journal.close()
        said = ""
        while "best val_loss 0.1250, trial 04" not in said:
            said = process.stdout.readline()
            assert said
    finally:
        process.kill()
        process.communicate()


def test_a_terminal_has_a_screen_that_is_left_at_the_end(digits):
    main_end, its_end = pty.openpty()
    fcntl.ioctl(its_end, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 90, 0, 0))
    environment = script_environment(TERM="xterm-256color")
    environment.pop("COLUMNS")
    process = start(
        *("watch", digits, "--interval", "0.1"),
        stdin=its_end,
        stdout=its_end,
        stderr=its_end,
        env=environment,
        start_new_session=True,
    )
    os.close(its_end)
    written = b""
    while b"Ctrl-C ends" not in written:
        written += os.read(main_end, 4096)
    os.write(main_end, b"\x03")
    with pytest.raises(OSError, match="Input/output error"):
        while True:
            written += os.read(main_end, 4096)
    os.close(main_end)
    assert process.wait(60) == 130
    screen, _, after = written.partition(b"\x1b[?1049l")
    assert b"\x1b[?1049h" in screen
    assert b"Best 3 trials" in after
    assert b"Traceback" not in written
