"""The bridge, asked and told by hand as Ray Tune does it."""

import math

import pytest

from glimr_keras.errors import ShippingError
from glimr_keras.executors import ray_bridge
from glimr_keras.executors.coordinator import Coordinator
from glimr_keras.executors.ray_bridge import Bridge, flatten, nest
from glimr_keras.oracles import RandomSearchOracle
from glimr_keras.project.journal import Journal, Project
from glimr_keras.space.hp_types import Float
from glimr_keras.training.discovery import PROBED, Probe
from glimr_keras.training.messages import Outcome, Report
from glimr_keras.trials.objective import Objective
from tests.executors.test_coordinator import Silent

OBJECTIVE = Objective("score", "max")
STAND_BY, BUILD = {"skipped": None}, {"skipped": 0}


class Learns(RandomSearchOracle):
    """Wants results before it chooses."""

    learns = True


@pytest.fixture
def begin(tmp_path):
    """Begins a search of four trials."""
    journal = Journal(tmp_path)

    def begin_with(found, oracle=RandomSearchOracle):
        if found.error:
            raise ValueError(found.error)
        journal.create(Project(OBJECTIVE, 0, 1, []))
        return Coordinator(
            oracle(OBJECTIVE, 4, seed=0, space=[Float("x", 0, 1)]), journal, tmp_path, 1, Silent()
        )

    yield begin_with
    journal.close()


def done(bridge, ray_id, score=1.0):
    bridge.start(ray_id)
    values = bridge.specs[ray_id].values
    bridge.report(
        ray_id, Report(1, {"score": score}, values, [], Outcome("COMPLETED", 1.0, score, 1))
    )
    bridge.end(ray_id)


def begun(begin, workers=2, max_running=None):
    """A bridge whose search has begun, with `workers` processes that stand by as `s0`, `s1`, …"""
    bridge = Bridge(begin, workers, max_running)
    for number in range(workers):
        bridge.next_task(f"s{number}")
    bridge.report("s0", Probe({"score": "max"}))
    return bridge


def training(begin, max_running=None):
    """A bridge two of whose processes train, as `r0` and `r1`."""
    bridge = begun(begin, max_running=max_running)
    for number in range(2):
        bridge.end(f"s{number}")
        bridge.next_task(f"r{number}")
        bridge.start(f"r{number}")
    return bridge


def test_a_process_that_does_not_begin_is_said_once(begin, monkeypatch):
    said = []
    monkeypatch.setattr(ray_bridge, "say", said.append)
    bridge = Bridge(begin, 1, None)
    bridge.check_begun()
    monkeypatch.setattr(ray_bridge.time, "monotonic", lambda: math.inf)
    bridge.check_begun()
    bridge.check_begun()
    (line,) = said
    assert "has begun in 60 s" in line
    begun = Bridge(begin, 1, None)
    begun.start("s0")
    begun.check_begun()
    assert len(said) == 1


def test_every_worker_is_made_ready_and_one_builds_the_model(begin):
    bridge = Bridge(begin, 3, None)
    assert [bridge.next_task(f"s{number}") for number in range(4)] == [
        BUILD,
        STAND_BY,
        STAND_BY,
        None,
    ]
    assert not bridge.finished
    assert bridge.coordinator is None


def test_nobody_leaves_before_there_is_a_trial_to_run(begin):
    bridge = begun(begin)
    assert not bridge.may_leave("s0")
    assert "spec" in bridge.next_task("r0")
    assert bridge.may_leave("s1")
    assert not bridge.may_leave("s0")
    bridge.end("s1")
    assert "spec" in bridge.next_task("r1")
    assert bridge.may_leave("s0")
    assert not bridge.may_leave("r0")


def test_all_leave_when_there_is_nothing_left(begin):
    bridge = begun(begin, workers=8)
    for number in range(5):
        bridge.next_task(f"r{number}")
    assert all(bridge.may_leave(f"s{number}") for number in range(8))
    assert not bridge.finished  # a run whose process is lost is given to another


def test_the_search_goes_to_its_end(begin):
    bridge = begun(begin)
    for number in range(4):
        assert "spec" in bridge.next_task(f"r{number}")
        done(bridge, f"r{number}")
    assert bridge.next_task("r4") is None
    assert bridge.finished
    assert not bridge.interrupted
    assert [trial.status for trial in bridge.coordinator.oracle.trials.values()] == [
        "COMPLETED"
    ] * 4


def test_a_search_that_is_left_with_runs_was_interrupted(begin):
    assert Bridge(begin, 1, None).interrupted
    bridge = begun(begin)
    bridge.next_task("r0")
    assert bridge.interrupted


def test_no_more_runs_are_given_out_than_allowed(begin):
    bridge = begun(begin, workers=1, max_running=1)
    assert bridge.next_task("r0") is not None
    assert bridge.next_task("r1") is None
    done(bridge, "r0")
    assert bridge.next_task("r1") is not None


def test_where_the_oracle_learns_one_run_waits_at_most(begin):
    bridge = begun(lambda found: begin(found, Learns))
    assert bridge.next_task("r0") is not None
    assert bridge.next_task("r1") is None
    bridge.start("r0")
    assert bridge.next_task("r1") is not None


