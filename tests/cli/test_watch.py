"""`glimr-keras watch`."""

import fcntl
import os
import pty
import struct
import termios
import time

import pytest

from glimr_keras.cli import watch
from glimr_keras.cli.main import main
from glimr_keras.cli.opened import Opened
from glimr_keras.project.journal import Journal
from tests.cli.processes import start
from tests.results import made
from tests.script_environment import script_environment


def test_once_shows_what_runs(digits, capsys):
    assert main(["watch", str(digits), "--once"]) == 0
    out = capsys.readouterr().out
    assert "Trend      ▁" not in out.splitlines()[0]
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
    journal = Journal(digits)
    journal.add_epoch("04", 0, 3, {"val_loss": 0.6})
    journal.close()
    assert next(looks).trials["04"].executions[0].history[3] == {"val_loss": 0.6}


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
