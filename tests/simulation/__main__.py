"""Runs one plan, as a failing test prints it: `python -m tests.simulation 'Plan(…)'`."""

import sys

from tests.simulation.cluster import Hardware, Loss
from tests.simulation.disk import Fault
from tests.simulation.searches import Plan, Session, run
from tests.simulation.trainings import Kind

NAMES = {each.__name__: each for each in (Fault, Hardware, Kind, Loss, Plan, Session)}

done = run(eval(sys.argv[1], NAMES))  # what the command line says
print(f"{len(done.project.trials)} trials, all as they should be.")
print(f"Happened: {done.happened or 'nothing'}; {done.interrupted} sessions were interrupted.")
