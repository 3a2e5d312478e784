"""Brackets, rungs and promotions."""

import pytest

from glimr_keras.oracles import Nothing
from glimr_keras.space.hp_types import Float, Int
from glimr_keras.space.reserved_names import Stage
from glimr_keras.trials.execution import TrialStatus
from glimr_keras.trials.trial import Trial
from tests.oracles.helpers import MIN, end, hyperband


def search_hyperband(workers=1, **options):
    """Runs a whole search; the score is a quality that a trial keeps through its stages."""
    oracle = hyperband([Float("quality", 0, 1)], objective=MIN, **options)
    running, done = [], []
    while True:
        while len(running) < workers and isinstance(trial := oracle.next_trial(), Trial):
            running.append(trial)
        if not running:
            assert oracle.next_trial() is Nothing.LEFT
            return done
        trial = running.pop(0)
        done.append(end(oracle, trial, trial.suggested["quality"]))


@pytest.mark.parametrize("workers", [1, 7])
def test_hyperband_has_the_brackets_of_keras_tuner(workers):
    assert len(search_hyperband(workers, max_epochs=100, factor=3)) == 254
    assert len(search_hyperband(workers, max_epochs=8, factor=2, hyperband_iterations=2)) % 2 == 0


def test_hyperband_promotes_the_best_and_continues_their_training():
    done = {trial.trial_id: trial for trial in search_hyperband(max_epochs=9, factor=3)}
    promoted = [trial for trial in done.values() if Stage.PARENT in trial.suggested]
    assert promoted
    for trial in promoted:
        parent = done[trial.suggested[Stage.PARENT]]
        assert trial.suggested["quality"] == parent.suggested["quality"]
        assert trial.suggested[Stage.INITIAL_EPOCH] == parent.suggested[Stage.EPOCHS]
        assert trial.suggested[Stage.EPOCHS] > parent.suggested[Stage.EPOCHS]
    first = [
        trial
        for trial in done.values()
        if trial.suggested[Stage.BRACKET] == 2 and trial.suggested[Stage.ROUND] == 0
    ]
    last = [
        trial
        for trial in done.values()
        if trial.suggested[Stage.BRACKET] == 2 and trial.suggested[Stage.ROUND] == 2
    ]
    assert (
        max(trial.score for trial in last) < sorted(trial.score for trial in first)[len(first) // 2]
    )


def test_hyperband_learns_what_to_begin_with():
    done = search_hyperband(max_epochs=27, factor=3)
    begun = [trial.suggested["quality"] for trial in done if Stage.PARENT not in trial.suggested]
    assert (
        sum(begun[-12:]) / 12 < sum(begun[:8]) / 8 - 0.1
    )  # two of three are proposed, where 0 is best


def test_hyperband_promotes_before_a_rung_is_full():
    oracle = hyperband([Float("quality", 0, 1)], max_epochs=9, factor=3)
    trials = [
        end(oracle, trial, trial.suggested["quality"])
        for trial in (oracle.next_trial() for _ in range(3))
    ]
    promoted = oracle.next_trial()
    assert promoted.suggested[Stage.PARENT] == min(trials, key=lambda trial: trial.score).trial_id


@pytest.mark.parametrize("workers", [1, 5])
@pytest.mark.parametrize("seed", range(5))
def test_hyperband_knows_from_where_trials_may_go_on(workers, seed):
    oracle = hyperband([Float("quality", 0, 1)], objective=MIN, max_epochs=9, factor=3, seed=seed)
    running, kept, waiting = [], set(), set()
    while True:
        while len(running) < workers and isinstance(trial := oracle.next_trial(), Trial):
            assert trial.suggested.get(Stage.PARENT) in {None, *kept}
            running.append(trial)
        if not running:
            break
        ended = running.pop(0)
        end(oracle, ended, ended.suggested["quality"])
        before, kept = (
            kept | {ended.trial_id},
            {each.trial_id for each in oracle.trials.values() if oracle.is_continued(each)},
        )
        assert kept <= before  # what was removed is never asked for
        waiting.add(ended.trial_id)
        waiting -= set(oracle.ends_of_continuation(waiting))
        assert waiting == kept  # though only brackets in which something changed were looked at
        for child in running:
            assert child.suggested.get(Stage.PARENT) in {None, *kept}
    assert not kept


def test_hyperband_is_continued_where_it_was():
    whole = search_hyperband(max_epochs=9, factor=3)
    continued = hyperband([Float("quality", 0, 1)], max_epochs=9, factor=3)
    for trial in whole[:10]:
        continued.restore_trial(trial)
        continued.end_trial(trial)
    rest = [
        end(continued, trial, trial.suggested["quality"])
        for trial in iter(continued.next_trial, Nothing.LEFT)
    ]
    assert len(rest) == len(whole) - 10
    assert [trial.suggested for trial in rest] == [trial.suggested for trial in whole[10:]]


def test_hyperband_goes_on_without_failed_trials():
    oracle = hyperband([Float("quality", 0, 1)], max_epochs=9, factor=3)
    scores = [None, 0.5]
    done = [
        end(oracle, trial, scores[number % 2])
        for number, trial in enumerate(iter(oracle.next_trial, Nothing.LEFT))
    ]
    assert any(trial.suggested[Stage.ROUND] == 2 for trial in done)


def test_hyperband_does_not_promote_what_was_stopped():
    oracle = hyperband([Float("quality", 0, 1)], max_epochs=9, factor=3)
    for number, trial in enumerate(iter(oracle.next_trial, Nothing.LEFT)):
        assert (
            Stage.PARENT not in trial.suggested
            or oracle.trials[trial.suggested[Stage.PARENT]].status == TrialStatus.COMPLETED
        )
        end(oracle, trial, trial.suggested["quality"])
        if number % 2:
            trial.status = TrialStatus.STOPPED
            oracle.end_trial(trial)


@pytest.mark.parametrize("good", [1, 2, 3])
def test_hyperband_trains_to_the_end_however_few_are_left(good):
    oracle = hyperband([Float("quality", 0, 1)], max_epochs=9, factor=3)
    done = []
    for trial in iter(oracle.next_trial, Nothing.LEFT):
        is_first = trial.suggested[Stage.BRACKET] == 2 and trial.suggested[Stage.ROUND] == 0
        fails = is_first and sum(entry.score is not None for entry in done) >= good
        done.append(end(oracle, trial, None if fails else 0.5))
    assert any(
        trial.suggested[Stage.BRACKET] == 2 and trial.suggested[Stage.EPOCHS] == 9 for trial in done
    )


def test_hyperband_ends_when_a_small_space_is_exhausted():
    oracle = hyperband([Int("a", 1, 3)], max_epochs=9, factor=3)
    done = [
        end(oracle, trial, trial.suggested["a"]) for trial in iter(oracle.next_trial, Nothing.LEFT)
    ]
    assert sum(trial.suggested[Stage.ROUND] == 0 for trial in done) == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [({"factor": 1}, "factor needs to be at least 2"), ({"max_epochs": 0}, "`max_epochs` must be")],
)
def test_hyperband_refuses_numbers_that_make_no_sense(options, message):
    with pytest.raises(ValueError, match=message):
        hyperband(**options)


