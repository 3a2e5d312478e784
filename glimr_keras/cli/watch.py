"""`glimr-keras watch`: a live view of a project while a search runs elsewhere. Uses Rich; runs
anywhere.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import sys
import time
from collections.abc import Iterator
from typing import Any

from rich.console import Console, Group
from rich.live import Live

from glimr_keras._utils.text import Column, duration, one_line, text_table
from glimr_keras.cli import console
from glimr_keras.cli.arguments import count, seconds
from glimr_keras.cli.console import Line
from glimr_keras.cli.messages import EXPECTED, said_by
from glimr_keras.cli.opened import Opened, add_place
from glimr_keras.cli.project_lines import (
    BAD,
    HEADING,
    QUIET,
    best_in_words,
    best_lines,
    facts,
    failure_lines,
    trend,
)
from glimr_keras.project.journal import Project
from glimr_keras.results.trial_columns import counts
from glimr_keras.trials.execution import Execution, TrialStatus
from glimr_keras.trials.trial import Trial

_SHARE = 10
"""The minimum pause between two looks, as a multiple of the time that a look takes."""
_RUNNING = 8
"""The maximum number of training runs that are shown."""


def add_to(commands: Any) -> None:
    """Add the command."""
    text = "show a project while a search runs, here or elsewhere, until Ctrl-C"
    parser = commands.add_parser("watch", help=text, description=f"{text.capitalize()}.")
    add_place(parser)
    parser.add_argument(
        "-n", "--best", type=count, default=10, metavar="N", help="how many trials; 10 by default"
    )
    parser.add_argument(
        "--interval",
        type=seconds,
        default=2.0,
        metavar="SECONDS",
        help="between two looks; 2 by default",
    )
    parser.add_argument("--once", action="store_true", help="look once, and end")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Watch the project."""
    opened = Opened.of(arguments)
    if arguments.once:
        project = opened.read()
        console.write(view(opened, project, arguments.best, console.width(), None))
    elif sys.stdout.isatty():
        _watch_screen(opened, arguments)
    else:
        for look in _changes(opened, arguments.interval):
            if look.trouble:
                print(f"glimr-keras: {look.trouble}", file=sys.stderr, flush=True)
            else:
                print(in_one_line(look.project), flush=True)


def _watch_screen(opened: Opened, arguments: argparse.Namespace) -> None:
    """Show the project on an alternate screen; the last view stays in the terminal at the end."""
    shown: list[Line] = []
    try:
        with Live(console=Console(highlight=False), screen=True, auto_refresh=False) as live:
            for look in _looks(opened, arguments.interval):
                width, height = live.console.size
                shown = view(opened, look.project, arguments.best, width, height, look.trouble)
                live.update(Group(*(line.rich() for line in shown)), refresh=True)
    finally:
        console.write(shown)


@dataclasses.dataclass(frozen=True)
class _Look:
    """A snapshot of the project.

    Attributes:
        project: The project as it was last read.
        trouble: The reason why it cannot be read now; empty if it can.
    """

    project: Project
    trouble: str = ""


def _looks(opened: Opened, interval: float) -> Iterator[_Look]:
    """Yield snapshots; the project is read again only when it has grown.

    Once it has been read, later errors count as temporary, such as a half-written file or a network
    failure.
    """
    stamp, look = None, None
    while True:
        began = time.monotonic()
        try:
            now = opened.stamp()
            if look is None or now != stamp:
                stamp, look = now, _Look(opened.read())
            elif look.trouble:
                look = _Look(look.project)
        except EXPECTED as error:
            if look is None:
                raise
            look = _Look(look.project, one_line(said_by(error)))
        yield look  # the time to show it counts too
        time.sleep(max(opened.pause(interval), _SHARE * (time.monotonic() - began)))


def _changes(opened: Opened, interval: float) -> Iterator[_Look]:
    """Yield a snapshot whenever the project has grown, or fails to be read for another reason."""
    before = None
    for look in _looks(opened, interval):
        is_new = before is None or look.project is not before.project
        if is_new or (look.trouble and look != before):
            yield look
        before = look


