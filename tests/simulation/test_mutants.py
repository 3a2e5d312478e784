"""Faults that are put into the code are found by simulated searches."""

import dataclasses

import pytest

from tests.simulation.cluster import Hardware, Loss
from tests.simulation.disk import Fault
from tests.simulation.mutants import AT_URIS, MUTANTS, is_found_by
from tests.simulation.runs import run
from tests.simulation.searches import Plan, Session
from tests.simulation.store import Uri
from tests.simulation.trainings import Kind

FOUND_BY = {
    "an end is not forced to the disk": Plan(
        oracle="hyperband",
        trials=1,
        kind=Kind(epochs=2),
        state_every=None,
        sessions=(
            Session(hardware=Hardware(sees=False, lag=0.0), faults=(Fault("power", "driver", 34),)),
        ),
        last=Hardware(sees=False, lag=0.0),
    ),
    "weights are not forced to the disk": Plan(
        trials=1,
        kind=Kind(epochs=1),
        state_every=None,
        failures=0,
        sessions=(Session(hardware=Hardware(lag=0.0), faults=(Fault("killed", "worker", 0),)),),
        last=Hardware(sees=False, lag=0.0),
    ),
    "a torn line is not cut": Plan(
        trials=1,
        kind=Kind(epochs=1),
        state_every=None,
        sessions=(
            Session(
                hardware=Hardware(sees=False, lag=0.0),
                faults=(Fault("killed", "driver", 0, part=0.5),),
            ),
        ),
        last=Hardware(sees=False, lag=0.0),
    ),
    "the journal says an end before trial.json": Plan(
        trials=1,
        kind=Kind(epochs=1),
        state_every=None,
        sessions=(
            Session(hardware=Hardware(sees=False, lag=0.0), faults=(Fault("killed", "driver", 4),)),
            Session(hardware=Hardware(lag=0.0), faults=(Fault("killed", "driver", 7),)),
        ),
        last=Hardware(sees=False, lag=0.0),
    ),
    "states are left": Plan(trials=1, kind=Kind(epochs=2), last=Hardware(sees=False, lag=0.0)),
    "what was running is not gone on with": Plan(
        trials=1,
        kind=Kind(epochs=1),
        state_every=None,
        sessions=(
            Session(hardware=Hardware(sees=False, lag=0.0), faults=(Fault("killed", "driver", 8),)),
        ),
        last=Hardware(sees=False, lag=0.0),
    ),
    "better weights than those of the state are kept": Plan(
        oracle="hyperband",
        trials=1,
        kind=Kind(epochs=1),
        state_every=None,
        sessions=(
            Session(
                hardware=Hardware(sees=False, lag=0.0), faults=(Fault("killed", "driver", 19),)
            ),
        ),
        last=Hardware(sees=False, lag=0.0),
    ),
    "a state may be ahead of the journal": Plan(
        oracle="hyperband",
        trials=1,
        executions=3,
        kind=Kind(epochs=3, asks_late=True),
        state_every=None,
        sessions=(
            Session(
                hardware=Hardware(workers=3, sees=False, lag=5.0),
                faults=(
                    Fault("full", "worker", 39),
                    Fault("power", "driver", 46),
                    Fault("power", "driver", 23),
                ),
                losses=(Loss(19),),
            ),
            Session(
                hardware=Hardware(workers=3, machines=3, lag=0.0),
                faults=(
                    Fault("killed", "driver", 39),
                    Fault("killed", "driver", 46),
                    Fault("killed", "driver", 23),
                ),
            ),
            Session(
                hardware=Hardware(workers=3, sees=False, lag=5.0),
                faults=(
                    Fault("killed", "worker", 0),
                    Fault("full", "worker", 0),
                    Fault("power", "driver", 54),
                ),
            ),
            Session(hardware=Hardware(sees=False, lag=0.0)),
        ),
        last=Hardware(sees=False, lag=0.0),
        seed=719,
    ),
    "an end is written twice": Plan(
        trials=1, kind=Kind(epochs=1), state_every=None, last=Hardware(sees=False, lag=0.0)
    ),
    "what a trial asked for is only known at its end": Plan(
        kind=Kind(epochs=1, asks_late=True),
        state_every=None,
        sessions=(Session(hardware=Hardware(lag=0.0), faults=(Fault("killed", "driver", 47),)),),
        last=Hardware(sees=False, lag=0.0),
    ),
    "the state that a promotion goes on from is removed": Plan(
        oracle="hyperband", trials=1, kind=Kind(epochs=2), state_every=None, pauses=30
    ),
    "a failed trial leaves executions behind": Plan(
        trials=1,
        executions=3,
        kind=Kind(epochs=1, fails=30),
        state_every=None,
        sessions=(
            Session(
                hardware=Hardware(workers=5, machines=2),
                faults=(Fault("full", "driver", 56, part=1.0),),
                more=2,
                is_newer=True,
            ),
        ),
        pauses=30,
    ),
    "what was not recorded of a failed trial stays": Plan(
        trials=2,
        executions=2,
        kind=Kind(epochs=2, always=60),
        state_every=None,
        sessions=(
            Session(
                hardware=Hardware(workers=3),
                faults=(Fault("full", "worker", 0), Fault("full", "driver", 6)),
            ),
        ),
    ),
    "each training is scored at its best epoch": Plan(score_at="last"),
    "the epochs of the scores are not written": Plan(executions=2, score_at="common"),
    "weights of trials that are not among the best stay": Plan(
        trials=2, kind=Kind(epochs=1), state_every=None, keep_top_k=1, pauses=30
    ),
    "the journal is sent before the weights": Plan(
        kind=Kind(epochs=2),
        sessions=(Session(faults=(Fault("killed", "store", 18, part=1.0),)),),
        uri=Uri(),
    ),
    "a claim is not heeded": Plan(
        trials=1, kind=Kind(epochs=1), state_every=None, sessions=(Session(rival=0.0),), uri=Uri()
    ),
    "weights of trials that are not among the best stay at the URI": Plan(
        trials=1,
        kind=Kind(epochs=1),
        state_every=None,
        keep_top_k=1,
        sessions=(
            Session(
                hardware=Hardware(workers=5, machines=3, sees=False, lag=5.0),
                faults=(Fault("killed", "driver", 65, part=1.0),),
                more=2,
            ),
        ),
        uri=Uri(seconds=1.0),
    ),
    "states that another machine has sent are left": Plan(
        trials=1,
        executions=2,
        kind=Kind(epochs=3),
        sessions=(Session(faults=(Fault("killed", "driver", 65),), more=1),),
        uri=Uri(seconds=1.0),
    ),
    "a full disk here is said to be that of the URI": Plan(
        oracle="hyperband",
        trials=1,
        kind=Kind(epochs=1),
        state_every=None,
        sessions=(Session(faults=(Fault("full", "driver", 30, part=0.5),)),),
        uri=Uri(),
    ),
    "what is gone while it is read is an error": Plan(
        kind=Kind(epochs=3),
        sessions=(Session(hardware=Hardware(workers=2), rival=30.0),),
        last=Hardware(workers=2),
        uri=Uri(seconds=0.5),
    ),
    "two searches write to one name": Plan(
        trials=1,
        kind=Kind(epochs=1),
        state_every=None,
        sessions=(Session(rival=0.1),),
        uri=Uri(seconds=0.1, has_directories=True),
    ),
}
"""What finds each, as `python -m tests.simulation.mutants` has found it."""
SHIFTS = sorted(range(-8, 9), key=abs)
"""By so many changes of the disk, or calls of the store, what happens may come earlier or later
than it did when a plan was found: the code may write more by now, or less.
"""


def moved(plan, by):
    """The plan with what happens in it so much later; where nothing does, with another seed."""
    if not any(session.faults for session in plan.sessions):
        return dataclasses.replace(plan, seed=plan.seed + by % len(SHIFTS))
    return dataclasses.replace(
        plan,
        sessions=tuple(
            dataclasses.replace(
                session,
                faults=tuple(
                    dataclasses.replace(fault, at=fault.at + by) for fault in session.faults
                ),
            )
            for session in plan.sessions
        ),
    )


@pytest.mark.parametrize("name", [*MUTANTS, *AT_URIS])
def test_it_is_found_and_the_code_without_it_is_right(name):
    tried = [moved(FOUND_BY[name], by) for by in SHIFTS]
    with {**MUTANTS, **AT_URIS}[name]():
        found = next((plan for plan in tried if is_found_by(plan)), None)
    assert found is not None, "search for a plan by which it is found now"
    run(found)
