"""Runs plans: `python -m tests.simulation 'Plan(…)'` one, as a failing test prints it, and
`python -m tests.simulation --plans 10000` that many, of which it prints what fails.
"""

from __future__ import annotations

import argparse
import collections
import sys
import time

from hypothesis import HealthCheck, Phase, given, seed, settings

from tests.simulation.cluster import Hardware, Loss
from tests.simulation.disk import Fault
from tests.simulation.plans import KINDS_OF_PLANS
from tests.simulation.runs import run
from tests.simulation.searches import Plan, Session
from tests.simulation.store import Uri
from tests.simulation.trainings import Kind

NAMES = {each.__name__: each for each in (Fault, Hardware, Kind, Loss, Plan, Session, Uri)}


class _Many:
    """Runs many plans, and counts what happens in them."""

    def __init__(self) -> None:
        self.happened: collections.Counter[str] = collections.Counter()
        self.ran = self.failed = 0

    def run(self, name: str, count: int, number: int) -> None:
        """Run plans of a kind, by its name; each failure is one line to run again."""

        @seed(number)
        @settings(
            max_examples=count,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.generate],
        )
        @given(KINDS_OF_PLANS[name])
        def each(plan):
            self._take(plan)

        each()

    def _take(self, plan: Plan) -> None:
        self.ran += 1
        try:
            done = run(plan)
        except Exception as error:
            self.failed += 1
            what = " ".join(f"{type(error).__name__}: {error}".split())
            print(f"{what}\n    python -m tests.simulation {str(plan)!r}", flush=True)
            return
        self.happened["trials"] += len(done.project.trials)
        self.happened["sessions that were interrupted"] += done.interrupted
        self.happened["sessions that ended with an error"] += len(done.errors)
        for fault in done.happened:
            self.happened[f"{fault.kind}, {fault.by}"] += 1
        for trial in done.project.trials.values():
            self.happened["losses"] += sum(each.lost for each in trial.executions.values())


def main() -> int:
    """Run what the command line says."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("plan", nargs="?", help="one, as Python")
    parser.add_argument("--plans", type=int, default=0, help="how many are made up")
    parser.add_argument("--seed", type=int, default=0, help="of those")
    given_ = parser.parse_args()
    if given_.plan is not None:
        done = run(eval(given_.plan, NAMES))  # what the command line says
        print(f"{len(done.project.trials)} trials, all as they should be.")
        print(f"Happened: {done.happened or 'nothing'}; {done.interrupted} were interrupted.")
        return 0
    many, began = _Many(), time.monotonic()
    for name in KINDS_OF_PLANS:
        many.run(name, given_.plans // len(KINDS_OF_PLANS), given_.seed)
        print(f"{many.ran} plans ran, with {name} the last; {many.failed} failed.", flush=True)
    for what, count in sorted(many.happened.items()):
        print(f"{count:8} {what}")
    print(f"It took {time.monotonic() - began:.0f} s.")
    return min(many.failed, 1)


sys.exit(main())
