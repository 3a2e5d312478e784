"""What a person sees while a search runs."""

import io
import re

import pytest
import rich.console

from glimr_keras.trials.objective import Objective
from glimr_keras.trials.trial import Execution, Trial, TrialStatus
from glimr_keras.tuners.progress import Progress, describe_trial

OBJECTIVE = Objective("val_loss", "min")


def trial(number=0, score=0.5, status=TrialStatus.COMPLETED, values=None, message=None):
    execution = Execution(
        status, best_epoch=None if score is None else 3, score=score, duration=2.0
    )
    values = values or {"units": 4, "rate": 0.123456}
    return Trial.of(
        f"{number:04d}", values, status=status, executions={0: execution}, message=message
    )


def shown(capsys, verbose, *trials, total=3, earlier=(), remark=None):
    """What a search prints, ended trial by ended trial."""
    progress = Progress(verbose)
    progress.on_search_begin(OBJECTIVE, total, list(earlier))
    progress.on_running(1)
    for ended in trials:
        progress.on_trial_end(ended)
    progress.on_search_end(remark)
    printed = capsys.readouterr()
    assert printed.err == ""
    return printed.out


# One line on a trial


def test_a_finished_trial_is_described_by_score_epoch_values_and_time():
    assert (
        describe_trial(trial(), OBJECTIVE)
        == "Trial 0000: val_loss=0.5000 at epoch 3  units=4 rate=0.1235 [2.0 s]"
    )


def test_a_stopped_trial_says_so():
    assert "Trial 0007 (stopped early): val_loss=0.5000" in describe_trial(
        trial(7, status=TrialStatus.STOPPED), OBJECTIVE
    )


HEAD = 'Traceback (most recent call last):\n  File "train.py", line 3, in build\n    fails()\n'


def test_a_failed_trial_shows_its_error():
    failed = trial(score=None, status=TrialStatus.FAILED, message=f"{HEAD}ValueError: too large\n")
    assert (
        describe_trial(failed, OBJECTIVE)
        == "Trial 0000 FAILED: ValueError: too large  units=4 rate=0.1235 [2.0 s]"
    )


def test_an_error_of_several_lines_is_shown_whole():
    message = f"{HEAD}ValueError: Data cardinality is ambiguous.\n'x' sizes: 20\n'y' sizes: 15\n"
    failed = trial(score=None, status=TrialStatus.FAILED, message=message)
    assert describe_trial(failed, OBJECTIVE) == (
        "Trial 0000 FAILED  units=4 rate=0.1235 [2.0 s]:\n"
        "  ValueError: Data cardinality is ambiguous.\n  'x' sizes: 20\n  'y' sizes: 15"
    )


def test_a_trial_that_failed_without_a_message_is_described_too():
    assert "FAILED: unknown reason" in describe_trial(
        trial(score=None, status=TrialStatus.FAILED), OBJECTIVE
    )


def test_a_trial_without_a_score_has_no_epoch():
    described = describe_trial(trial(score=None, status=TrialStatus.STOPPED), OBJECTIVE)
    assert "no score" in described
    assert "at epoch" not in described


def test_of_several_executions_the_epoch_is_that_of_the_best():
    both = trial()
    both.executions[1] = Execution(TrialStatus.COMPLETED, best_epoch=9, score=0.25, duration=1.0)
    assert "val_loss=0.3750 at epoch 9" in describe_trial(both, OBJECTIVE)


# The whole search


def test_verbose_0_prints_nothing(capsys):
    assert shown(capsys, 0, trial(), trial(1, status=TrialStatus.FAILED), remark="remark") == ""


def test_verbose_1_leaves_one_line_with_done_failed_and_best(capsys):
    out = shown(capsys, 1, trial(0, 0.5), trial(1, 0.25))
    assert "2/3 trials, best val_loss 0.2500" in out
    assert "Trial 0000" not in out
    assert len(out.strip().splitlines()) == 1