def in_one_line(project: Project) -> str:
    """Return a project's progress in one line, for output that is not a terminal."""
    best = best_in_words(project)
    said = counts(list(project.trials.values()))
    return f"{_clock(time.time())}  {said}" + (f"; best {best}" if best else "")


def view(
    opened: Opened,
    project: Project,
    best: int,
    width: int,
    height: int | None,
    trouble: str = "",
) -> list[Line]:
    """Return the lines to show.

    Args:
        opened: The opened project.
        project: The current project.
        best: The number of best trials, if there is room.
        width: The number of columns of the terminal.
        height: The number of lines of the terminal; `None` for no limit.
        trouble: The reason why the project cannot be read now. Defaults to `""`, which means none.
    """
    lines = facts(opened, project, width)
    row = trend(project, width - 11)
    lines += [Line(f"{'Trend':<9}  {row}")] if row else []
    running = _running_lines(project, width)
    failed = failure_lines(project, width, 3, 1)
    end = "" if height is None else " Ctrl-C ends."
    last = [Line(), Line(f"At {_clock(time.time())}{_last_record(project)}.{end}", QUIET)]
    if trouble:
        said = f"It is tried again; it cannot be read now: {trouble}"
        last.append(Line(one_line(said, width), BAD))
    others = len(lines) + len(running) + len(failed) + len(last)
    found = best_lines(project, best, width, None if height is None else height - others)
    return [*lines, *running, *found, *failed, *last]


def _running_lines(project: Project, width: int) -> list[Line]:
    """Return the training runs that have not ended, latest start first."""
    running = [
        (trial, number, execution)
        for trial in project.trials.values()
        if trial.status == TrialStatus.RUNNING
        for number, execution in sorted(trial.executions.items())
        if execution.status == TrialStatus.RUNNING
    ]
    if not running:
        return []
    running.sort(key=lambda each: -(each[2].started or 0.0))
    more = f", the {_RUNNING} that began last" if len(running) > _RUNNING else ""
    table = text_table(_columns(project, running[:_RUNNING]), width)
    return [Line(), Line(f"Running: {len(running)}{more}", HEADING), *map(Line, table)]


def _columns(project: Project, running: list[tuple[Trial, int, Execution]]) -> list[Column]:
    name = project.objective.parts[0].name
    last = [_last_epoch(execution, name) for _, _, execution in running]
    columns = [Column.of("trial", [trial.trial_id for trial, _, _ in running])]
    if any(number for _, number, _ in running):
        word = "execution" if project.cv_folds is None else "fold"
        numbers = [number % (project.cv_folds or number + 1) for _, number, _ in running]
        columns.append(Column.of(word, numbers))
    return [
        *columns,
        Column.of("epoch", [epoch for epoch, _ in last]),
        Column.of(name, [value for _, value in last]),
        Column.of("for", [_since(execution.started) for _, _, execution in running]),
        Column.of("worker", [execution.worker or "-" for _, _, execution in running]),
    ]


def _last_epoch(execution: Execution, metric: str) -> tuple[Any, Any]:
    if not execution.history:
        return 0, "-"
    epoch = max(execution.history)
    return epoch, execution.history[epoch].get(metric, "-")


def _since(started: float | None) -> str:
    return "-" if started is None else duration(max(time.time() - started, 0.0))


def _last_record(project: Project) -> str:
    """Return how long ago the project was last written to."""
    times = [
        moment
        for trial in project.trials.values()
        for execution in trial.executions.values()
        for moment in (execution.started, execution.ended, *execution.epoch_times.values())
        if moment is not None
    ]
    ago = _since(max(times)) if times else None
    return "" if ago is None else f", the last record is {ago} old"


def _clock(now: float) -> str:
    return datetime.datetime.fromtimestamp(now).strftime("%H:%M:%S")
