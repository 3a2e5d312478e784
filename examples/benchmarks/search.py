"""Compares glimr_keras' search algorithms with keras_tuner's: what they find in the same budget,
and how fast they are.

    python examples/benchmarks/search.py
    python examples/benchmarks/search.py --only bayesian,grid --seeds 3

Needs `pip install -e '.[benchmarks]'`. The parts: bayesian (regret after 50 evaluations of
functions with a known minimum), proposals (the time of 200 proposals), hyperband (the time to
keras_tuner's final score on digits), grid (the number of trials of a space with a loop). All of it
takes about 40 minutes on two cores.
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import report
from functions import FUNCTIONS, Function
from rich.console import Console
from rich.table import Table

PARTS = ("bayesian", "proposals", "hyperband", "grid")
EVALUATIONS, PROPOSALS = 50, 200
HERE = pathlib.Path(__file__).parent


def regrets_of(function: Function, seed: int, budget: int) -> tuple[list[float], float]:
    """The regret after each evaluation of glimr_keras' Bayesian optimisation, and the seconds that
    its proposals took.
    """
    import glimr_keras as gk
    from glimr_keras.oracles import BayesianOptimizationOracle
    from glimr_keras.space.search_space import SearchSpace
    from glimr_keras.trials.trial import Execution, TrialStatus

    # what discovery does for a model: ask once for every branch
    asked, parameters = [], {}
    for kind in ("smooth", "deep", "boosted"):
        config = gk.HyperParameters({"kind": kind})
        function.ask(config)
        asked.append(config.asked)
        parameters |= {parameter.key: parameter for parameter in config.space}
    objective = gk.Objective("cost", "min")
    oracle = BayesianOptimizationOracle(
        objective, budget, seed=seed, space=SearchSpace(parameters.values(), asked)
    )

    def evaluate(trial):
        config = gk.HyperParameters(trial.suggested)
        cost = function.ask(config)
        trial.values, trial.status = config.asked, TrialStatus.COMPLETED
        trial.executions[0] = Execution(TrialStatus.COMPLETED, {1: {"cost": cost}}, 1, cost)
        return cost

    return searched(function, budget, oracle.next_trial, evaluate, oracle.end_trial)


def keras_tuner_regrets_of(function: Function, seed: int, budget: int) -> tuple[list[float], float]:
    """The same of keras_tuner's."""
    import keras_tuner

    hyperparameters = keras_tuner.HyperParameters()
    for kind in ("smooth", "deep", "boosted"):
        hyperparameters.values["kind"] = kind
        function.ask(hyperparameters)
    hyperparameters.values.clear()
    oracle = keras_tuner.oracles.BayesianOptimizationOracle(
        keras_tuner.Objective("cost", "min"), budget, seed=seed, hyperparameters=hyperparameters
    )

    def evaluate(trial):
        cost = function.ask(trial.hyperparameters)
        oracle.update_trial(trial.trial_id, {"cost": cost})
        trial.status = "COMPLETED"
        return cost

    with tempfile.TemporaryDirectory() as directory:
        oracle._set_project_dir(directory, "project")
        oracle.verbose = 0
        return searched(
            function, budget, lambda: oracle.create_trial("tuner0"), evaluate, oracle.end_trial
        )


def searched(function: Function, budget: int, propose, evaluate, tell) -> tuple[list[float], float]:
    """Evaluates one proposal after the other; only proposing and telling are timed."""
    best, regrets, seconds = float("inf"), [], 0.0
    for _ in range(budget):
        started = time.perf_counter()
        trial = propose()
        seconds += time.perf_counter() - started
        cost = evaluate(trial)
        started = time.perf_counter()
        tell(trial)
        seconds += time.perf_counter() - started
        best = min(best, cost)
        regrets.append(best - function.minimum)
    return regrets, seconds


def bayesian(seeds: int, quick: bool) -> list[dict]:
    """Median regret after the whole budget."""
    rows = []
    for function in FUNCTIONS:
        found = {"glimr_keras": [], "keras_tuner": []}
        for seed in range(seeds):
            budget = 8 if quick else EVALUATIONS
            found["glimr_keras"].append(regrets_of(function, seed, budget)[0][-1])
            found["keras_tuner"].append(keras_tuner_regrets_of(function, seed, budget)[0][-1])
            print(
                f"{function.name}, seed {seed}: {found['glimr_keras'][-1]:.4f} "
                f"{found['keras_tuner'][-1]:.4f}",
                flush=True,
            )
        ours, theirs = (statistics.median(found[name]) for name in ("glimr_keras", "keras_tuner"))
        rows.append(row(f"regret, {function.name}", ours, theirs, at_most=1, all=found))
    return rows


def proposals(seeds: int, quick: bool) -> list[dict]:
    """The seconds of many proposals, one after the other."""
    count = 20 if quick else PROPOSALS
    ours, theirs = (
        regrets_of(FUNCTIONS[1], 0, count)[1],
        keras_tuner_regrets_of(FUNCTIONS[1], 0, count)[1],
    )
    return [row(f"s for {count} proposals, Hartmann-6", ours, theirs, at_most=1 / 3)]


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
        "--json", type=pathlib.Path, default=pathlib.Path("search.json"), metavar="PATH"
    )
    arguments = parser.parse_args()
    rows = []
    for part in arguments.only.split(","):
        if part not in PARTS:
            parser.error(f"--only must be some of {','.join(PARTS)}. Received: {arguments.only}")
        rows += globals()[part](1 if arguments.quick else arguments.seeds, arguments.quick)
    arguments.json.write_text(
        json.dumps({"machine": report.machine(), "rows": rows}, indent=1, default=float)
    )
    show(rows)


if __name__ == "__main__":
    main()
