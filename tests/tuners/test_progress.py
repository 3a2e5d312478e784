"""What a person sees while a search runs: in a file, and what is said of a trial."""

import dataclasses
import errno
import io
import re
import subprocess
import sys
import time
import types

import pytest

import glimr_keras as gk
from glimr_keras.project.journal import Journal
from glimr_keras.trials.execution import Execution, TrialStatus
from glimr_keras.trials.objective import Objective
from glimr_keras.trials.trial import Trial
from glimr_keras.tuners.progress import Progress, describe_trial
from glimr_keras.tuners.progress_notebook import in_notebook
from tests.script_environment import script_environment

OBJECTIVE = Objective("val_loss", "min")


@dataclasses.dataclass
class Plan:
    """What an oracle plans."""

    num_trials_planned: int | None
    num_epochs_planned: int | None = None


def trial(number=0, score=0.5, status=TrialStatus.COMPLETED, values=None, message=None):
    execution = Execution(
        status, best_epoch=None if score is None else 3, score=score, duration=2.0
    )
    values = values or {"units": 4, "rate": 0.123456}
    return Trial.of(
        f"{number:04d}", values, status=status, executions={0: execution}, message=message
    )


def shown(capsys, verbose, *trials, total=3, earlier=(), remark=None):
    """What a search writes into a file, ended trial by ended trial."""
    progress = Progress(verbose, OBJECTIVE, Plan(total))
    progress.on_start("runs/digits")
    with progress.preparing("Starting Ray"):
        pass
    progress.on_search_begin(OBJECTIVE, list(earlier))
    progress.on_running(1)
    for ended in trials:
        progress.on_trial_end(ended)
    progress.on_search_end(remark)
    printed = capsys.readouterr()
    assert printed.err == ""
    return printed.out


def lines(*args, **options):
    """The same without the line at the start."""
    first, *others = shown(*args, **options).splitlines()
    assert first.startswith("Search ")
    return others


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


def test_small_and_large_scores_have_their_digits():
    assert "val_loss=1.235e-05 " in describe_trial(trial(score=0.0000123456), OBJECTIVE)
    assert "val_loss=12345.7 " in describe_trial(trial(score=12345.678), OBJECTIVE)


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


# The whole search, in a file


def test_verbose_0_prints_nothing(capsys):
    assert shown(capsys, 0, trial(), trial(1, status=TrialStatus.FAILED), remark="remark") == ""


def test_verbose_1_leaves_a_line_at_the_start_and_one_with_done_failed_and_best(capsys):
    first, last = shown(capsys, 1, trial(0, 0.5), trial(1, 0.25)).splitlines()
    assert re.fullmatch(
        r"Search of 3 trials in runs/digits began at [\d-]{10} [\d:]{8}, objective val_loss", first
    )
    assert re.fullmatch(r"Search 2/3 trials, best val_loss 0\.2500, 0:00:\d\d elapsed", last)


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
    *told, last = lines(capsys, 1, *failed)
    assert told == [
        "Trial 0000 FAILED  units=4 rate=0.1235 [2.0 s]:",
        "  ValueError: too large",
        "  by 3",
        "Trial 0001 FAILED like trial 0000: ValueError: too large …  units=4 rate=0.1235 [2.0 s]",
        "Trial 0002 FAILED: KeyError: 'x'  units=4 rate=0.1235 [2.0 s]",
    ]
    assert "3/3 trials, 3 failed" in last


def test_verbose_2_adds_a_line_for_every_trial(capsys):
    first, second, last = lines(capsys, 2, trial(0, 0.5), trial(1, 0.25))
    assert first.startswith("Trial 0000: val_loss=0.5000")
    assert second.startswith("Trial 0001: val_loss=0.2500")
    assert "2/3 trials, best val_loss 0.2500" in last


