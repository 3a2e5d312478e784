"""Scripts to run, and all that may happen to them."""

import dataclasses

from hypothesis import strategies as st

from glimr_keras.trials.score_epochs import RULES
from tests.simulation.cluster import Hardware, Loss
from tests.simulation.disk import AFTER, BEFORE, WITHIN, Fault
from tests.simulation.searches import Plan, Session
from tests.simulation.store import Uri
from tests.simulation.trainings import Kind

PARTS = st.sampled_from((BEFORE, WITHIN, AFTER))
FAULTS = st.one_of(
    st.builds(
        Fault, st.sampled_from(("killed", "power")), st.just("driver"), st.integers(0, 120), PARTS
    ),
    st.builds(
        Fault, st.sampled_from(("killed", "power")), st.just("worker"), st.integers(0, 60), PARTS
    ),
    st.builds(
        Fault, st.just("full"), st.sampled_from(("driver", "worker")), st.integers(0, 60), PARTS
    ),
)
LOSSES = st.builds(Loss, st.integers(0, 30), st.booleans(), st.booleans())
HARDWARE = st.builds(
    Hardware,
    workers=st.integers(1, 6),
    machines=st.integers(1, 3),
    sees=st.booleans(),
    lag=st.sampled_from((0.0, 0.1, 1.0, 5.0)),
    refuses=st.sampled_from((0, 0, 10, 50)),
)
ALONE = st.builds(Hardware, sees=st.booleans(), lag=st.sampled_from((0.0, 1.0, 5.0)))
KINDS = st.builds(
    Kind,
    epochs=st.integers(1, 6),
    fails=st.sampled_from((0, 0, 30)),
    always=st.sampled_from((0, 0, 20)),
    asks_late=st.booleans(),
)


OF_STORES = st.builds(
    Fault,
    st.sampled_from(("fails", "gone", "killed")),
    st.just("store"),
    st.one_of(st.integers(0, 40), st.integers(0, 300)),
    PARTS,
)
URIS = st.builds(Uri, st.sampled_from((0.0, 0.1, 1.0, 3.0, 10.0)), st.booleans())
ELSEWHERE = {
    "machine": st.integers(0, 2),
    "after": st.sampled_from((0.0, 100.0)),
    "rival": st.sampled_from((None, None, 0.0, 0.1, 1.0, 20.0, 60.0)),
}


def sessions(hardware, faults, **elsewhere):
    return st.lists(
        st.builds(
            Session,
            hardware,
            st.lists(faults, max_size=3).map(tuple),
            st.lists(LOSSES, max_size=4).map(tuple),
            st.integers(0, 2),
            **elsewhere,
        ),
        max_size=4,
    ).map(tuple)


def plans(oracles=("random", "grid", "hyperband"), hardware=HARDWARE, is_at_uri=False):
    """Plans of scripts with one of these oracles."""
    own = (
        sessions(hardware, st.one_of(FAULTS, OF_STORES), **ELSEWHERE)
        if is_at_uri
        else sessions(hardware, FAULTS, is_newer=st.sampled_from((False, False, False, True)))
    )
    return st.builds(
        Plan,
        oracle=st.sampled_from(oracles),
        trials=st.integers(1, 8),
        executions=st.sampled_from((1, 1, 2, 3)),
        kind=KINDS,
        state_every=st.sampled_from((None, 1, 2)),
        failures=st.sampled_from((-1, -1, 0, 1, 3)),
        retries=st.integers(0, 2),
        keep_top_k=st.sampled_from((None, None, 1, 3)),
        stops=st.sampled_from((0, 0, 15)),
        sessions=own,
        last=hardware,
        seed=st.integers(0, 10**6),
        pauses=st.sampled_from((0, 0, 30)),
        uri=URIS if is_at_uri else st.none(),
    ).map(lambda plan: dataclasses.replace(plan, score_at=RULES[plan.seed % len(RULES)]))


KINDS_OF_PLANS = {
    "random search": plans(("random",)),
    "grid search": plans(("grid",)),
    "Hyperband": plans(("hyperband",)),
    "a project at a URI": plans(is_at_uri=True),
}
"""By what they are of."""
