"""Parts of a search that share GPUs, with a hand-driven executor."""

import dataclasses

import pytest

from glimr_keras.executors.phases import Alone, Measuring, Phase, Plan, fitting, hint
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
    assert coordinator.num_open == 3
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


def test_one_that_is_lost_or_refused_while_it_runs_alone_is_tried_alone_again(coordinator):
    shared, alone = Phase(SHARED), Alone(WHOLE)
    lacks_memory(coordinator, shared.next_spec(coordinator))
    spec = alone.next_spec(coordinator)
    assert not alone.is_over(coordinator)
    coordinator.give_back(spec)
    spec = alone.next_spec(coordinator)
    coordinator.on_start(spec)
    coordinator.on_lost(spec, 1.0, "killed")
    spec = alone.next_spec(coordinator)
    assert spec.resumes
    lacks_memory(coordinator, spec)
    assert alone.is_over(coordinator)
    assert coordinator.oracle.trials["0"].status == "FAILED"


def test_to_be_tried_alone_is_no_retry(journal, tmp_path):
    coordinator = coordinator_of(journal, tmp_path, 1, 1, (), retries=1)
    coordinator.shares_gpus = True
    lacks_memory(coordinator, coordinator.next_spec())
    for _ in range(2):
        finish(coordinator, Alone(WHOLE).next_spec(coordinator), "FAILED", message="ValueError")
    assert coordinator.oracle.trials["0"].status == "FAILED"


def test_where_the_search_ends_before_they_have_failed(coordinator, tmp_path):
    coordinator._failure_policy = dataclasses.replace(coordinator._failure_policy, retries=1)
    lacks_memory(coordinator, Phase(SHARED).next_spec(coordinator))
    coordinator.remark = "The time budget is spent."
    assert Alone(WHOLE).next_spec(coordinator) is None
    assert Alone(WHOLE).is_over(coordinator)
    coordinator.end_alone()
    trial = Journal(tmp_path).read().trials["0"]
    assert (trial.status, trial.message) == ("FAILED", "Out of memory")


def measured(coordinator, spec, used, size=80 * GIB):
    finish(coordinator, spec, gpu_memory=used, gpu_peak=used, gpu_size=size)


def test_the_first_trials_show_how_many_fit(journal, tmp_path):
    coordinator = coordinator_of(journal, tmp_path, 1, 40, ())
    phase = Measuring(WHOLE, 8)
    first, second = phase.next_spec(coordinator), phase.next_spec(coordinator)
    assert phase.next_spec(coordinator) is None
    measured(coordinator, first, 3 * GIB)
    assert phase.next_spec(coordinator) is None
    assert not phase.is_over(coordinator)
    measured(coordinator, second, 15 * GIB)
    assert phase.next_spec(coordinator) is None
    assert (phase.is_over(coordinator), phase.count) == (True, 4)
    assert Journal(tmp_path).read().trials["01"].gpu_memory == 15 * GIB


@pytest.mark.parametrize(("max_trials", "most", "count"), [(40, 8, 8), (12, 8, 5), (40, 3, 3)])
def test_no_more_share_a_gpu_than_there_are_trials_and_cpus_for(
    journal, tmp_path, max_trials, most, count
):
    coordinator = coordinator_of(journal, tmp_path, 1, max_trials, ())
    phase = Measuring(WHOLE, most)
    for spec in [phase.next_spec(coordinator) for _ in range(2)]:
        measured(coordinator, spec, GIB)
    assert phase.next_spec(coordinator) is None
    assert phase.count == count


@pytest.mark.parametrize("used", [60 * GIB, None])
def test_where_one_fits_the_search_goes_on_as_it_was(journal, tmp_path, used):
    coordinator = coordinator_of(journal, tmp_path, 1, 8, ())
    phase = Measuring(WHOLE, 8)
    for _ in range(4):
        specs = [phase.next_spec(coordinator) for _ in range(2)]
        assert None not in specs
        for spec in specs:
            measured(coordinator, spec, used)
    assert phase.next_spec(coordinator) is None
    assert phase.is_over(coordinator)
    said = coordinator._observer.said
    assert len(said) == (used is None)
    assert all("could not be measured" in line for line in said)


def test_what_failed_or_was_lost_says_nothing_of_what_fits(journal, tmp_path):
    coordinator = coordinator_of(journal, tmp_path, 1, 40, ())
    phase = Measuring(WHOLE, 8)
    first, second = phase.next_spec(coordinator), phase.next_spec(coordinator)
    finish(coordinator, first, "FAILED", gpu_peak=79 * GIB, gpu_size=80 * GIB)
    coordinator.on_start(second)
    coordinator.on_lost(second, 1.0, "killed")
    specs = [phase.next_spec(coordinator) for _ in range(2)]
    assert specs[0].key == second.key
    for spec in specs:
        assert phase.next_spec(coordinator) is None
        measured(coordinator, spec, GIB)
    phase.next_spec(coordinator)
    assert phase.count == 8