def test_each_failed_trial_is_named_and_each_reason_shown_whole_once(capsys):
    messages = [
        f"{HEAD}ValueError: too large\nby 3",
        f"{HEAD.replace('3', '4')}ValueError: too large\nby 3",
        "KeyError: 'x'",
    ]
    failed = [
        trial(number, None, TrialStatus.FAILED, message=message)
        for number, message in enumerate(messages)
    ]
    *lines, last = shown(capsys, 1, *failed).strip().splitlines()
    assert lines == [
        "Trial 0000 FAILED  units=4 rate=0.1235 [2.0 s]:",
        "  ValueError: too large",
        "  by 3",
        "Trial 0001 FAILED like trial 0000: ValueError: too large …  units=4 rate=0.1235 [2.0 s]",
        "Trial 0002 FAILED: KeyError: 'x'  units=4 rate=0.1235 [2.0 s]",
    ]
    assert "3/3 trials, 3 failed" in last


def test_verbose_2_adds_a_line_for_every_trial(capsys):
    out = shown(capsys, 2, trial(0, 0.5), trial(1, 0.25))
    assert "Trial 0000: val_loss=0.5000" in out
    assert "Trial 0001: val_loss=0.2500" in out
    assert "2/3 trials, best val_loss 0.2500" in out


def test_trials_of_earlier_sessions_count(capsys):
    out = shown(
        capsys, 2, trial(2, 0.5), earlier=[trial(0, 0.125), trial(1, None, TrialStatus.FAILED)]
    )
    assert "3/3 trials, 1 failed, best val_loss 0.1250" in out
    assert "Trial 0000" not in out


def test_without_a_known_total_the_trials_are_counted(capsys):
    assert "1/?" in shown(capsys, 1, trial(), total=None)


def test_a_remark_is_shown_below_the_line(capsys):
    out = shown(capsys, 1, trial(), remark="The search space is exhausted.")
    assert out.strip().splitlines()[-1] == "The search space is exhausted."


def test_a_search_that_never_began_can_end(capsys):
    Progress().on_search_end()
    assert capsys.readouterr().out == ""


# In a terminal


def lines_of(width, name="val_accuracy", done=23, total=50, is_over=False):
    """The line as it is written last while a search runs, or at its end."""
    progress = Progress()
    written = io.StringIO()
    progress._console = rich.console.Console(
        file=written, width=width, force_terminal=True, color_system=None
    )
    progress.on_search_begin(Objective(name, "max"), total, [])
    progress.on_running(4)
    for number in range(done):
        progress.on_trial_end(trial(number, number / 32))
    progress._line._bar.refresh()
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
        (80, r"Search 23/50 trials, 4 running, best val_accuracy 0\.6875, about 0:0\d:\d\d left"),
        (60, r"Search 23/50 trials, 4 running, best val_accuracy 0\.6875"),
        (40, r"Search 23/50 trials, best 0\.6875"),
    ],
)
def test_a_narrow_terminal_shows_what_counts(width, line):
    found = lines_of(width)
    assert re.fullmatch(line, found), found
    assert len(found) <= width


def test_a_long_name_leaves_room_for_the_score():
    assert lines_of(60, "val_mean_absolute_percentage_error").endswith(" 23/50 trials, best 0.6875")


def test_nothing_is_left_of_a_search_that_is_over():
    assert re.fullmatch(
        r"Search .*23/50 trials, best val_accuracy 0\.6875, 0:00:\d\d elapsed",
        lines_of(120, is_over=True),
    )


def test_what_is_not_bounded_is_shown_too():
    assert "23/? trials, 4 running, best val_accuracy 0.6875, 0:00:" in lines_of(120, total=None)


# Texts of others


@pytest.mark.parametrize(
    "text", ["ValueError: expected [batch, 3]", "KeyError: [bold]", "OSError: [/data/x]"]
)
def test_a_message_is_shown_as_it_is(capsys, text):
    assert text in shown(capsys, 2, trial(score=None, status=TrialStatus.FAILED, message=text))


def test_a_trial_takes_one_line_in_a_log_file(capsys):
    out = shown(capsys, 2, trial(values={f"hyperparameter_{i}": 0.5 for i in range(9)}))
    assert len([line for line in out.splitlines() if "hyperparameter_" in line]) == 1