def test_trials_of_earlier_sessions_count(capsys):
    earlier = [trial(0, 0.125), trial(1, None, TrialStatus.FAILED)]
    out = shown(capsys, 2, trial(2, 0.5), earlier=earlier)
    assert "3/3 trials, 1 failed, best val_loss 0.1250" in out
    assert "Trial 0000" not in out


def test_without_a_known_total_the_trials_are_counted(capsys):
    out = shown(capsys, 1, trial(), total=None)
    assert out.startswith("Search in runs/digits began at")
    assert "1/? trials" in out


def test_a_remark_is_shown_below_the_line(capsys):
    assert lines(capsys, 1, trial(), remark="The search space is exhausted.")[-1] == (
        "The search space is exhausted."
    )


def test_of_a_search_that_never_began_there_is_no_last_line(capsys):
    Progress(1, OBJECTIVE, Plan(3)).on_search_end()
    assert capsys.readouterr().out == ""


def test_the_total_is_what_is_planned_now(capsys):
    plan = Plan(9)
    progress = Progress(1, OBJECTIVE, plan)
    progress.on_search_begin(OBJECTIVE, [])
    progress.on_trial_end(trial())
    plan.num_trials_planned = 7
    progress.on_search_end()
    assert "1/7 trials" in capsys.readouterr().out


def test_what_is_elapsed_counts_from_the_call_of_search(capsys):
    progress = Progress(1, OBJECTIVE, Plan(3))
    progress._began -= 65  # as if Ray had taken so long to start
    progress.on_search_begin(OBJECTIVE, [])
    progress.on_search_end()
    assert "0:01:05 elapsed" in capsys.readouterr().out


def test_the_time_left_is_that_of_trials_not_of_the_start_and_at_most_the_budget():
    progress = Progress(0, OBJECTIVE, Plan(101))
    progress._began -= 1000
    progress.on_search_begin(OBJECTIVE, [])
    progress._first_began -= 10
    progress.on_trial_end(trial())
    assert progress._state().ends_at - time.monotonic() == pytest.approx(1000, rel=0.01)
    progress.on_search_begin(OBJECTIVE, [], time_budget_s=30)
    progress.on_running(1)
    assert progress._state().ends_at - time.monotonic() == pytest.approx(30, rel=0.01)


# Texts of others


@pytest.mark.parametrize(
    "text",
    ["ValueError: expected [batch, 3]", "KeyError: [bold]", "OSError: [/data/x]", "E: :warning:"],
)
def test_a_message_is_shown_as_it_is(capsys, text):
    assert text in shown(capsys, 2, trial(score=None, status=TrialStatus.FAILED, message=text))


def test_a_trial_takes_one_line_in_a_log_file(capsys):
    out = shown(capsys, 2, trial(values={f"hyperparameter_{i}": 0.5 for i in range(9)}))
    assert len([line for line in out.splitlines() if "hyperparameter_" in line]) == 1


@pytest.mark.parametrize("force", ["", "1"])
def test_a_file_has_no_control_characters(capsys, monkeypatch, force):
    monkeypatch.setenv("FORCE_COLOR", force)
    message = f"{HEAD}ValueError: \x1b[1mInvalid\x1b[0m shape\r\n\x07(3, 4)"
    out = shown(capsys, 2, trial(), trial(1, None, TrialStatus.FAILED, message=message))
    assert "ValueError: Invalid shape\n  (3, 4)" in out
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", out)


class FullDisk(io.StringIO):
    """A file that takes nothing."""

    def write(self, text):
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_search_goes_on_where_nothing_can_be_shown(monkeypatch):
    monkeypatch.setattr(sys, "stdout", FullDisk())
    progress = Progress(2, OBJECTIVE, Plan(2))
    progress.on_start("runs/digits")
    progress.on_search_begin(OBJECTIVE, [])
    progress.on_running(1)
    progress.on_trial_end(trial())
    progress.on_search_end("Done.")


