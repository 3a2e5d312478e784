"""Parts of a search that share GPUs, with a hand-driven executor."""

import pytest

from glimr_keras.executors.phases import Alone, Measuring, Phase, fitting, hint
from glimr_keras.executors.resources import Share
from glimr_keras.project.journal import Journal
from tests.executors.test_coordinator import coordinator_of, finish

GIB = 2**30
WHOLE = Share({"cpu": 8.0, "gpu": 1.0}, 2)
SHARED = Share({"cpu": 2.0, "gpu": 0.25}, 8, 4)


@pytest.fixture
def journal(tmp_path):
    journal = Journal(tmp_path)
    yield journal
    journal.close()


@pytest.fixture
def coordinator(journal, tmp_path):
    made = coordinator_of(journal, tmp_path, 1, 4, ())
    made.shares_gpus = True
    return made


def lacks_memory(coordinator, spec):
    finish(coordinator, spec, "FAILED", message="Out of memory", lacks_memory=True)


@pytest.mark.parametrize(
    ("used", "size", "count"),
    [
        (GIB, 80 * GIB, 45),
        (39 * GIB, 80 * GIB, 1),
        (79 * GIB, 80 * GIB, 1),
        (None, 80 * GIB, None),
        (GIB, None, None),
    ],
)
def test_how_many_fit_is_told_by_what_one_took(used, size, count):
    assert fitting(used, size) == count


def test_what_lacked_memory_beside_others_is_tried_once_more_alone(coordinator, tmp_path):
    shared = Phase(SHARED)
    specs = [shared.next_spec(coordinator) for _ in range(4)]
    lacks_memory(coordinator, specs[0])
    assert not coordinator.is_idle
    for spec in specs[1:3]:
        finish(coordinator, spec)
    lacks_memory(coordinator, specs[3])
    assert shared.next_spec(coordinator) is None
    assert shared.is_over(coordinator)
    project = Journal(tmp_path).read()
    assert [trial.status for trial in project.trials.values()].count("RUNNING") == 2
    alone = Alone(WHOLE)
    assert not alone.is_over(coordinator)
    first = alone.next_spec(coordinator)
    assert (first.trial_id, first.attempt) == (specs[3].trial_id, 1)
    finish(coordinator, first)
    lacks_memory(coordinator, alone.next_spec(coordinator))
    assert alone.next_spec(coordinator) is None
    assert alone.is_over(coordinator)
    assert not coordinator.goes_on()
    trials = Journal(tmp_path).read().trials
    assert [trials[spec.trial_id].status for spec in specs] == ["FAILED", *["COMPLETED"] * 3]
    assert trials[specs[0].trial_id].message == "Out of memory"


def test_a_search_goes_on_after_those_that_ran_alone(coordinator):
    shared = Phase(SHARED)
    lacks_memory(coordinator, shared.next_spec(coordinator))
    coordinator.finished = True  # as where what is chosen next depends on that trial
    finish(coordinator, Alone(WHOLE).next_spec(coordinator))
    assert coordinator.goes_on()
    for _ in range(3):
        finish(coordinator, shared.next_spec(coordinator))
    assert shared.next_spec(coordinator) is None
    assert not coordinator.goes_on()


def test_who_has_a_gpu_alone_fails_at_once(coordinator):
    coordinator.shares_gpus = False
    lacks_memory(coordinator, coordinator.next_spec())
    assert not coordinator.has_alone
    assert coordinator.oracle.trials["0"].status == "FAILED"


def test_other_failures_beside_others_count(coordinator):
    finish(coordinator, coordinator.next_spec(), "FAILED", message="ValueError")
    assert not coordinator.has_alone


def test_another_execution_that_fails_takes_the_one_that_waits_along(journal, tmp_path):
    coordinator = coordinator_of(journal, tmp_path, 2, 4, ())
    coordinator.shares_gpus = True
    first, second = coordinator.next_spec(), coordinator.next_spec()
    lacks_memory(coordinator, first)
    finish(coordinator, second, "FAILED", message="ValueError")
    assert not coordinator.has_alone
    assert coordinator.oracle.trials["0"].status == "FAILED"


def measured(coordinator, spec, used, size=80 * GIB):
    finish(coordinator, spec, gpu_memory=used, gpu_size=size)


def test_the_first_trials_show_how_many_fit(coordinator, tmp_path):
    phase = Measuring(WHOLE, 8)
    first, second = phase.next_spec(coordinator), phase.next_spec(coordinator)
    assert phase.next_spec(coordinator) is None
    measured(coordinator, first, 3 * GIB)
    assert phase.next_spec(coordinator) is None
    assert not phase.is_over(coordinator)
    measured(coordinator, second, 15 * GIB)
    assert phase.is_over(coordinator)
    assert phase.fitting(coordinator) == 4
    assert phase.next_spec(coordinator) is None
    assert Journal(tmp_path).read().trials["1"].gpu_memory == 15 * GIB


def test_more_than_have_cpus_do_not_share_a_gpu(coordinator):
    phase = Measuring(WHOLE, 8)
    for spec in [phase.next_spec(coordinator) for _ in range(2)]:
        measured(coordinator, spec, GIB)
    assert phase.fitting(coordinator) == 8


@pytest.mark.parametrize("used", [60 * GIB, None])
def test_where_one_fits_the_search_goes_on_as_it_was(coordinator, used):
    phase = Measuring(WHOLE, 8)
    for spec in [phase.next_spec(coordinator) for _ in range(2)]:
        measured(coordinator, spec, used)
    assert not phase.is_over(coordinator)
    specs = [phase.next_spec(coordinator) for _ in range(2)]
    assert None not in specs
    for spec in specs:
        measured(coordinator, spec, GIB)
    assert phase.next_spec(coordinator) is None
    assert phase.is_over(coordinator)


def test_what_failed_says_nothing_of_what_fits(coordinator):
    phase = Measuring(WHOLE, 8)
    first, second = phase.next_spec(coordinator), phase.next_spec(coordinator)
    finish(coordinator, first, "FAILED", gpu_memory=79 * GIB, gpu_size=80 * GIB)
    measured(coordinator, second, GIB)
    assert phase.fitting(coordinator) == 8


@pytest.mark.parametrize(
    ("share", "used", "said"),
    [
        (WHOLE, 4 * GIB, "took at most 4.0 of the 80 GiB of its GPU: `trials_per_gpu=8` trains 8"),
        (Share({"cpu": 3.5, "gpu": 1.0}, 1), 4 * GIB, "`trials_per_gpu=3`"),
        (WHOLE, 50 * GIB, None),
        (WHOLE, None, None),
        (Share({"cpu": 1.0, "gpu": 1.0}, 1), 4 * GIB, None),
        (SHARED, 4 * GIB, None),
    ],
)
def test_a_gpu_that_was_mostly_empty_is_said_to_be(share, used, said):
    found = hint(share, used, 80 * GIB)
    assert found is None if said is None else said in found