# What is planned


def searched(failing=0, workers=1, space=None, **options):
    """Runs a whole search, every so many-th trial of which fails; also what was planned at each
    moment.
    """
    oracle = hyperband(space or [Float("quality", 0, 1)], objective=MIN, **options)
    running, planned = [], [(oracle.num_trials_planned, oracle.num_epochs_planned)]
    while True:
        while len(running) < workers and isinstance(trial := oracle.next_trial(), Trial):
            running.append(trial)
        if not running:
            return oracle, planned
        trial = running.pop(0)
        fails = failing and int(trial.trial_id) % failing == failing - 1
        end(oracle, trial, None if fails else len(trial.trial_id) + int(trial.trial_id) % 7)
        planned.append((oracle.num_trials_planned, oracle.num_epochs_planned))


def epochs_of(oracle):
    return sum(
        trial.suggested[Stage.EPOCHS] - trial.suggested[Stage.INITIAL_EPOCH]
        for trial in oracle.trials.values()
    )


@pytest.mark.parametrize("workers", [1, 4])
@pytest.mark.parametrize(
    "options",
    [
        {"max_epochs": 9},
        {"max_epochs": 20, "factor": 3},
        {"max_epochs": 8, "factor": 2, "hyperband_iterations": 3},
        {"max_epochs": 1},
    ],
)
def test_a_search_has_as_many_trials_and_epochs_as_were_planned(options, workers):
    oracle, planned = searched(workers=workers, **options)
    assert set(planned) == {(len(oracle.trials), epochs_of(oracle))}


@pytest.mark.parametrize("failing", [1, 2])
def test_a_plan_shrinks_by_what_failures_leave_no_room_for(failing):
    oracle, planned = searched(failing, max_epochs=27, hyperband_iterations=2)
    assert planned[-1] == (len(oracle.trials), epochs_of(oracle))
    assert planned == sorted(planned, reverse=True)
    assert planned[0] > planned[-1]


def test_a_plan_ends_with_the_search_space():
    oracle, planned = searched(space=[Int("units", 1, 5)], max_epochs=9, factor=3)
    assert planned[0][0] > planned[-1][0]
    assert planned[-1] == (len(oracle.trials), epochs_of(oracle))


def test_a_plan_is_bounded_by_max_trials_which_leave_its_epochs_open():
    oracle = hyperband([Float("quality", 0, 1)], max_epochs=9, max_trials=7)
    assert (oracle.num_trials_planned, oracle.num_epochs_planned) == (7, None)
    oracle.max_trials = 1000
    assert (oracle.num_trials_planned, oracle.num_epochs_planned) == searched(max_epochs=9)[1][0]


def test_there_is_no_plan_without_an_end():
    oracle = hyperband([Float("quality", 0, 1)], max_epochs=9, hyperband_iterations=None)
    assert (oracle.num_trials_planned, oracle.num_epochs_planned) == (None, None)


def test_a_search_that_is_continued_has_the_plan_of_the_whole():
    oracle = hyperband([Float("quality", 0, 1)], max_epochs=9, factor=3)
    for _ in range(8):
        end(oracle, oracle.next_trial(), 0.5)
    again = hyperband([Float("quality", 0, 1)], max_epochs=9, factor=3)
    for trial in oracle.trials.values():
        again.restore_trial(trial)
    for trial in oracle.trials.values():
        again.trial_ended(trial)
    assert again.num_trials_planned == oracle.num_trials_planned
    assert again.num_epochs_planned == oracle.num_epochs_planned