SERVER = [{"CPU": 16.0, "GPU": 2.0}]


def test_most_searches_have_one_part(coordinator):
    for machines, arguments, said in (
        ([{"CPU": 4.0}], {}, "4 trials at a time, each with 1 CPU."),
        ([{"CPU": 4.0}], {"trials_per_gpu": "auto"}, "4 trials at a time, each with 1 CPU."),
        (SERVER, {"max_concurrent": 1}, "1 trial at a time, with 1 GPU and 8 CPUs."),
        (SERVER, {"trials_per_gpu": "auto", "max_concurrent": 2}, "2 trials at a time, each with"),
    ):
        plan = Plan(lambda machines=machines: machines, **arguments)
        first = plan.first()
        assert plan.described(first).startswith(said)
        assert not plan.may_go_on(first)
        assert plan.after(first, coordinator) is None


def test_a_search_that_shares_gpus_goes_on_until_nothing_is_left(coordinator):
    plan = Plan(lambda: SERVER, None, 4)
    first = plan.first()
    assert plan.may_go_on(first)
    lacks_memory(coordinator, first.next_spec(coordinator))
    coordinator.finished = True
    alone = plan.after(first, coordinator)
    assert (type(alone), dict(alone.share.resources)) == (Alone, {"cpu": 8, "gpu": 1})
    finish(coordinator, alone.next_spec(coordinator))
    again = plan.after(alone, coordinator)
    assert (type(again), again.share.per_gpu) == (Phase, 4)
    for _ in range(3):
        finish(coordinator, again.next_spec(coordinator))
    assert again.next_spec(coordinator) is None
    assert plan.after(again, coordinator) is None


def test_where_the_gpus_are_gone_they_are_waited_for(coordinator):
    machines = [*SERVER]
    plan = Plan(lambda: machines, None, 4)
    first = plan.first()
    lacks_memory(coordinator, first.next_spec(coordinator))
    machines[:] = [{"CPU": 4.0}]
    alone = plan.after(first, coordinator)
    assert (type(alone), alone.share) == (Alone, first.share)


def test_parts_of_a_gpu_that_were_asked_for_are_shared_too(coordinator):
    plan = Plan(lambda: SERVER, {"gpu": 0.25, "cpu": 2})
    first = plan.first()
    assert plan.may_go_on(first)
    lacks_memory(coordinator, first.next_spec(coordinator))
    alone = plan.after(first, coordinator)
    assert dict(alone.share.resources) == {"cpu": 2, "gpu": 1}


def test_what_is_measured_decides_what_follows(journal, tmp_path):
    coordinator = coordinator_of(journal, tmp_path, 1, 40, ())
    plan = Plan(lambda: SERVER, trials_per_gpu="auto")
    first = plan.first()
    assert plan.described(first).endswith("memory is measured, as many as fit.")
    for spec in [first.next_spec(coordinator) for _ in range(2)]:
        measured(coordinator, spec, 30 * GIB)
    assert first.next_spec(coordinator) is None
    packed = plan.after(first, coordinator)
    assert (type(packed), dict(packed.share.resources)) == (Phase, {"cpu": 4, "gpu": 0.5})
    (said,) = coordinator._observer.said
    assert said == (
        "2 trials fit on a GPU: now 4 trials at a time, each with 1/2 of a GPU and 4 CPUs."
    )
    coordinator.shares_gpus = True  # as the executor says
    lacks_memory(coordinator, packed.next_spec(coordinator))
    alone = plan.after(packed, coordinator)
    finish(coordinator, alone.next_spec(coordinator))
    assert plan.after(alone, coordinator).share.per_gpu == 2


def test_a_search_that_leaves_gpus_empty_says_so_also_where_its_time_is_over(coordinator):
    plan = Plan(lambda: SERVER)
    first = plan.first()
    measured(coordinator, first.next_spec(coordinator), 4 * GIB)
    coordinator.remark = "The time budget is spent."
    assert plan.after(first, coordinator) is None
    (said,) = coordinator._observer.said
    assert "`trials_per_gpu=8`" in said


@pytest.mark.parametrize(
    ("used", "most", "said"),
    [
        (4 * GIB, 8, "took at most 4.0 of the 80 GiB of its GPU: `trials_per_gpu=8` trains 8"),
        (4 * GIB, 3, "`trials_per_gpu=3`"),
        (50 * GIB, 8, None),
        (None, 8, None),
        (4 * GIB, 1, None),
    ],
)
def test_a_gpu_that_was_mostly_empty_is_said_to_be(used, most, said):
    found = hint(used, 80 * GIB, most)
    assert found is None if said is None else said in found
