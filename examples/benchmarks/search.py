"""Compares glimr_keras' search algorithms with those of KerasTuner, Optuna, SMAC and Ray Tune: what
they find in the same budget, and what their proposals cost.

    python examples/benchmarks/search.py
    python examples/benchmarks/search.py --only quality --runs searches.jsonl
    python examples/benchmarks/search.py --quick

Needs `pip install -e '.[benchmarks]'`, and of what it compares, whatever is installed (`pip install
smac torch`). The parts: quality (regret on functions with a known minimum), proposals (the time of
a proposal after so many trials), epochs (how many Hyperband and its like need to a target, on
stored learning curves), hyperband (the time to keras_tuner's final score on digits), grid (the
number of trials of a space with a loop). All of it takes about four hours on two cores, nearly all
of which the others' proposals take.
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile

import fidelity
import quality as compared
import report
from functions import FUNCTIONS
from rich.console import Console
from rich.table import Table
from searchers import NEEDS, SEARCHERS, is_installed

PARTS = ("quality", "proposals", "epochs", "hyperband", "grid")
HERE = pathlib.Path(__file__).parent
MARKS = {"glimr_keras": (20, 100, 200, 400, 1000, 2000), "optuna_gp": (20, 100, 200)}
MARKS |= {"smac": (20, 100, 200), "keras_tuner": (20, 100, 200), "optuna_tpe": (20, 100, 200, 1000)}
WINDOW = 10
"""Before each mark, so many proposals are looked at."""


def quality(seeds: int, quick: bool, runs: pathlib.Path | None) -> list[dict]:
    """Mean ranks at every budget, and regrets beside the best peer."""
    budgets = (6, 8) if quick else compared.BUDGETS
    functions = [FUNCTIONS[0], FUNCTIONS[6]] if quick else FUNCTIONS
    names = [name for name in SEARCHERS if is_installed(NEEDS.get(name, ()))]
    if missing := sorted(set(SEARCHERS) - set(names)):
        print(f"Not installed, and left out: {', '.join(missing)}")
    searches = compared.run_all(names, functions, seeds, budgets[-1], runs)
    comparison = compared.Comparison(searches, functions)
    console = Console(width=report.WIDTH, highlight=False)
    for table in compared.tables(comparison, budgets):
        console.print(table)
    rows = []
    for is_known, title in ((True, "looked at"), (False, "not looked at")):
        some = [function for function in functions if function.is_known == is_known]
        for budget in budgets if some else ():
            peers = min(comparison.rank(name, some, budget) for name in comparison.peers)
            ours = comparison.rank("glimr_keras", some, budget)
            name = f"mean rank after {budget}, functions {title}"
            rows.append(row(name, ours, peers, at_most=1, reference="best peer"))
    for budget in budgets:
        worst = max(functions, key=lambda each: comparison.ratio(each, budget))
        name = f"worst regret after {budget}, {worst.name}"
        best = min(comparison.regret(peer, worst, budget) for peer in comparison.peers)
        ours = comparison.regret("glimr_keras", worst, budget)
        rows.append(row(name, ours, best, at_most=2, reference="best peer"))
    return rows


def proposals(seeds: int, quick: bool) -> list[dict]:
    """Milliseconds of a proposal, with what it is told of a result, on Hartmann (6)."""
    function = next(each for each in FUNCTIONS if each.name == "Hartmann (6)")
    times = {}
    for name, marks in MARKS.items():
        if not is_installed(NEEDS.get(name, ())):
            continue
        some = [mark for mark in marks if mark <= 20] if quick else marks
        (search,) = compared.run(name, function, 1, some[-1])
        for mark in some:
            times[name, mark] = 1000 * statistics.mean(search.seconds[mark - WINDOW : mark])
    rows = []
    for (name, mark), value in times.items():
        if name == "glimr_keras":
            others = {peer: ms for (peer, at), ms in times.items() if at == mark and peer != name}
            peer = min(others, key=others.get, default=None)
            figure, bound = f"ms for a proposal at trial {mark}", 100 if mark >= 1000 else None
            rows.append(row(figure, value, bound or others[peer], 1 if bound else None))
            rows[-1]["reference"] = "the bound" if bound else peer
            rows[-1]["all"] = others
    return rows


def epochs(seeds: int, quick: bool) -> list[dict]:
    """Epochs that are trained until one configuration is as good as the best hundredth."""
    names = ["glimr_keras", "optuna_hyperband"] if quick else list(fidelity.NAMES)
    found = fidelity.compared(seeds, names)
    medians = {name: statistics.median(of_seeds) for name, of_seeds in found.items()}
    ours = medians.pop("glimr_keras")
    peer = min(medians, key=medians.get)
    more = {"reference": peer, "all": found}
    return [row("epochs to the target", ours, medians[peer], at_most=1, **more)]


def hyperband(seeds: int, quick: bool) -> list[dict]:
    """The seconds from `search()` to the validation score that keras_tuner ends with."""
    found = []
    for seed in range(min(seeds, 5)):
        theirs = epochs_of("keras_tuner", seed, quick)
        score = max(accuracy for _, accuracy in theirs)
        ours = epochs_of("glimr_keras", seed, quick)
        reached = [seconds for seconds, accuracy in ours if accuracy >= score]
        their_time = max(seconds for seconds, _ in theirs)
        our_time = min(reached) if reached else None
        found.append(
            {
                "score": score,
                "keras_tuner": their_time,
                "glimr_keras": our_time,
                "whole": max(s for s, _ in ours),
            }
        )
        print(f"hyperband, seed {seed}: {found[-1]}", flush=True)
    times = [
        entry["glimr_keras"] if entry["glimr_keras"] is not None else float("inf")
        for entry in found
    ]
    return [
        row(
            "s to keras_tuner Hyperband's final score",
            statistics.median(times),
            statistics.median(entry["keras_tuner"] for entry in found),
            at_most=1 / 2,
            all=found,
        ),
        row(
            "s of a whole Hyperband",
            statistics.median(entry["whole"] for entry in found),
            statistics.median(entry["keras_tuner"] for entry in found),
            all=None,
        ),
    ]


def epochs_of(library: str, seed: int, quick: bool) -> list[tuple[float, float]]:
    """Seconds since `search()` and validation accuracy, of every epoch of a Hyperband search in a
    process of its own.
    """
    with tempfile.TemporaryDirectory() as directory:
        command = [
            sys.executable,
            str(HERE / "hyperband_digits.py"),
            library,
            str(seed),
            directory,
            "4" if quick else "27",
        ]
        subprocess.run(command, check=True, cwd=directory, stdout=subprocess.DEVNULL)
        lines = (pathlib.Path(directory) / "epochs.jsonl").read_text().splitlines()
    return [tuple(json.loads(line)) for line in lines]


def grid(seeds: int, quick: bool) -> list[dict]:
    """Trials of a grid over `layers` from 1 to 3 with three values for the units of each layer."""
    import glimr_keras as gk

    class Layers(gk.HyperModel):
        def run(self, config):
            return sum(
                config.Choice(f"units_{number}", [16, 32, 64])
                for number in range(config.Int("layers", 1, 3))
            )

    with tempfile.TemporaryDirectory() as directory:
        tuner = gk.GridSearch(
            Layers(), gk.Objective("units", "max"), directory=directory, executor="inline"
        )
        tuner.search(verbose=0)
        table = tuner.results_dataframe()
    configurations = table[
        [name for name in table if name == "layers" or name.startswith("units_")]
    ].drop_duplicates()
    return [
        row(
            "trials of a grid with a loop",
            len(table),
            3 + 9 + 27,
            at_most=1,
            reference="distinct models",
        ),
        row(
            "distinct among them",
            len(configurations),
            3 + 9 + 27,
            at_least=1,
            reference="distinct models",
        ),
    ]


def row(
    figure, value, reference_value, at_most=None, at_least=None, reference="keras_tuner", **more
):
    ratio = value / reference_value if reference_value else float("nan")
    met = (
        None
        if at_most is None and at_least is None
        else (ratio <= (at_most or ratio)) and (ratio >= (at_least or ratio))
    )
    return {
        "figure": figure,
        "glimr_keras": value,
        "reference": reference,
        "value": reference_value,
        "ratio": ratio,
        "at_most": at_most,
        "at_least": at_least,
        "met": met,
        **more,
    }


def show(rows: list[dict]) -> None:
    console = Console(width=report.WIDTH, highlight=False)
    table = Table(title="glimr_keras against its references", title_justify="left", box=None)
    for column in ("figure", "glimr_keras", "reference", "of", "ratio", "target", "met?"):
        table.add_column(
            column, justify="left" if column in ("figure", "of", "target", "met?") else "right"
        )
    for entry in rows:
        sign, bound = (
            ("≤", entry["at_most"]) if entry["at_most"] is not None else ("≥", entry["at_least"])
        )
        target = "" if bound is None else f"{sign} {bound:.2g}"
        met = {True: "yes", False: "NO", None: ""}[entry["met"]]
        numbers = f"{entry['glimr_keras']:.3g}", f"{entry['value']:.3g}"
        table.add_row(
            entry["figure"], *numbers, entry["reference"], f"{entry['ratio']:.2f}", target, met
        )
    console.print(table)
    console.print("* Medians over seeds; the same budget, space and seeds for both.")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--only", default=",".join(PARTS), metavar="a,b", help=f"some of {','.join(PARTS)}"
    )
    parser.add_argument(
        "--seeds",
        type=int,
        default=10,
        metavar="N",
        help="of the whole comparison (default 10; hyperband at most 5)",
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="little of each, to see that it works; no figures to quote",
    )
    parser.add_argument(
        "--runs",
        type=pathlib.Path,
        metavar="PATH",
        help="keep each search of quality here, and do not repeat those that it has",
    )
    parser.add_argument(
        "--json", type=pathlib.Path, default=pathlib.Path("search.json"), metavar="PATH"
    )
    arguments = parser.parse_args()
    rows = []
    for part in arguments.only.split(","):
        if part not in PARTS:
            parser.error(f"--only must be some of {','.join(PARTS)}. Received: {arguments.only}")
        more = (arguments.runs,) if part == "quality" else ()
        rows += globals()[part](1 if arguments.quick else arguments.seeds, arguments.quick, *more)
    arguments.json.write_text(
        json.dumps({"machine": report.machine(), "rows": rows}, indent=1, default=float)
    )
    show(rows)


if __name__ == "__main__":
    main()