def test_a_run_that_a_process_did_not_begin_is_given_to_others_but_not_for_ever(begin):
    bridge = begun(begin)
    task = bridge.next_task("r0")
    for number in range(3):
        bridge.lose(f"r{number}", "no room")
        assert bridge.next_task(f"r{number + 1}") == task
    for number in range(3, 6):  # from then on it counts as lost
        bridge.lose(f"r{number}", "no room")
        assert bridge.next_task(f"r{number + 1}")["spec"]["trial_id"] == task["spec"]["trial_id"]
    bridge.lose("r6", "no room")
    assert bridge.next_task("r7")["spec"]["trial_id"] != task["spec"]["trial_id"]
    assert "no room" in bridge.coordinator.oracle.trials[task["spec"]["trial_id"]].message


def test_a_run_whose_worker_is_lost_goes_on_in_another_but_not_for_ever(begin):
    bridge = begun(begin)
    for number in range(4):
        run = bridge.next_task(f"r{number}")["spec"]
        assert (run["trial_id"], run["resumes"]) == ("0", number > 0)
        bridge.start(f"r{number}")
        bridge.lose(f"r{number}", "The worker was lost")
    (trial,) = bridge.coordinator.oracle.trials.values()
    assert trial.status == "FAILED"
    assert trial.message == (
        "The process that trained this was lost 4 times, as often as `max_failures` allows and "
        "once more. The last time:\n"
        "The worker was lost"
    )


def test_a_process_that_dies_while_it_builds_is_followed_by_another_configuration(begin):
    bridge = Bridge(begin, 1, None)
    for number in range(len(PROBED)):
        assert bridge.next_task(f"s{number}") == {"skipped": number}
        bridge.lose(f"s{number}", "")
    assert bridge.finished
    assert "The worker process died while it ran `data` and `build`" in str(bridge.error)


def test_a_process_that_only_stands_by_may_die(begin):
    bridge = begun(begin)
    bridge.lose("s1", "")
    assert bridge.error is None
    assert "spec" in bridge.next_task("r0")


def test_a_process_is_made_ready_in_the_place_of_one_that_is_lost(begin):
    bridge = training(begin)
    bridge.lose("r1", "killed")
    assert bridge.next_task("s2") == {"skipped": None}  # which nobody takes a run from
    assert bridge.is_ours("s2")
    assert bridge.next_task("r2")["spec"]["trial_id"] == "1"  # and what was lost goes on
    assert "spec" in bridge.next_task("r3")  # one is enough


def test_what_only_stands_by_is_not_replaced_when_it_dies(begin):
    """Or a process that dies while it imports Keras would be, without end."""
    bridge = training(begin)
    bridge.lose("r1", "killed")
    assert bridge.next_task("s2") == {"skipped": None}
    bridge.lose("s2", "no room")
    assert bridge.next_task("r2")["spec"]["trial_id"] == "1"


def test_where_all_processes_are_lost_none_is_made_ready_beside_those_of_runs(begin):
    bridge = training(begin, max_running=2)
    for number in range(2):
        bridge.lose(f"r{number}", "killed")
    for name in ("a", "b"):
        assert "spec" in bridge.next_task(name)
        bridge.start(name)
    done(bridge, "a")
    assert "spec" in bridge.next_task("c")


def test_where_no_process_is_left_runs_start_their_own(begin):
    bridge = begun(begin, workers=1)
    bridge.end("s0")
    bridge.next_task("r0")
    bridge.start("r0")
    bridge.lose("r0", "killed")
    assert bridge.next_task("r1")["spec"]["trial_id"] == "0"


def test_what_a_worker_cannot_do_ends_the_search(begin):
    bridge = Bridge(begin, 1, None)
    bridge.next_task("s0")
    error = ShippingError("no such module")
    bridge.report("s0", error)
    assert bridge.error is error
    assert bridge.finished
    assert not bridge.interrupted


def test_what_begin_raises_is_kept_for_later(begin):
    bridge = Bridge(begin, 1, None)
    bridge.next_task("s0")
    bridge.report("s0", Probe(error="the user's mistake"))
    assert isinstance(bridge.error, ValueError)
    assert bridge.may_leave("s0")


def test_nothing_is_run_where_only_the_space_was_asked_for():
    bridge = Bridge(lambda found: None, 1, None)
    bridge.next_task("s0")
    bridge.report("s0", Probe())
    assert bridge.finished
    assert not bridge.interrupted
    assert bridge.next_task("r0") is None


def test_values_are_nested_for_schedulers_and_read_back():
    values = {"a": 1, "b/c": 2, "b/d/e": 3, "choice": "label", "choice/inner": 4}
    nested = nest(values)
    assert nested == {"a": 1, "b": {"c": 2, "d": {"e": 3}}, "choice": "label", "choice/inner": 4}
    assert values.items() <= flatten(nested).items()


def test_a_search_that_goes_on_begins_with_all_at_once(begin):
    before = begun(lambda found: begin(found, Learns))
    after = Bridge(begin, 2, None, coordinator=before.coordinator)
    assert ["spec" in after.next_task(f"r{number}") for number in range(2)] == [True, True]
    assert after.next_task("r2") is None  # waits for results
