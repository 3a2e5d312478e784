"""Measures what a search costs its driver when it has 1,000 workers and 100,000 trials.

    python examples/benchmarks/scale.py
    python examples/benchmarks/scale.py --only random,project --trials 10000
    python examples/benchmarks/scale.py --quick

Needs Linux, and `pip install -e '.[benchmarks]'`. Nothing is trained: a simulated executor says
what workers would say, and the coordinator, the oracles and the journal are real. The parts:
random, grid, bayesian, hyperband (the driver's CPU time for a trial, and its memory), project
(opening, resuming and tables of a project), folders (a directory with a folder for each trial); and
with real Ray on this machine ray (5,000 trials that are a number) and workers (200 of them). All of
it takes about half an hour; `TMPDIR=/dev/shm` spares the disk.
"""

import argparse
import concurrent.futures
import functools
import json
import multiprocessing
import os
import pathlib
import sys
import tempfile
import time
import unittest.mock

import real_ray
import report
from glimr_keras.oracles import (
    BayesianOptimizationOracle,
    GridSearchOracle,
    HyperbandOracle,
    RandomSearchOracle,
)
from glimr_keras.project import digest
from glimr_keras.project.journal import Journal
from rich.console import Console
from rich.table import Table
from simulation import OBJECTIVE, SEED, Simulation, coordinator_of, opened

TITLE = "A search with many trials and workers"
ORACLES = {
    "random": RandomSearchOracle,
    "grid": GridSearchOracle,
    "bayesian": BayesianOptimizationOracle,
    "hyperband": functools.partial(HyperbandOracle, max_epochs=27, hyperband_iterations=None),
}
PARTS = (*ORACLES, "project", "folders", "ray", "workers")
WORKERS = 1000
EPOCHS, TABLE_EPOCHS = 3, 20
MOST = {"bayesian": 10_000}
"""Of so many trials at most, since more are no different."""


