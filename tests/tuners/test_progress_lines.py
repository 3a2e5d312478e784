"""The live line of a terminal, and when a file gets its next line."""

import io
import re
import time

import pytest
import rich.console

from glimr_keras.trials.objective import Objective
from glimr_keras.tuners import progress_lines
from glimr_keras.tuners.progress import Progress
from glimr_keras.tuners.progress_lines import LogLines
from glimr_keras.tuners.search_state import SearchState
from tests.tuners.test_progress import Plan, trial

OBJECTIVE = Objective("val_loss", "min")


class Terminal(io.StringIO):
    """What is written to a terminal."""

    def isatty(self):
        return True


class File(io.StringIO):
    """What is written to a file, which knows how much of it was flushed."""

    flushed = ""

    def flush(self):
        self.flushed = self.getvalue()


# In a terminal


def lines_of(width, name="val_accuracy", done=23, total=50, is_over=False):
    """The line as it is written last while a search runs, or at its end."""
    objective, written = Objective(name, "max"), Terminal()
    progress = Progress(1, objective, Plan(total))
    progress._console = rich.console.Console(
        file=written, width=width, force_terminal=True, color_system=None
    )
    progress.on_start("runs/digits")
    progress.on_search_begin(objective, [])
    progress._first_began -= 10
    progress.on_running(4)
    for number in range(done):
        progress.on_trial_end(trial(number, number / 32))
    progress._display._bar.refresh()
    running = written.getvalue()
    progress.on_search_end()
    last = (written.getvalue() if is_over else running).rsplit("\x1b[2K", 1)[-1]
    return re.sub(r"\x1b\[\S+", "", last).splitlines()[0].rstrip()


@pytest.mark.parametrize(
    ("width", "line"),
    [
        (
            120,
            r"Search ━+ +23/50 trials, 4 running, best val_accuracy 0\.6875, 0:00:\d\d elapsed, "
            r"about 0:0\d:\d\d left",
        ),
        (84, r"Search 23/50 trials, 4 running, best val_accuracy 0\.6875, about 0:0\d:\d\d left"),
        (
            80,
            r"Search 23/50 trials, 4 running, best( val_accuracy)? 0\.6875, about 0:0\d:\d\d left",
        ),
        (60, r"Search 23/50 trials, best 0\.6875, about 0:0\d:\d\d left"),
        (40, r"Search 23/50 trials, best 0\.6875"),
    ],
)
def test_a_narrow_terminal_shows_what_counts(width, line):
    found = lines_of(width)
    assert re.fullmatch(line, found), found
    assert len(found) <= width


def test_a_long_name_leaves_room_for_the_score_and_the_time():
    name = "val_mean_absolute_percentage_error"
    assert re.search(r" 23/50 trials, best 0\.6875, about .* left$", lines_of(60, name))


def test_nothing_is_left_of_a_search_that_is_over():
    assert re.fullmatch(
        r"Search .*23/50 trials, best val_accuracy 0\.6875, 0:00:\d\d elapsed",
        lines_of(120, is_over=True),
    )


def test_what_is_not_bounded_is_shown_too():
    assert "23/? trials, 4 running, best val_accuracy 0.6875, 0:00:" in lines_of(120, total=None)


def test_a_terminal_has_the_line_alone():
    assert "began at" not in lines_of(120)


# In a file


def written(counts, minutes, total, monkeypatch, done_before=0):
    """How many trials were done when each line was written.

    Args:
        counts: How many are done, one after the other.
        minutes: That go by between them.
    """
    now, file = [time.monotonic()], File()
    monkeypatch.setattr(progress_lines.time, "monotonic", lambda: now[0])
    console = rich.console.Console(file=file)

    def state(done):
        return SearchState(OBJECTIVE, began=0.0, done=done, total=total)

    log = LogLines(console, state(done_before))
    for done in counts:
        now[0] += 60 * minutes
        log.show(state(done))
        assert file.flushed == file.getvalue()
    return [int(line.split("/")[0].removeprefix("Search ")) for line in file.flushed.splitlines()]


def test_a_long_search_has_ten_lines(monkeypatch):
    assert written(range(1, 101), 5, 100, monkeypatch) == list(range(10, 101, 10))


def test_a_search_of_few_trials_has_a_line_for_each(monkeypatch):
    assert written(range(1, 6), 5, 5, monkeypatch) == [1, 2, 3, 4, 5]


def test_a_short_search_has_a_line_a_minute(monkeypatch):
    assert written(range(1, 101), 0.021, 100, monkeypatch) == [48, 96]


def test_a_tenth_is_of_the_whole_search_also_where_it_is_continued(monkeypatch):
    assert written(range(51, 101), 5, 100, monkeypatch, done_before=50) == [60, 70, 80, 90, 100]


def test_a_search_without_a_bound_has_fewer_and_fewer_lines(monkeypatch):
    found = written(range(1, 1001), 5, None, monkeypatch)
    assert found[:5] == [1, 2, 3, 4, 5]
    assert 50 < len(found) < 60
    assert found[-1] - found[-2] > 80


def test_nothing_is_written_while_nothing_is_new(monkeypatch):
    assert written([1] * 50, 5, 10, monkeypatch) == [1]
