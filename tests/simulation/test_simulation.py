"""Whole searches that break anywhere, and go on."""

import dataclasses

import pytest
from hypothesis import HealthCheck, given, settings

from tests.simulation.cluster import Hardware, Loss
from tests.simulation.disk import AFTER, BEFORE, Fault
from tests.simulation.plans import ALONE, plans
from tests.simulation.runs import check_same_proposals, run
from tests.simulation.searches import Plan, Session
from tests.simulation.trainings import Kind

ANY = settings(
    deadline=None, suppress_health_check=list(HealthCheck), database=None, derandomize=True
)
EVERYDAY, ALL = 150, 400
"""How many plans are run, the same in each run of the tests."""


@settings(ANY, max_examples=EVERYDAY)
@given(plans())
def test_a_search_that_breaks_anywhere_comes_to_the_same_end(plan):
    run(plan)


@pytest.mark.slow
@pytest.mark.parametrize("oracle", ["random", "grid", "hyperband"])
def test_thousands_of_searches_that_break_anywhere(oracle):
    @settings(ANY, max_examples=ALL)
    @given(plans((oracle,)))
    def holds(plan):
        run(plan)

    holds()


@settings(ANY, max_examples=15)
@given(plans(("bayesian",)))
def test_a_bayesian_search_that_breaks_anywhere(plan):
    run(plan)


@pytest.mark.slow
@settings(ANY, max_examples=150)
@given(plans(("bayesian",)))
def test_hundreds_of_bayesian_searches_that_break_anywhere(plan):
    run(plan)


@settings(ANY, max_examples=40)
@given(plans(("random", "grid", "hyperband", "bayesian"), ALONE))
def test_where_trials_run_one_by_one_a_broken_search_proposes_the_same(plan):
    check_same_proposals(dataclasses.replace(plan, failures=-1))


@pytest.mark.parametrize("part", [BEFORE, AFTER])
@pytest.mark.parametrize("kind", ["killed", "power", "full"])
@pytest.mark.parametrize("oracle", ["random", "hyperband"])
def test_a_search_that_breaks_at_every_change_of_the_disk(oracle, kind, part):
    calm = Plan(oracle, trials=2, kind=Kind(epochs=2), last=Hardware(2))
    for at in range(0, 60, 3):
        session = Session(Hardware(2), (Fault(kind, "driver", at, part),))
        run(dataclasses.replace(calm, sessions=(session,)))


def test_what_happens_in_a_simulation_happens():
    faults = (Fault("killed", "driver", 20), Fault("killed", "worker", 3))
    sessions = (
        Session(Hardware(2), faults, (Loss(1),)),
        Session(Hardware(2), (Fault("full", "driver", 8),)),
        Session(Hardware(2), (Fault("power", "driver", 8),)),
    )
    done = run(Plan(trials=6, sessions=sessions))
    assert {fault.kind for fault in done.happened} == {"killed", "full", "power"}
    assert done.interrupted == 2
    assert len(done.errors) == 1
    assert sum(each.executions[0].lost for each in done.project.trials.values()) >= 1