def search(name: str, trials: int, workers: int, directory: pathlib.Path) -> list[dict]:
    """CPU time of a trial when there are few and when there are many, and memory."""
    trials = min(trials, MOST.get(name, trials))
    oracle = ORACLES[name](OBJECTIVE, max_trials=trials, seed=SEED)
    coordinator = coordinator_of(directory, oracle, *opened(directory))
    sizes = sorted({max(trials // 100, 10), max(trials // 10, 10), trials})
    marks = {size // 2 for size in sizes} | set(sizes)
    simulation = Simulation(coordinator, workers, EPOCHS, tuple(marks))
    before, began = resident(), time.perf_counter()
    simulation.run()
    assert simulation.ended == trials
    target = 20 if name == "bayesian" else 2
    rows = []
    for size in sizes:
        (cpu, _), (cpu_before, _) = simulation.seconds[size], simulation.seconds[size // 2]
        each = 1000 * (cpu - cpu_before) / (size - size // 2)
        rows.append(row(f"{name}: CPU of a trial", size, each, "ms", target))
    wall = 1000 * (time.perf_counter() - began) / trials
    rows.append(row(f"{name}: wall-clock time of a trial", trials, wall, "ms"))
    each = (resident() - before) / 1024 / trials
    rows.append(row(f"{name}: memory of a trial", trials, each, "KB", 1))
    return rows


def project(trials: int, workers: int, directory: pathlib.Path) -> list[dict]:
    """What it takes to open a project, to go on with it, and to make its tables."""
    from glimr_keras.results.results import open_results
    from glimr_keras.results.tables import experiment_table

    few, many = directory / "few_epochs", directory / "many_epochs"
    seconds = write(few, trials, workers, EPOCHS)
    rows = [*sizes(few, trials, EPOCHS), row("writing the digest", trials, seconds, "s")]

    before, began = resident(), time.perf_counter()
    journal, read = opened(few)
    rows.append(row("opening", trials, time.perf_counter() - began, "s"))
    each = (resident() - before) / 1024 / trials
    oracle = RandomSearchOracle(OBJECTIVE, max_trials=trials + 1, seed=SEED)
    coordinator = coordinator_of(few, oracle, journal, read)
    assert coordinator.next_spec() is not None
    seconds = time.perf_counter() - began
    rows.append(row("opening and resuming, to the next trial", trials, seconds, "s", 10))
    rows.append(row("memory of a trial that was read", trials, each, "KB", 1))
    journal.close()
    del journal, read, oracle, coordinator

    began = time.perf_counter()
    assert len(open_results(few).results_dataframe()) == trials + 1
    seconds = time.perf_counter() - began
    rows.append(row("open_results(…).results_dataframe()", trials, seconds, "s"))
    results = open_results(few)
    began = time.perf_counter()
    results.results_dataframe()
    rows.append(row("results_dataframe()", trials, time.perf_counter() - began, "s", 5))

    write(many, trials, workers, TABLE_EPOCHS)
    rows += sizes(many, trials, TABLE_EPOCHS)
    began = time.perf_counter()
    assert len(experiment_table(many)) == TABLE_EPOCHS * trials
    seconds = time.perf_counter() - began
    rows.append(row(f"experiment_table, {TABLE_EPOCHS} epochs each", trials, seconds, "s", 30))
    return rows


def write(directory: pathlib.Path, trials: int, workers: int, epochs: int) -> float:
    """Writes the journal of a random search, and its digest, and no other file; nothing is forced
    to the disk. Returns the seconds that the digest took.
    """
    journal, empty = opened(directory)
    journal._force = lambda: None
    oracle = RandomSearchOracle(OBJECTIVE, max_trials=trials, seed=SEED)
    coordinator = coordinator_of(directory, oracle, journal, empty)
    oracle._project_dir = None
    Simulation(coordinator, workers, epochs).run()
    began = time.perf_counter()
    digest.MUCH = -1  # also of a small journal
    journal.keep_digest()
    journal.close()
    return time.perf_counter() - began


def sizes(directory: pathlib.Path, trials: int, epochs: int) -> list[dict]:
    """Of a journal and of its digest."""
    journal = Journal(directory).path
    found = {"journal": journal, "digest": journal.with_name(digest.FILE)}
    return [
        row(f"{name}, {epochs} epochs each", trials, path.stat().st_size / 1e6, "MB")
        for name, path in found.items()
    ]


def folders(trials: int, workers: int, directory: pathlib.Path) -> list[dict]:
    """What a directory with so many folders costs."""
    seconds = {}
    for size in (trials // 10, trials):
        place = directory / str(size)
        place.mkdir(parents=True)
        began = time.perf_counter()
        for number in range(size):
            folder = place / f"trial_{number:06d}"
            folder.mkdir()
            (folder / "trial.json").write_bytes(b"{}")
        seconds["making a folder with one file", size] = 1000 * (time.perf_counter() - began) / size
        began = time.perf_counter()
        assert len(list(os.scandir(place))) == size
        seconds["listing them, each", size] = 1000 * (time.perf_counter() - began) / size
        began = time.perf_counter()
        assert sum(1 for _ in place.glob("trial_*/trial.json")) == size
        seconds["finding each trial.json, each", size] = 1000 * (time.perf_counter() - began) / size
    return [row(figure, size, value, "ms") for (figure, size), value in seconds.items()]


def ray(trials: int, workers: int, directory: pathlib.Path) -> list[dict]:
    """What trials cost the driver with real workers of Ray's."""
    found = real_ray.trivial(min(trials, real_ray.TRIALS), directory)
    return [row(*figure) for figure in found]


def workers(trials: int, workers: int, directory: pathlib.Path) -> list[dict]:
    """How a search goes with very many real workers."""
    found = real_ray.many_workers(min(workers // 5, real_ray.WORKERS), directory)
    return [row(*figure) for figure in found]


def resident() -> int:
    """The bytes of memory that this process has now."""
    pages = pathlib.Path("/proc/self/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGESIZE")


def row(
    figure: str, trials: int, value: float, unit: str, at_most: float | None = None
) -> dict[str, object]:
    met = None if at_most is None else value <= at_most
    found = {"figure": figure, "trials": trials, "value": value, "unit": unit}
    return {**found, "at_most": at_most, "met": met}


def show(rows: list[dict], quick: bool) -> None:
    console = Console(width=report.WIDTH, highlight=False)
    about = report.machine()
    console.print(f"{about['cpu']}, {about['cores']} cores, {about['memory_gb']} GB")
    table = Table(title=TITLE, title_justify="left", box=None)
    for column in ("figure", "trials", "value", "unit", "target", "met?"):
        table.add_column(column, justify="right" if column in ("trials", "value") else "left")
    for entry in rows:
        target = "" if entry["at_most"] is None else f"≤ {entry['at_most']:g}"
        met = {True: "yes", False: "NO", None: ""}[entry["met"]]
        number = f"{entry['value']:.3g}" if entry["value"] < 1000 else f"{entry['value']:,.0f}"
        table.add_row(entry["figure"], f"{entry['trials']:,}", number, entry["unit"], target, met)
    console.print(table)
    console.print("* CPU time is that of all threads, between half of the trials and all of them.")
    console.print("* Memory is by how much the process has grown (resident).")
    if quick:
        console.print(
            "* --quick: a few trials, to see that it works; these are no figures to quote."
        )


def measured(part: str, *given) -> list[dict]:
    """Runs a part; called in a process of its own."""
    return search(part, *given) if part in ORACLES else globals()[part](*given)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--only", default=",".join(PARTS), metavar="a,b", help=f"some of {','.join(PARTS)}"
    )
    parser.add_argument(
        "--trials", type=int, default=100_000, metavar="N", help="of each search (default 100000)"
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="a few trials and workers, to see that it works; no figures to quote",
    )
    parser.add_argument(
        "--json", type=pathlib.Path, default=pathlib.Path("scale.json"), metavar="PATH"
    )
    arguments = parser.parse_args()
    parts = arguments.only.split(",")
    if unknown := sorted(set(parts) - set(PARTS)):
        parser.error(f"--only must be some of {','.join(PARTS)}. Received: {','.join(unknown)}")
    trials, workers = (200, 20) if arguments.quick else (arguments.trials, WORKERS)
    rows = []
    spawn = multiprocessing.get_context("spawn")
    for part in parts:
        small = {"KERAS_BACKEND": "numpy"} if part == "workers" else {}  # of which there are many
        with (
            unittest.mock.patch.dict(os.environ, small),
            tempfile.TemporaryDirectory() as directory,
            concurrent.futures.ProcessPoolExecutor(1, spawn) as process,
        ):
            given = trials, workers, pathlib.Path(directory, part)
            rows += process.submit(measured, part, *given).result()
        print(f"{part}: done", file=sys.stderr)
    arguments.json.write_text(json.dumps({"machine": report.machine(), "rows": rows}, indent=1))
    show(rows, arguments.quick)


if __name__ == "__main__":
    main()
