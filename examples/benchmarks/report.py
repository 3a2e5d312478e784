"""The printed table, the JSON file, and what machine it was."""

import datetime
import importlib.metadata
import json
import os
import pathlib
import platform

from figures import Row, rows
from harness import Run
from plan import NOTES
from results import Results
from rich.console import Console
from rich.table import Table

WIDTH = 118
GENERAL_NOTE = (
    "Medians over {} repeats, ratios within a repeat. limit: one pinned bare loop for each core."
)
PACKAGES = ("keras", "tensorflow", "ray", "keras_tuner", "glimr_keras")


def machine() -> dict[str, str | int | float]:
    """CPU, cores that may be used, memory in GB, and versions."""
    cpu = next(
        (line for line in _lines("/proc/cpuinfo") if line.startswith("model name")),
        "model name: unknown",
    )
    memory = next(line for line in _lines("/proc/meminfo") if line.startswith("MemTotal"))
    return {
        "cpu": cpu.split(":", 1)[1].strip(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(int(memory.split()[1]) / 1024**2, 1),
        "system": platform.platform(),
        "python": platform.python_version(),
        **{package: importlib.metadata.version(package) for package in PACKAGES},
    }


def _lines(path: str) -> list[str]:
    return pathlib.Path(path).read_text().splitlines()


def show(results: Results, repeats: int) -> None:
    """Prints the machine, the table, the runs that failed, and the notes."""
    console = Console(width=WIDTH, highlight=False)
    about = machine()
    console.print(
        f"{about['cpu']}, {about['cores']} cores, {about['memory_gb']} GB; {about['system']}"
    )
    console.print(
        f"Python {about['python']}, "
        + ", ".join(f"{package} {about[package]}" for package in PACKAGES)
    )
    console.print(_table(rows(results)))
    console.print(_runs_table(results))
    _show_failures(console, results.runs)
    if results.is_quick:
        console.print(
            "* --quick: a few trials of each, to see that it works; these are no figures to quote."
        )
        return
    groups = {run.group for run in results.runs}
    for note in [
        GENERAL_NOTE.format(repeats),
        *(note for group, note in NOTES.items() if group in groups),
    ]:
        console.print(f"* {note}", markup=False)


def _show_failures(console: Console, runs: list[Run]) -> None:
    """What failed runs wrote last; if several say the same, once."""
    shown = set()
    for run in runs:
        if run.error:
            first, *tail = run.error.splitlines()
            console.print(
                f"FAILED: {run.contender} on ({run.workload}), repeat {run.repeat + 1}: {first}",
                markup=False,
            )
            if "".join(tail) not in shown:
                console.print("\n".join(tail), markup=False)
            shown.add("".join(tail))


def _table(found: list[Row]) -> Table:
    table = Table(title="glimr_keras against its references", title_justify="left", box=None)
    table.add_column("figure")
    for column in ("glimr_keras", "reference"):
        table.add_column(column, justify="right")
    table.add_column("of")
    table.add_column("ratio", justify="right")
    table.add_column("target")
    table.add_column("met?")
    for row in found:
        met = {True: "yes", False: "NO", None: ""}[row.met]
        table.add_row(
            row.figure,
            _short(row.value),
            _short(row.reference),
            row.reference_name,
            _short(row.ratio),
            row.target,
            met,
        )
    return table


def _runs_table(results: Results) -> Table:
    """Each contender's own numbers, where it trained models."""
    table = Table(title="\nContenders", title_justify="left", box=None)
    table.add_column("part")
    table.add_column("contender")
    names = {
        "trials_per_minute": "trials/min",
        "trial_s": "build + fit, s",
        "gap_ms": "gap, ms",
        "first_epoch_s": "first epoch, s",
        "wall_s": "wall, s",
        "peak_pss_mb": "peak PSS, MB",
    }
    for column in ("trials", *names.values()):
        table.add_column(column, justify="right")
    for group, workload, contender, trials in dict.fromkeys(
        (run.group, run.workload, run.contender, run.trials) for run in results.runs
    ):
        numbers = [_short(results.median(name, group, contender, workload)) for name in names]
        part = workload if group in ("e", "start", "reuse") else group
        table.add_row(part, contender, str(trials), *numbers)
    return table


def _short(number: float | None) -> str:
    if number is None:
        return "-"
    return (
        f"{number:,.0f}"
        if abs(number) >= 100
        else f"{number:.1f}"
        if abs(number) >= 10
        else f"{number:.2f}"
    )


def write(path: pathlib.Path, results: Results, settings: dict[str, str | int | bool]) -> None:
    """Writes everything that was measured as JSON."""
    runs = [
        {
            "group": run.group,
            "contender": run.contender,
            "workload": run.workload,
            "trials": run.trials,
            "repeat": run.repeat,
            "error": run.error,
            **numbers,
        }
        for run, numbers in zip(results.runs, results.numbers, strict=True)
    ]
    content = {
        "date": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
        "machine": machine(),
        "settings": settings,
        "rows": [row.as_dict() for row in rows(results)],
        "runs": runs,
        "notes": NOTES,
    }
    path.write_text(json.dumps(content, indent=1))
