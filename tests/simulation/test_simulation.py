"""Whole searches that break anywhere, and go on."""

import dataclasses

import pytest
from hypothesis import HealthCheck, given, settings

from tests.simulation.cluster import Hardware, Loss
from tests.simulation.disk import AFTER, BEFORE, WITHIN, Fault
from tests.simulation.plans import ALONE, KINDS_OF_PLANS, plans
from tests.simulation.runs import check_same_proposals, run
from tests.simulation.searches import Plan, Session
from tests.simulation.store import Uri
from tests.simulation.trainings import Kind

ANY = settings(
    deadline=None, suppress_health_check=list(HealthCheck), database=None, derandomize=True
)
EVERYDAY, AT_URIS, ALL = 150, 50, 700
"""How many plans are run, the same in each run of the tests."""


@settings(ANY, max_examples=EVERYDAY)
@given(plans())
def test_a_search_that_breaks_anywhere_comes_to_the_same_end(plan):
    run(plan)


@settings(ANY, max_examples=AT_URIS)
@given(plans(is_at_uri=True))
def test_a_search_at_a_uri_that_breaks_anywhere_loses_nothing_that_is_there(plan):
    run(plan)


@pytest.mark.slow
@pytest.mark.parametrize("name", KINDS_OF_PLANS)
def test_thousands_of_searches_that_break_anywhere(name):
    """`python -m tests.simulation --plans 10000` runs others, as many as one asks for, in about
    25 minutes; `--seed` says which.
    """

    @settings(ANY, max_examples=ALL)
    @given(KINDS_OF_PLANS[name])
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


@pytest.mark.parametrize(
    "plan",
    [
        # a continued training whose process did not begin with it had lost its history
        Plan(
            kind=Kind(epochs=6),
            state_every=2,
            failures=0,
            sessions=(Session(Hardware(3, refuses=50), losses=(Loss(9), Loss(12))),),
            last=Hardware(2, refuses=50),
            trials=8,
            pauses=30,
        ),
        # of a state that was being removed, a part was gone on from
        Plan(
            oracle="hyperband",
            trials=1,
            kind=Kind(epochs=3, fails=30),
            state_every=None,
            stops=15,
            sessions=(
                Session(
                    Hardware(workers=5, lag=5.0, refuses=10), (Fault("full", "driver", 34, 0.5),)
                ),
                Session(faults=(Fault("killed", "worker", 14),)),
            ),
            seed=233,
        ),
        # the weights of a state were there, and its description was gone already
        Plan(
            kind=Kind(epochs=3),
            sessions=(Session(Hardware(2), rival=30.0),),
            last=Hardware(2),
            uri=Uri(0.5),
        ),
    ],
)
def test_what_was_found(plan):
    run(plan)


def test_a_newer_versions_project_stays_as_it_is_with_a_torn_line_at_its_end():
    for at in range(3, 30):
        torn = Session(faults=(Fault("killed", "driver", at, WITHIN),))
        run(Plan(sessions=(torn, Session(is_newer=True))))


def test_what_happens_at_a_uri_happens():
    sessions = (
        Session(faults=(Fault("killed", "store", 30),)),
        Session(machine=1, after=100.0, faults=(Fault("gone", "store", 20),)),
        Session(machine=2, rival=5.0),
        Session(machine=3, after=100.0),
    )
    done = run(Plan(trials=6, sessions=sessions, uri=Uri(0.1)))
    assert [fault.kind for fault in done.happened] == ["killed", "gone"]
    assert done.interrupted == 1
    said = ("cannot be read or written", "Another search is running in the project")
    assert [any(each in str(error) for each in said) for error in done.errors] == [True, True]


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
