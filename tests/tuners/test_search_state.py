"""How far a search is, and how long it takes."""

import dataclasses
import time

import pytest

from glimr_keras.space.reserved_names import Stage
from glimr_keras.trials.execution import Execution, TrialStatus
from glimr_keras.trials.objective import MultiObjective, Objective
from glimr_keras.trials.trial import Trial
from glimr_keras.tuners.search_state import SearchState, TimeLeft

LOSS = Objective("val_loss", "min")


@dataclasses.dataclass
class Plan:
    """What an oracle plans."""

    num_trials_planned: int | None
    num_epochs_planned: int | None = None


def ended(seconds, epochs=None, initial=0, status=TrialStatus.COMPLETED):
    """A trial that took so long; of Hyperband, with its epochs."""
    stage = {} if epochs is None else {Stage.EPOCHS: epochs, Stage.INITIAL_EPOCH: initial}
    executions = {0: Execution(status, score=0.5, duration=seconds)}
    return Trial.of("0", stage, executions=executions, status=status)


def left(plan, trials, since, running=1, before=(), executions=1):
    time_left = TimeLeft(plan, before, executions)
    for trial in trials:
        time_left.add(trial)
    return time_left.seconds(since, running)


# How long


def test_trials_take_as_long_as_those_before():
    assert left(Plan(10), [ended(2.0)] * 4, since=12.0) == pytest.approx(18.0)


def test_those_that_run_beside_each_other_are_half_done():
    # the first of four workers is done after 10 s: the others nearly are, and one has begun
    alone, beside = (left(Plan(41), [ended(10.0)], 10.0, running) for running in (1, 4))
    assert alone == 400
    assert beside == pytest.approx((40 - 1.5) * 10 / 2.5)


def test_folds_that_run_are_parts_of_a_trial():
    one, five = (left(Plan(41), [ended(10.0)], 10.0, 6, executions=n) for n in (1, 5))
    assert one < five < 400


def test_trials_of_earlier_sessions_need_no_time():
    assert left(Plan(10), [ended(2.0)] * 2, 6.0, before=[ended(9.0)] * 4) == pytest.approx(12.0)


@pytest.mark.parametrize(
    ("plan", "trials"), [(Plan(None), 3), (Plan(3), 0), (Plan(3), 3), (Plan(3), 4)]
)
def test_it_is_not_known_without_a_bound_before_the_first_and_after_the_last(plan, trials):
    assert left(plan, [ended(1.0)] * trials, 9.0) is None


def test_what_is_left_counts_by_its_epochs():
    """A trial costs 2 s, and each epoch 1 s; the long trainings come last, as in Hyperband."""
    rungs = [(1, 0)] * 27 + [(3, 1)] * 9 + [(9, 3)] * 3 + [(27, 9)] * 9
    trials = [ended(2.0 + epochs - before, epochs, before) for epochs, before in rungs]
    plan = Plan(len(rungs), sum(epochs - before for epochs, before in rungs))
    seconds = [trial.duration for trial in trials]
    for done in (30, 40, 45):
        assert left(plan, trials[:done], sum(seconds[:done])) == pytest.approx(sum(seconds[done:]))
    by_number = left(Plan(len(rungs)), trials[:30], sum(seconds[:30]))
    assert by_number < sum(seconds[30:]) / 2


def test_equally_long_trainings_tell_the_time_of_an_epoch_only():
    plan = Plan(11, 5 * 2 + 6 * 10)
    assert left(plan, [ended(4.0, 2)] * 5, 20.0) == pytest.approx(6 * 20.0)


def test_a_failed_trial_is_one_less_to_do_and_says_nothing_of_times():
    plan = Plan(10, 20)
    trials = [ended(4.0, 2), ended(0.1, 2, status=TrialStatus.FAILED)]
    assert left(plan, trials, 4.1) == pytest.approx(8 * 4.1 / 2)


@pytest.mark.parametrize("seconds", [None, 0.0])
def test_trials_without_times_are_counted(seconds):
    assert left(Plan(10, 20), [ended(seconds, 2)] * 5, 10.0) == pytest.approx(10.0)


# How it is said


def state(**parts):
    return SearchState(**{"objective": LOSS, "began": time.monotonic() - 75, "done": 3, **parts})


def test_a_search_is_told_in_full():
    best = (Trial.of("0", {}, executions={0: Execution(score=0.123456)}, status="COMPLETED"),)
    told = state(total=9, running=2, failed=1, best=best, ends_at=time.monotonic() + 3700.2).in_full
    assert told == (
        "3/9 trials, 2 running, 1 failed, best val_loss 0.1235, 0:01:15 elapsed, about 1:01:40 left"
    )


def test_what_is_done_before_the_first_trial_is_told():
    assert state(doing="starting workers").in_full == (
        "3/? trials, starting workers, 0:01:15 elapsed"
    )


def test_time_that_is_over_is_not_left():
    assert state(ends_at=time.monotonic() - 9).left == ""


def test_time_stops_when_the_search_is_over():
    over = state(over_since=time.monotonic() - 59.5, ends_at=time.monotonic() + 9)
    assert (over.elapsed, over.left) == (", 0:00:15 elapsed", "")


def test_of_several_objectives_each_is_told():
    goal = MultiObjective([LOSS, Objective("acc", "max")])
    execution = Execution(TrialStatus.COMPLETED)
    execution.observe(1, {"val_loss": 0.25, "acc": 0.75}, goal)
    best = (Trial.of("0", {}, executions={0: execution}, status="COMPLETED"),)
    told = state(objective=goal, best=best)
    assert told.best_named == ", best score -0.5000 (val_loss 0.2500, acc 0.7500)"
    assert told.best_score == ", best -0.5000"


@pytest.mark.parametrize(("total", "share"), [(None, None), (0, None), (12, 0.25), (2, 1.0)])
def test_the_share_is_of_the_trials(total, share):
    assert state(total=total).share == share