def test_a_search_goes_on_when_nobody_reads_its_log_any_more():
    code = (
        "import os\n"
        "from glimr_keras.trials.objective import Objective\n"
        "from glimr_keras.tuners.progress import Progress\n"
        "from tests.tuners.test_progress import Plan, trial\n"
        "progress = Progress(2, Objective('val_loss', 'min'), Plan(9))\n"
        "progress.on_search_begin(Objective('val_loss', 'min'), [])\n"
        "for number in range(9):\n"
        "    progress.on_trial_end(trial(number))\n"
        "os.write(2, b'over')\n"
    )
    script = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=script_environment(),
    )
    script.stdout.close()
    with script.stderr:
        said = script.stderr.read()
    assert script.wait(300) == 0
    assert said == b"over"


@pytest.mark.parametrize("encoding", ["cp1252", "latin-1", "ascii"])
def test_what_the_encoding_of_a_log_lacks_is_a_question_mark(monkeypatch, encoding):
    log = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(log, encoding, write_through=True))
    progress = Progress(1, Objective("Ω", "min"), Plan(2))
    progress.on_start("C:\\Users\\Иван\\runs")
    progress.on_search_begin(Objective("Ω", "min"), [])
    message = f"{HEAD}ValueError: units ≥ 3"
    progress.on_trial_end(trial(0, None, TrialStatus.FAILED, message=message))
    progress.on_trial_end(trial(1))
    progress.on_search_end("Done.")
    began, failed, ended, remark = log.getvalue().decode(encoding).splitlines()
    assert "C:\\Users\\????\\runs" in began
    assert "FAILED: ValueError: units ? 3  units=4" in failed
    assert "2/2 trials, 1 failed, best ? 0.5000" in ended
    assert remark == "Done."


def test_that_a_project_was_found_is_said_in_any_encoding(project, monkeypatch):
    options = {**project, "project_name": "Ω", "executor": "inline"}
    gk.RandomSearch(Draws(), gk.Objective("x", "min"), 1, **options).search(verbose=0)
    log = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(log, "cp1252", write_through=True))
    gk.RandomSearch(Draws(), gk.Objective("x", "min"), 1, **options)
    assert re.fullmatch(rb"Reloading Tuner from .*/\?/tuner0\.json\n", log.getvalue())


class Draws(gk.HyperModel):
    """Trains nothing."""

    def run(self, config):
        return config.Float("x", 0, 1)


def test_a_search_whose_end_cannot_be_shown_is_saved_and_can_be_gone_on_with(project, monkeypatch):
    def fails(progress, remark=None):
        raise RuntimeError("no screen")

    monkeypatch.setattr(Progress, "on_search_end", fails)
    tuner = gk.RandomSearch(Draws(), gk.Objective("x", "min"), 2, executor="inline", **project)
    saved = []
    monkeypatch.setattr(tuner, "save", lambda: saved.append(len(tuner.oracle.trials)))
    with pytest.raises(RuntimeError, match="no screen"):
        tuner.search()
    assert saved[-1] == 2
    journal = Journal(tuner._glimr.place)
    journal.claim()  # which nobody else has
    journal.close()


@pytest.mark.parametrize(
    ("module", "name", "is_it"),
    [
        ("ipykernel.zmqshell", "ZMQInteractiveShell", True),
        ("google.colab._shell", "Shell", True),
        ("spyder_kernels.console.shell", "SpyderShell", False),  # which shows each output below
        ("IPython.terminal.interactiveshell", "TerminalInteractiveShell", False),
    ],
)
def test_a_notebook_is_where_outputs_can_be_replaced(module, name, is_it, monkeypatch):
    of_jupyter = type("ZMQInteractiveShell", (), {"__module__": "ipykernel.zmqshell"})
    kind = type(name, (of_jupyter,), {"__module__": module})
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=kind))
    assert in_notebook() == is_it
    monkeypatch.delitem(sys.modules, "IPython")
    assert not in_notebook()
