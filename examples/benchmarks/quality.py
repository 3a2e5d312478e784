"""What search algorithms find in the same budget, on the same functions and seeds."""

import concurrent.futures
import dataclasses
import json
import os
import pathlib
import statistics
import subprocess
import sys
from collections.abc import Iterable, Sequence

import numpy as np
from functions import FUNCTIONS, Function
from rich.table import Table
from searchers import SEARCHERS, known_space

HERE = pathlib.Path(__file__).parent
BUDGETS = (20, 40, 60, 100)
FLOOR = 1e-4
"""A normalised regret below this counts as this much: what is left is of no use to anyone."""


@dataclasses.dataclass(frozen=True)
class Search:
    """One search of one algorithm.

    Attributes:
        regrets: After each evaluation, of the best one.
        seconds: Of proposing and being told of each evaluation.
    """

    searcher: str
    function: str
    seed: int
    regrets: list[float]
    seconds: list[float]


def run_all(
    searchers: Sequence[str],
    functions: Sequence[Function],
    seeds: int,
    budget: int,
    kept: pathlib.Path | None,
) -> list[Search]:
    """Runs every algorithm on every function, several at once, each pair in its own process.

    Args:
        kept: A file to which each search is appended; searches that it has are not run again.
    """
    found = _read(kept, budget)
    done = {(search.searcher, search.function, search.seed) for search in found}
    pairs = [
        (searcher, function)
        for function in functions
        for searcher in searchers
        if any((searcher, function.name, seed) not in done for seed in range(seeds))
    ]
    with concurrent.futures.ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        for searches in pool.map(lambda pair: run(*pair, seeds, budget), pairs):
            new = [s for s in searches if (s.searcher, s.function, s.seed) not in done]
            found += new
            if kept is not None:
                with kept.open("a") as file:
                    file.writelines(json.dumps(dataclasses.asdict(s)) + "\n" for s in new)
    wanted = {function.name for function in functions}
    return [
        search
        for search in found
        if search.searcher in searchers and search.function in wanted and search.seed < seeds
    ]


def _read(kept: pathlib.Path | None, budget: int) -> list[Search]:
    if kept is None or not kept.exists():
        return []
    lines = map(json.loads, kept.read_text().splitlines())
    return [Search(**line) for line in lines if len(line["regrets"]) >= budget]


def run(searcher: str, function: Function, seeds: int, budget: int) -> list[Search]:
    """Runs one algorithm on one function in a process of its own, once for each seed."""
    command = [sys.executable, str(HERE / "searchers.py"), searcher, str(budget), str(seeds)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    printed = subprocess.run(
        [*command, str(FUNCTIONS.index(function))],
        check=True,
        stdout=subprocess.PIPE,
        env=environment,
        text=True,
    ).stdout
    lines = [json.loads(line) for line in printed.splitlines() if line.startswith("{")]
    print(f"{function.name}: {searcher}", file=sys.stderr, flush=True)
    return [Search(**line) for line in lines]


def scale_of(function: Function) -> float:
    """How far a random configuration is from the minimum, the median of 1,000."""
    import glimr_keras as gk

    generator, space = np.random.default_rng(0), known_space(function)
    costs = [
        function.ask(
            gk.HyperParameters(space.walk(lambda each: each.prob_to_value(generator.random())))
        )
        for _ in range(1000)
    ]
    return statistics.median(costs) - function.minimum


class Comparison:
    """Ranks and normalised regrets.

    Args:
        searches: Of the same seeds for every algorithm and function.
    """

    def __init__(self, searches: Iterable[Search], functions: Sequence[Function]) -> None:
        self.functions = functions
        self._scales = {function.name: scale_of(function) for function in functions}
        self._found: dict[tuple[str, str], list[Search]] = {}
        for search in sorted(searches, key=lambda search: search.seed):
            self._found.setdefault((search.searcher, search.function), []).append(search)
        self.searchers = [name for name in SEARCHERS if any(s == name for s, _ in self._found)]
        self.peers = [name for name in self.searchers if name != "glimr_keras"]

    def regrets(self, searcher: str, function: Function, budget: int) -> list[float]:
        """Normalised, of each seed."""
        scale = self._scales[function.name]
        searches = self._found[searcher, function.name]
        return [max(search.regrets[budget - 1] / scale, FLOOR) for search in searches]

    def regret(self, searcher: str, function: Function, budget: int) -> float:
        return statistics.median(self.regrets(searcher, function, budget))

    def ratio(self, function: Function, budget: int) -> float:
        """Ours beside that of the best other algorithm."""
        others = [self.regret(name, function, budget) for name in self.peers]
        return self.regret("glimr_keras", function, budget) / min(others)

    def rank(self, searcher: str, functions: Sequence[Function], budget: int) -> float:
        """The mean over functions and seeds, from 1; those that are equal share theirs."""
        ranks = []
        for function in functions:
            table = np.array(
                [self.regrets(name, function, budget) for name in self.searchers]
            )  # shape (searchers, seeds)
            own = table[self.searchers.index(searcher)]
            ranks.append(1 + (table < own).sum(axis=0) + ((table == own).sum(axis=0) - 1) / 2)
        return float(np.mean(ranks))


def tables(comparison: Comparison, budgets: Sequence[int]) -> list[Table]:
    """Mean ranks at every budget, and the regret on every function."""
    last, names = budgets[-1], comparison.searchers
    ranks = Table(title="Mean rank after so many evaluations", title_justify="left", box=None)
    ranks.add_column("functions")
    ranks.add_column("evaluations", justify="right")
    for name in names:
        ranks.add_column(name, justify="right")
    for is_known, title in ((True, "looked at"), (False, "not looked at")):
        functions = [each for each in comparison.functions if each.is_known == is_known]
        for budget in budgets if functions else ():
            numbers = [f"{comparison.rank(name, functions, budget):.2f}" for name in names]
            ranks.add_row(title, str(budget), *numbers)
    regrets = Table(
        title=f"\nMedian normalised regret after {last} evaluations", title_justify="left", box=None
    )
    regrets.add_column("function")
    regrets.add_column("looked at")
    for name in names:
        regrets.add_column(name, justify="right")
    for budget in budgets:
        regrets.add_column(f"ratio, {budget}", justify="right")
    for function in comparison.functions:
        numbers = [f"{comparison.regret(name, function, last):.2g}" for name in names]
        ratios = [f"{comparison.ratio(function, budget):.2f}" for budget in budgets]
        regrets.add_row(function.name, "yes" if function.is_known else "", *numbers, *ratios)
    return [ranks, regrets]
